"""Keys and tokens of NATS's own kind: nkeys, and the JWTs of an operator."""

import base64
import hashlib
import json
import time
from typing import Any, NamedTuple

import nkeys  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

__all__ = ["Key", "NatsOperator", "new_key"]

_NO_LIMITS = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1} | {
    "wildcards": True,
    "mem_storage": -1,
    "disk_storage": -1,
    "streams": -1,
    "consumer": -1,
}


class Key(NamedTuple):
    """Of an operator, an account or a user."""

    public: str
    seed: str
    pair: nkeys.KeyPair


def new_key(kind: bytes) -> Key:
    """A new key: `O` operator, `A` account, `U` user."""
    prefix = {b"O": nkeys.PREFIX_BYTE_OPERATOR, b"A": nkeys.PREFIX_BYTE_ACCOUNT, b"U": nkeys.PREFIX_BYTE_USER}[kind]
    raw = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    seed = nkeys.encode_seed(raw, prefix)
    pair = nkeys.from_seed(seed)
    return Key(pair.public_key.decode(), bytes(seed).decode(), pair)


def _token(issuer: Key, subject: str, nats: dict[str, Any]) -> str:
    """A JWT as NATS signs them (version 2)."""
    claims: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": issuer.public,
        "name": nats["type"],
        "nats": {**nats, "version": 2},
        "sub": subject,
    }
    digest = hashlib.sha256(json.dumps(claims).encode()).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = b".".join(_part(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims))
    return (signed + b"." + _part(issuer.pair.sign(signed))).decode()


def _part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class NatsOperator:
    """An operator with one account that may use JetStream.

    Attributes:
        config: of a server that trusts it.
    """

    def __init__(self) -> None:
        operator, system, self._account = new_key(b"O"), new_key(b"A"), new_key(b"A")
        account = _token(operator, self._account.public, {"type": "account", "limits": _NO_LIMITS})
        self.config = f"""
            operator: {_token(operator, operator.public, {"type": "operator", "system_account": system.public})}
            resolver: MEMORY
            resolver_preload: {{
                {self._account.public}: {account}
                {system.public}: {_token(operator, system.public, {"type": "account"})}
            }}"""

    def creds(self, user: Key) -> str:
        """A `.creds` file as the tools write it."""
        jwt = _token(self._account, user.public, {"type": "user", "subs": -1, "data": -1, "payload": -1})
        return (
            f"-----BEGIN NATS USER JWT-----\r\n{jwt}\r\n------END NATS USER JWT------\r\n\r\n"
            "IMPORTANT: a warning\r\n"
            f"-----BEGIN USER NKEY SEED-----\r\n{user.seed}\r\n------END USER NKEY SEED------"
        )
