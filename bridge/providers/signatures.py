"""Proofs compiled: does this request come from somebody who knows the secret?

Works on what came over the wire, before any parsing of the body, and fails closed on anything odd. What it says of a
failure is about headers and forms, never what stands in them, so that it may be logged; the sender is told nothing.

Not here: how a preset states its proof (`proof`), the keys (`keys`), the signed bytes (`signed`), and signing
(`signing`).
"""

import contextlib
import hashlib
import hmac
import re
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

from bridge.errors import VerificationFailed
from bridge.providers.grammars import reader
from bridge.providers.keys import Key, keys_of, matcher
from bridge.providers.proof import Proof
from bridge.providers.public_url import Bases, bases_of
from bridge.providers.request import Request, only
from bridge.providers.signed import check_body_hash, signed_bytes

__all__ = ["Step", "Verifier"]

_MAX_SIGNATURES = 8  # of a rotation there are two; a header full of them must not cost as many computations
_TOKEN_PARAMETERS = ("token", "access_token")
# Of a signed id: none that a body begins with, or an old request could be shown as a new one, with the old time and the
# beginning of the old body in its id, where somebody has written a new time into that body.
_is_id = re.compile(rb"[A-Za-z0-9_.:~+/@|<>-]+|[A-Za-z0-9+/_-]+={1,2}").fullmatch
# Of a signed time, one way to write it: a 0 before it could be the end of an id that is signed right before it.
_is_whole_number = re.compile(rb"[1-9][0-9]{0,14}").fullmatch


class Step(NamedTuple):
    """One thing that was looked at, for a person: what, whether it was right, and what was found; no secrets."""

    name: str
    right: bool
    found: str


class _Check(Protocol):
    """One proof with its keys."""

    def verify(self, request: Request) -> None:
        """Raises VerificationFailed."""

    def explain(self, request: Request) -> list[Step]:
        """The same, step by step."""


