"""The `Secret` type: what must not be shown. Not here: where secrets come from (`config.secrets`)."""

import hmac
from pathlib import Path
from typing import NoReturn, SupportsIndex

__all__ = ["Secret"]


class Secret:
    """A text that `repr`, `str`, `format`, logs and JSON never show; `reveal` is the one way to it.

    Attributes:
        path: the file it came from, None if it came from the environment itself. Reading the file again with
            `read_secret_file` gives the value of today.
    """

    __slots__ = ("_value", "path")

    def __init__(self, value: str, path: Path | None = None) -> None:
        self._value = value
        self.path = path

    def reveal(self) -> str:
        """The value. Hand it on at once and keep no copy."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __format__(self, _spec: str) -> str:
        return repr(self)  # also with a width or precision: `f"{secret:>40}"`

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._value.encode(errors="surrogatepass"), other._value.encode(errors="surrogatepass")
        )

    # a dict lookup would compare hashes, in variable time
    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied: that would put its value where nobody looks for it")
