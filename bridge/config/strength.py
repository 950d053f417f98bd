"""Whether a secret is one that anybody can guess. Not here: what form it must have."""

import re

__all__ = ["looks_guessable"]

_PLACEHOLDER = re.compile(
    r"change[._~-]?(me|this|it)|place[._~-]?holder|replace[._~-]?(me|this|with)|^(example|your|insert|xxx)",
    re.IGNORECASE,
)
_MIN_DISTINCT = 5  # a random token of 16 hex digits has fewer once in 30,000


def looks_guessable(value: str) -> bool:
    """Whether it is a placeholder, or a few characters again and again."""
    return _PLACEHOLDER.search(value) is not None or len(set(value)) < _MIN_DISTINCT
