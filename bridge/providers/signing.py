"""Signing as a sender would, from the same data as verifying: for `send`, which plays the provider.

Not a proof of anything: that verifiers agree with real senders is tested with what those publish.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256

from bridge.providers.keys import DIGESTS, ENCODERS, key_of, signed_bytes
from bridge.providers.proof import Pairs, Proof, Versions
from bridge.providers.request import Request

__all__ = ["Signer"]


class Signer:
    """Makes the headers that prove requests with one secret."""

    def __init__(self, proofs: Sequence[Proof], secret: str, *, public_url: str | None = None) -> None:
        """For the first of the proofs that the secret is for.

        Raises:
            ValueError: it is for none that can be made here; a sender's public key signs nothing.
        """
        self._proof, self._key = _chosen(proofs, secret)
        self._secret = secret
        self._signed = signed_bytes(self._proof, (public_url or "").rstrip("/").encode())

    @property
    def headers(self) -> frozenset[str]:
        """The names of the headers it makes."""
        return self._proof.headers if self._proof.scheme != "url-token" else frozenset()

    def sign(self, request: Request, *, now: float) -> Mapping[str, str]:
        """The headers to add.

        Args:
            request: without a proof.
            now: seconds since 1970.
        """
        proof = self._proof
        if proof.scheme == "equal":
            return {proof.header: self._secret}
        if proof.scheme in ("bearer", "basic"):
            shown = self._secret if proof.scheme == "bearer" else b64encode(self._key).decode()
            return {"authorization": f"{proof.scheme.capitalize()} {shown}"}
        return self._signature(request, now) if proof.signs else {}

    def _signature(self, request: Request, now: float) -> Mapping[str, str]:
        proof = self._proof
        made: dict[str, str] = {}
        delivery_id = _id_of(request, proof.id_header)
        timestamp = ""
        if proof.timestamp is not None:
            timestamp = str(int(now * (1000 if proof.timestamp.unit == "ms" else 1)))
            made |= {proof.timestamp.header: timestamp} if proof.timestamp.header else {}
        if proof.id_header:
            made[proof.id_header] = delivery_id
        signed = self._signed(request, delivery_id.encode(), timestamp.encode())
        signature = ENCODERS[proof.encoding](hmac.digest(self._key, signed, DIGESTS[proof.scheme])).decode()
        made[proof.header] = _written(proof, signature, timestamp)
        return made


def _id_of(request: Request, name: str) -> str:
    """The id it has, else one that is the same for the same bytes: a second attempt is no new event."""
    given = [value for key, value in request.headers if key == name.encode() and value]
    return given[0].decode("latin-1") if given else f"msg_{sha256(request.body).hexdigest()[:27]}"


def _chosen(proofs: Sequence[Proof], secret: str) -> tuple[Proof, bytes]:
    for proof in proofs:
        try:
            key = key_of(proof, secret)
        except ValueError:
            continue
        if proof.scheme != "ed25519":
            return proof, key
    raise ValueError("this secret signs nothing: it is the sender's public key, or none of this provider")


def _written(proof: Proof, signature: str, timestamp: str) -> str:
    grammar = proof.grammar
    if isinstance(grammar, Pairs):
        return f"{grammar.timestamp}={timestamp},{grammar.signature}={signature}"
    return f"{grammar.version},{signature}" if isinstance(grammar, Versions) else grammar.prefix + signature
