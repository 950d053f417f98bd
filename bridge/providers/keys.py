"""Secrets become keys, and signatures meet what was signed in constant time.

Called by `signatures` and `signing`, at start; what it returns runs once a request.
"""

import hmac
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error as BinasciiError
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bridge.providers.proof import Proof, SecretForm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["DIGESTS", "ENCODERS", "Key", "key_of", "keys_of", "matcher", "new_secret"]

Key = bytes

DIGESTS = {"hmac-sha1": "sha1", "hmac-sha256": "sha256", "hmac-sha512": "sha512"}
ENCODERS: dict[str, Callable[[bytes], bytes]] = {"hex": lambda digest: digest.hex().encode(), "base64": b64encode}

_KEY_BYTES = 32  # of Ed25519, RFC 8032
_SECRET_BYTES = 32  # 256 bits
_is_base64 = re.compile(r"[A-Za-z0-9+/]+={0,2}").fullmatch


def keys_of(proofs: Sequence[Proof], texts: Sequence[str]) -> dict[Proof, tuple[Key, ...]]:
    """The keys of each proof; a secret goes to every one that its form fits.

    Raises:
        ValueError: there is none, or one that fits no proof; the message has none of it.
    """
    if not texts:
        raise ValueError("a verifier needs at least one secret")
    found: dict[Proof, list[Key]] = {proof: [] for proof in proofs}
    for number, secret in enumerate(texts, start=1):
        faults = []
        for proof in proofs:
            try:
                found[proof].append(key_of(proof, secret))
            except ValueError as error:
                faults.append(str(error))
        if len(faults) == len(proofs):
            which = f"secret {number} of {len(texts)}" if len(texts) > 1 else "the secret"
            raise ValueError(f"{which} {' and '.join(dict.fromkeys(faults))}")
    return {proof: tuple(keys) for proof, keys in found.items()}


def key_of(proof: Proof, secret: str) -> Key:
    """The key that a secret's text stands for.

    Raises:
        ValueError: it is of another form, in words that follow "the secret".
    """
    form = proof.secret
    if form.prefix_required and not secret.startswith(form.prefix):
        raise ValueError(f"does not begin with {form.prefix}")
    key = _decoded(form, secret.removeprefix(form.prefix) if form.encoding != "text" else secret)
    if not key:
        raise ValueError("is empty")
    if proof.scheme == "ed25519" and len(key) != _KEY_BYTES:
        raise ValueError(f"is no public key of {_KEY_BYTES} bytes")
    if proof.scheme == "basic" and b":" not in key:
        raise ValueError("is not of the form user:password")
    return key


def new_secret(proof: Proof) -> str:
    """A secret of that form that nobody else knows, for trying things out.

    Raises:
        ValueError: the sender's key cannot be made here, for half of it is the sender's alone.
    """
    if proof.scheme == "ed25519":
        raise ValueError("the sender signs with a key of its own: its public key must be set")
    form, raw = proof.secret, secrets.token_bytes(_SECRET_BYTES)
    if form.encoding == "base64":
        return form.prefix + b64encode(raw).decode()
    if form.encoding == "hex":
        return form.prefix + raw.hex()
    return f"webhook:{raw.hex()}" if proof.scheme == "basic" else secrets.token_urlsafe(_SECRET_BYTES)


def _decoded(form: SecretForm, text: str) -> bytes:
    if form.encoding == "text":
        return text.encode(errors="surrogateescape")  # an environment's bytes that are not UTF-8
    if form.encoding == "hex":
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise ValueError("is not hexadecimal") from None
    if text and not _is_base64(text):
        raise ValueError("is not base64")
    try:
        return b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except BinasciiError:
        raise ValueError("is not base64") from None


def matcher(proof: Proof, keys: Sequence[Key]) -> Callable[[bytes, Sequence[bytes]], bool]:
    """A function of the signed bytes and the presented signatures: whether one of these is of one of the keys.

    Encoded texts are compared, so that no second way to write a signature is one.
    """
    encode = ENCODERS[proof.encoding]
    if proof.scheme == "ed25519":
        return _ed25519(proof, keys)
    digest = DIGESTS[proof.scheme]

    def matches(signed: bytes, signatures: Sequence[bytes]) -> bool:
        right = False
        for key in keys:
            expected = encode(hmac.digest(key, signed, digest))
            for signature in signatures:
                right |= hmac.compare_digest(expected, signature)
        return right

    return matches


def _ed25519(proof: Proof, keys: Sequence[Key]) -> Callable[[bytes, Sequence[bytes]], bool]:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 -- 20 ms at start, for the few that need it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 -- as above

    public = [Ed25519PublicKey.from_public_bytes(key) for key in keys]
    encode = ENCODERS[proof.encoding]

    def is_of(key: "Ed25519PublicKey", signed: bytes, raw: bytes) -> bool:
        try:
            key.verify(raw, signed)
        except InvalidSignature:
            return False
        return True

    def matches(signed: bytes, signatures: Sequence[bytes]) -> bool:
        for signature in signatures:
            raw = _raw_signature(proof, signature)
            if raw is not None and encode(raw) == signature and any(is_of(key, signed, raw) for key in public):
                return True
        return False

    return matches


def _raw_signature(proof: Proof, text: bytes) -> bytes | None:
    try:
        return bytes.fromhex(text.decode()) if proof.encoding == "hex" else b64decode(text, validate=True)
    except ValueError:
        return None
