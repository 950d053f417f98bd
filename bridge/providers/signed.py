"""The bytes that a sender signed, made again from the request by the template of its proof.

Called by `signatures` and `signing`, at start; what it returns runs once a request.
"""

import contextlib
import hmac
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from string import Formatter
from urllib.parse import parse_qsl

from bridge.errors import VerificationFailed
from bridge.providers.proof import Proof
from bridge.providers.public_url import Bases
from bridge.providers.request import Request

__all__ = ["check_body_hash", "signed_bytes", "with_body_hash"]

Part = Callable[[Request, bytes, bytes], bytes]
Signed = Callable[[Request, bytes, bytes], Sequence[bytes]]

_MAX_FIELDS = 1000
_FORM = b"application/x-www-form-urlencoded"


def signed_bytes(proof: Proof, bases: Bases) -> Signed:
    """A function of request, id and timestamp: what the sender signed, one of these.

    Args:
        proof: says what they are made of.
        bases: how the sender may write the beginning of the URL; several make several.

    Raises (the function): VerificationFailed: there is something in the request that cannot have been signed.
    """
    if proof.signed == "{body}":
        return lambda request, _id, _timestamp: (request.body,)
    parts: list[bytes | Part | None] = []  # None: the URL
    for literal, name, _, _ in Formatter().parse(proof.signed):
        if literal:
            parts.append(literal.encode())
        if name is not None:
            parts.append(_PARTS[name])
    parameter = proof.body_parameter

    def made(request: Request, delivery_id: bytes, timestamp: bytes) -> Sequence[bytes]:
        if parameter:
            check_body_hash(request, parameter)
        found = [part(request, delivery_id, timestamp) if callable(part) else part for part in parts]
        if not proof.needs_url:
            return (b"".join(part or b"" for part in found),)
        rest = request.path + (b"?" + request.query if request.query else b"")
        if b'"' in rest:  # stands in no URL (RFC 3986), and in every JSON body before the first text of its sender
            raise VerificationFailed("the URL has a quotation mark, so the beginning of a body may be in it")
        return [b"".join(base + rest if part is None else part for part in found) for base in bases(request)]

    return made


def check_body_hash(request: Request, parameter: str) -> None:
    """Return if the URL's query, which is signed, has the SHA-256 of the body in this parameter, once.

    Raises:
        VerificationFailed: it has not.
    """
    name = parameter.encode()
    pairs = [pair.partition(b"=") for pair in request.query.split(b"&")]
    values = [value for found, _, value in pairs if found == name]
    if len(values) != 1:
        raise VerificationFailed(f"the URL's query has {'more than one' if values else 'no'} {parameter}")
    if not hmac.compare_digest(_body_hash(request), values[0]):
        raise VerificationFailed(f"the body is not the one whose SHA-256 is in the URL's {parameter}", near=True)


def with_body_hash(request: Request, parameter: str) -> Request:
    """The request with that in its query, as its sender makes it."""
    name = parameter.encode()
    pairs = [pair for pair in request.query.split(b"&") if pair and pair.partition(b"=")[0] != name]
    return request._replace(query=b"&".join([*pairs, name + b"=" + _body_hash(request)]))


def _body_hash(request: Request) -> bytes:
    return sha256(request.body).hexdigest().encode()


def _sorted_form(request: Request) -> bytes:
    """Names and values of a form's fields, sorted, each pair once, joined by nothing.

    Never nothing for a body that is no form, or a signature over something else would do for any body.
    """
    kinds = [value for name, value in request.headers if name == b"content-type"]
    is_form = len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == _FORM
    if not (is_form and (found := _sorted_fields(request.body))):
        raise VerificationFailed("the body is no form that could have been signed")
    return found


@lru_cache(maxsize=1)  # tens of milliseconds for a large one, and each way to sign it asks
def _sorted_fields(body: bytes) -> bytes:
    """Nothing if it is no form."""
    with contextlib.suppress(ValueError):
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=_MAX_FIELDS, errors="strict"
        )
        return "".join(name + value for name, value in sorted(set(pairs))).encode()
    return b""


_PARTS: dict[str, Part | None] = {
    "id": lambda _request, delivery_id, _timestamp: delivery_id,
    "timestamp": lambda _request, _id, timestamp: timestamp,
    "body": lambda request, _id, _timestamp: request.body,
    "method": lambda request, _id, _timestamp: request.method.encode(),
    "url": None,
    "form": lambda request, _id, _timestamp: _sorted_form(request),
}
