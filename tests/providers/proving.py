"""Whether a verifier believes a request: what it does and what it explains must agree."""

from bridge.errors import VerificationFailed
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier

__all__ = ["believes"]


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
