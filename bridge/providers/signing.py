"""Signing as a sender would, from the same data as verifying: for `send`, which plays the provider.

Not a proof of anything: that verifiers agree with real senders is tested with what those publish.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from bridge.errors import VerificationFailed
from bridge.providers.keys import DIGESTS, ENCODERS, Key, key_of
from bridge.providers.proof import Pairs, Proof, Versions
from bridge.providers.public_url import bases_of
from bridge.providers.request import Request
from bridge.providers.signed import signed_bytes, with_body_hash

__all__ = ["Signer"]

_NO_URL = "http://localhost"  # of proofs that sign none


class Signer:
    """Makes what proves requests with one secret."""

    def __init__(self, proofs: Sequence[Proof], secret: str, *, public_url: str | None = None) -> None:
        """For those of the proofs that the secret is for.

        Args:
            proofs: the provider's.
            secret: one of the source's.
            public_url: where the sender calls, without the path; for proofs that sign the URL.

        Raises:
            ValueError: it is for none that can be made here; a sender's public key signs nothing.
        """
        self._secret = secret
        self._ways = [_Way(proof, key, public_url or _NO_URL) for proof, key in _fitting(proofs, secret)]
        if not self._ways:
            raise ValueError("this secret signs nothing: it is the sender's public key, or none of this provider")

    def completed(self, request: Request) -> Request:
        """The request with what its sender adds to the URL's query, which few do."""
        return self._way(request).completed(request)

    def sign(self, request: Request, *, now: float) -> Mapping[str, str]:
        """The headers to add.

        Args:
            request: completed, without a proof.
            now: seconds since 1970.
        """
        way = self._way(request)
        proof = way.proof
        if proof.scheme == "equal":
            return {proof.header: self._secret}
        if proof.scheme in ("bearer", "basic"):
            shown = self._secret if proof.scheme == "bearer" else b64encode(way.key).decode()
            return {"authorization": f"{proof.scheme.capitalize()} {shown}"}
        return way.signature(request, now) if proof.signs else {}

    def _way(self, request: Request) -> "_Way":
        """The first that can sign such a request; one that changes the URL, only where there is no other."""
        if len(self._ways) == 1:
            return self._ways[0]
        able = [way for way in self._ways if way.can_sign(way.completed(request))]
        return min(able or self._ways, key=lambda way: bool(way.proof.body_parameter))


class _Way:
    """One proof with its key."""

    def __init__(self, proof: Proof, key: Key, public_url: str) -> None:
        self.proof, self.key = proof, key
        self._signed = signed_bytes(proof, bases_of(public_url, ()))

    def completed(self, request: Request) -> Request:
        parameter = self.proof.body_parameter
        return with_body_hash(request, parameter) if parameter else request

    def can_sign(self, request: Request) -> bool:
        """Whether it is a kind of body that this proof is for."""
        try:
            self._signed(request, b"", b"")
        except VerificationFailed:
            return False
        return True

    def signature(self, request: Request, now: float) -> Mapping[str, str]:
        proof = self.proof
        made: dict[str, str] = {}
        delivery_id = _id_of(request, proof.id_header)
        timestamp = ""
        if proof.timestamp is not None:
            timestamp = str(int(now * (1000 if proof.timestamp.unit == "ms" else 1)))
            made |= {proof.timestamp.header: timestamp} if proof.timestamp.header else {}
        if proof.id_header:
            made[proof.id_header] = delivery_id
        signed = self._signed(request, delivery_id.encode(), timestamp.encode())[0]
        signature = ENCODERS[proof.encoding](hmac.digest(self.key, signed, DIGESTS[proof.scheme])).decode()
        made[proof.header] = _written(proof, signature, timestamp)
        return made


def _id_of(request: Request, name: str) -> str:
    """The id it has, else one that is the same for the same bytes: a second attempt is no new event."""
    given = [value for key, value in request.headers if key == name.encode() and value]
    return given[0].decode("latin-1") if given else f"msg_{sha256(request.body).hexdigest()[:27]}"


def _fitting(proofs: Sequence[Proof], secret: str) -> Iterator[tuple[Proof, Key]]:
    for proof in proofs:
        try:
            key = key_of(proof, secret)
        except ValueError:
            continue
        if proof.scheme != "ed25519":
            yield proof, key


def _written(proof: Proof, signature: str, timestamp: str) -> str:
    grammar = proof.grammar
    if isinstance(grammar, Pairs):
        return f"{grammar.timestamp}={timestamp},{grammar.signature}={signature}"
    return f"{grammar.version},{signature}" if isinstance(grammar, Versions) else grammar.prefix + signature
