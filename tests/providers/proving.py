"""Whether a verifier believes a request: what it does and what it explains must agree."""

from collections.abc import Iterator, Sequence

from bridge.errors import VerificationFailed
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier

__all__ = ["believes", "with_odd"]


def believes(verifier: Verifier, request: Request) -> bool:
    """Whether it verifies; the explanation must say the same."""
    try:
        verifier.verify(request)
    except VerificationFailed:
        believed = False
    else:
        believed = True
    assert all(step.right for step in verifier.explain(request)) == believed
    return believed


def with_odd(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
    """These, with the one of that name missing, doubled, empty, and with digits and letters that are not ASCII."""
    (right,) = (value for key, value in headers if key == name)
    rest = [(key, value) for key, value in headers if key != name]
    for values in (
        [],
        [right, right],
        [b"x", right],
        [right, b""],
        [b""],
        [right + b"\xe9"],
        [right + "٣".encode()],
        ["٣".encode() + right],
    ):
        yield [*rest, *((name, value) for value in values)]
