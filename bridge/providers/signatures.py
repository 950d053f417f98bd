"""Proof of the sender. For providers that sign nothing (Chatlevel) it is a secret token in the request.

Works on what came over the wire, before any parsing of the body, and fails closed on anything odd.
"""

import hashlib
import hmac
from collections.abc import Sequence

__all__ = ["TokenVerifier"]


class TokenVerifier:
    """Compares presented tokens with the configured ones in constant time; several are valid during a rotation."""

    def __init__(self, tokens: Sequence[str]) -> None:
        """Keeps digests, not tokens.

        Raises:
            ValueError: no token, or an empty one: that would let everybody in.
        """
        self.replace(tokens)

    def replace(self, tokens: Sequence[str]) -> None:
        """Other tokens from now on, all in one step; from any thread.

        Raises:
            ValueError: as at the start; the ones of before stay valid.
        """
        if not tokens or not all(tokens):
            raise ValueError("a verifier needs at least one token, and none may be empty")
        self._digests = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)

    def __repr__(self) -> str:
        return f"TokenVerifier(<{len(self._digests)} tokens>)"

    def verify(self, presented: Sequence[bytes]) -> bool:
        """Whether any presented token is a valid one. Every pair is compared, so time tells nothing."""
        valid = False
        for token in presented:
            digest = hashlib.sha256(token).digest()
            for expected in self._digests:
                valid |= hmac.compare_digest(digest, expected)
        return valid
