"""A request before anything is known of it: what proofs and handshakes look at, and what a handshake answers."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from bridge.errors import VerificationFailed

__all__ = ["Handshake", "Reply", "Request", "is_encoded", "only"]


class Request(NamedTuple):
    """What came over the wire.

    Attributes:
        method: in upper case.
        path: as it came, not unquoted.
        query: what stands after the `?`.
        headers: all of them, repeated ones as often as they came; names in lower case.
        body: the raw bytes; empty while it is not read.
        peer: the address at the other end of the connection; empty where nobody asks for it (`Verifier.needs_peer`).
    """

    method: str
    path: bytes
    query: bytes
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes = b""
    peer: str = ""


def only(request: Request, name: bytes) -> bytes:
    """The header's one value.

    Raises:
        VerificationFailed: it is not there once, with something in it, in ASCII.
    """
    found = None
    for key, value in request.headers:
        if key == name:
            if found is not None:
                raise VerificationFailed(f"the header {name.decode()} is there twice")
            found = value
    if not found:
        state = "missing" if found is None else "empty"
        raise VerificationFailed(f"the header {name.decode()} is {state}")
    if not found.isascii():
        raise VerificationFailed(f"the header {name.decode()} has other characters than ASCII")
    return found


def is_encoded(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the body is compressed, or not what it stands for (RFC 9110, section 8.4). None such is taken."""
    return headers.get(b"content-encoding", b"").strip().lower() not in (b"identity", b"")


class Reply(NamedTuple):
    """The answer to a handshake."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Handshake = Callable[[Request], Reply | None]
"""Answers a question that is no event, such as whether this is the webhook of who registered it; None: it is none.

Nothing is published; it is counted. Asked with POST it comes after the proof, with any other method it must see to
the proof itself. Synchronous; raises nothing, whatever the request is.
"""