class Verifier:
    """Believes a request if any of its proofs holds for any of its secrets; several are valid during a rotation.

    Attributes:
        needs_body: whether `verify` wants the request's body; else it can be asked before the body is read.
        needs_peer: whether `verify` wants the request's `peer`, for a proxy there is to tell the URL.
    """

    def __init__(
        self,
        proofs: Sequence[Proof],
        secrets: Sequence[str],
        *,
        public_url: str | None = None,
        trusted_proxies: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Compile.

        Args:
            proofs: any of them will do.
            secrets: each goes with the proof that its form fits.
            public_url: where the sender reaches us, without the path; for proofs that sign the URL.
            trusted_proxies: addresses and networks that are believed to tell it where `public_url` is not given.
            clock: seconds since 1970.

        Raises:
            ValueError: no secret, one that fits no proof or is empty, or a proof that would believe too much. The
                message has no secret.
        """
        for proof in proofs:
            if fault := next(proof.faults(), None):
                raise ValueError(f"the proof {proof.scheme} is none: {fault}")
        self.proofs = tuple(proofs)
        self.needs_body = any(proof.needs_body for proof in proofs)
        signs_url = any(proof.needs_url for proof in proofs)
        self.needs_peer = signs_url and not public_url
        self._bases = bases_of(public_url, trusted_proxies) if signs_url else _no_bases
        self._clock = clock
        self._ids = frozenset(proof.id_header.encode() for proof in proofs if proof.id_header)
        self._checks: tuple[_Check, ...] = ()
        self.replace(secrets)

    def replace(self, secrets: Sequence[str]) -> None:
        """Other secrets from now on, all in one step; from any thread.

        Raises:
            ValueError: as at the start; the ones of before stay valid.
        """
        keys = keys_of(self.proofs, secrets)
        self._checks = tuple(self._check(proof, keys[proof]) for proof in self.proofs if keys[proof])

    def __repr__(self) -> str:
        return f"Verifier({', '.join(dict.fromkeys(proof.scheme for proof in self.proofs))})"

    def verify(self, request: Request) -> None:
        """Return if the request is proven.

        Raises:
            VerificationFailed: it is not; nothing else, whatever the request is.
        """
        failed: VerificationFailed | None = None
        for check in self._checks:
            try:
                return check.verify(request)
            except VerificationFailed as error:
                failed = failed if failed is not None and failed.near else error
        raise failed or VerificationFailed("there is no secret")

    def explain(self, request: Request) -> list[Step]:
        """What `verify` looks at, for a person: of the proof that came nearest."""
        explained = [check.explain(request) for check in self._checks]
        return max(explained, key=lambda steps: (all(step.right for step in steps), sum(step.right for step in steps)))

    def _check(self, proof: Proof, keys: Sequence[Key]) -> _Check:
        if proof.signs:
            return _Signature(proof, keys, self._bases, self._clock, self._ids)
        return _Shown(proof, keys)


class _Signature:
    """The request is signed."""

    def __init__(
        self, proof: Proof, keys: Sequence[Key], bases: Bases, clock: Callable[[], float], ids: frozenset[bytes]
    ) -> None:
        self._proof, self._bases = proof, bases
        self._header, self._id_header = proof.header.encode(), proof.id_header.encode()
        self._other_ids = ids - {self._id_header} if self._id_header else frozenset()
        self._when = proof.timestamp
        self._when_header = proof.timestamp.header.encode() if proof.timestamp else b""
        self._per_second = 1000 if proof.timestamp and proof.timestamp.unit == "ms" else 1
        self._read = reader(proof)
        self._signed = signed_bytes(proof, bases)
        self._matches = matcher(proof, keys)
        self._keys, self._clock = len(keys), clock

    def verify(self, request: Request) -> None:
        signatures, delivery_id, timestamp = self._claims(request)
        if self._when is not None and abs(self._age(timestamp)) > self._when.tolerance_s:
            raise VerificationFailed("the timestamp is too far from this machine's clock", near=True)
        if not self._fits(request, signatures, delivery_id, timestamp):
            raise VerificationFailed("no signature is that of a configured secret", near=True)

    def _fits(self, request: Request, signatures: list[bytes], delivery_id: bytes, timestamp: bytes) -> bool:
        for signed in self._signed(request, delivery_id, timestamp):  # noqa: SIM110 -- as long as one compare
            if self._matches(signed, signatures):
                return True
        return False

    def _claims(self, request: Request) -> tuple[list[bytes], bytes, bytes]:
        """Signatures, id and timestamp as the headers have them."""
        signatures, timestamp = self._read(only(request, self._header))
        if self._when_header:
            timestamp = only(request, self._when_header)
        delivery_id = only(request, self._id_header) if self._id_header else b""
        if delivery_id and not _is_id(delivery_id):
            raise VerificationFailed(f"the header {self._proof.id_header} has characters that are in no id")
        if self._other_ids:
            self._look_for_another_id(request, delivery_id)
        if not signatures:
            raise VerificationFailed(f"the header {self._proof.header} has no signature of the expected kind")
        if len(signatures) > _MAX_SIGNATURES:
            raise VerificationFailed(f"the header {self._proof.header} has more than {_MAX_SIGNATURES} signatures")
        return signatures, delivery_id, timestamp

    def _look_for_another_id(self, request: Request, delivery_id: bytes) -> None:
        """Of several headers for an id one alone is signed here, and whoever decodes the request may read another."""
        for name, value in request.headers:
            if name in self._other_ids and value != delivery_id:
                raise VerificationFailed(f"the header {name.decode()} has another id than {self._proof.id_header}")

    def _age(self, timestamp: bytes) -> float:
        """Seconds since it was signed."""
        if not _is_whole_number(timestamp):
            raise VerificationFailed("the timestamp is no whole number")
        return self._clock() - int(timestamp) / self._per_second

    def explain(self, request: Request) -> list[Step]:
        try:
            signatures, delivery_id, timestamp = self._claims(request)
            age_s = self._age(timestamp) if self._when is not None else 0
        except VerificationFailed as error:
            return [Step("headers", False, str(error))]  # noqa: FBT003 -- a struct's fields
        steps = [Step("headers", True, ", ".join(sorted(self._proof.headers)))]  # noqa: FBT003 -- as above
        if self._when is not None:
            direction = "after" if age_s < 0 else "before"
            found = f"signed {abs(age_s):.0f} s {direction} now; {self._when.tolerance_s} s are tolerated"
            steps.append(Step("timestamp", abs(age_s) <= self._when.tolerance_s, found))
        if self._proof.needs_url:
            url = self._explain_url(request)
            steps += url
            if not url[-1].right:
                return steps
        try:
            signed = self._signed(request, delivery_id, timestamp)
        except VerificationFailed as error:
            return [*steps, Step("signed", False, str(error))]  # noqa: FBT003 -- as above
        steps.append(Step("signed", True, f"{len(signed[0])} bytes: {self._proof.signed}"))  # noqa: FBT003 -- as above
        right = self._fits(request, signatures, delivery_id, timestamp)
        found = f"{len(signatures)} in the header, {self._keys} configured secret{'s' * (self._keys != 1)}: "
        found += "one fits" if right else "none fits" + self._hint(request, signatures, delivery_id, timestamp)
        return [*steps, Step("signature", right, found)]

    def _explain_url(self, request: Request) -> list[Step]:
        """Which URLs are tried, without what may be a secret in them: what stands after the source, and the query."""
        try:
            bases = self._bases(request)
        except VerificationFailed as error:
            return [Step("url", False, str(error))]  # noqa: FBT003 -- as above
        path = b"/".join(request.path.split(b"/")[:3])
        rest = path.decode("latin-1") + "/…" * (path != request.path) + "?…" * bool(request.query)
        tried = Step("url", True, "tried " + ", ".join(base.decode() + rest for base in bases))  # noqa: FBT003 -- as above
        if not (parameter := self._proof.body_parameter):
            return [tried]
        try:
            check_body_hash(request, parameter)
        except VerificationFailed as error:
            wrong = Step("body", False, str(error))  # noqa: FBT003 -- as above
            return [tried, wrong] if error.near else [wrong]
        return [tried, Step("body", True, f"its SHA-256 is in the URL's {parameter}")]  # noqa: FBT003 -- as above

    def _hint(self, request: Request, signatures: list[bytes], delivery_id: bytes, timestamp: bytes) -> str:
        """What is often done to a body between a sender and a file."""
        body = request.body
        changed = {
            "without its last line end": body.rstrip(b"\r\n"),
            "with CRLF for LF": body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
            "with LF for CRLF": body.replace(b"\r\n", b"\n"),
        }
        for how, other in changed.items():
            if other == body:
                continue
            with contextlib.suppress(VerificationFailed):
                if self._fits(request._replace(body=other), signatures, delivery_id, timestamp):
                    return f"; the body {how} would: it was changed after it was signed"
        return ": another secret, or a body or URL that was changed after it was signed"


class _Shown:
    """The request shows the secret itself. Digests are compared, so that the time tells no length."""

    def __init__(self, proof: Proof, keys: Sequence[Key]) -> None:
        self._present = _PRESENTED.get(proof.scheme) or _header_presenter(proof.header.encode())
        self._digests = tuple(
            hashlib.sha256(b64encode(key) if proof.scheme == "basic" else key).digest() for key in keys
        )
        self._name = proof.header or (
            "path, query or authorization" if proof.scheme == "url-token" else "authorization"
        )

    def verify(self, request: Request) -> None:
        presented = self._present(request)
        if not presented:
            raise VerificationFailed(f"there is no secret in {self._name}")
        if not self._is_known(presented):
            raise VerificationFailed(f"the secret in {self._name} is none of the configured ones", near=True)

    def _is_known(self, presented: Sequence[bytes]) -> bool:
        """Every pair is compared, so time tells nothing."""
        known = False
        for secret in presented:
            digest = hashlib.sha256(secret).digest()
            for expected in self._digests:
                known |= hmac.compare_digest(digest, expected)
        return known

    def explain(self, request: Request) -> list[Step]:
        try:
            self.verify(request)
        except VerificationFailed as error:
            return [Step("secret", False, str(error))]  # noqa: FBT003 -- a struct's fields
        return [Step("secret", True, f"in {self._name}")]  # noqa: FBT003 -- as above


def _no_bases(_request: Request) -> tuple[bytes, ...]:
    return ()


def _header_presenter(name: bytes) -> Callable[[Request], list[bytes]]:
    return lambda request: [only(request, name)]


def _authorization(request: Request, scheme: bytes) -> list[bytes]:
    """What stands after the scheme, in whatever case that is."""
    values = [value for name, value in request.headers if name == b"authorization"]
    if len(values) != 1 or values[0][: len(scheme)].lower() != scheme:
        return []
    return [values[0][len(scheme) :].strip()]


def _url_token(request: Request) -> list[bytes]:
    """Every token the request presents: in the path, as a bearer, as a query parameter."""
    presented = [unquote_to_bytes(segment) for segment in request.path.split(b"/") if segment][2:]
    presented += _authorization(request, b"bearer ")
    if request.query:
        pairs = parse_qsl(request.query.decode("latin-1"), encoding="latin-1")
        presented += [value.encode("latin-1") for name, value in pairs if name in _TOKEN_PARAMETERS][:1]
    return presented


_PRESENTED: dict[str, Callable[[Request], list[bytes]]] = {
    "bearer": lambda request: _authorization(request, b"bearer "),
    "basic": lambda request: _authorization(request, b"basic "),
    "url-token": _url_token,
}
