"""What must not be shown: the `Secret` type, and reading one from a mounted file.

Not here: which settings are secret (`settings`) and the tokens the bridge makes itself (`tokens`).
"""

import hmac
from pathlib import Path
from typing import NoReturn, SupportsIndex

__all__ = ["Secret", "read_secret_file", "split_secrets"]

_MAX_FILE_BYTES = 65_536  # the longest we take is a NATS creds file, under 2 KiB; a wrong path must not fill memory


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


def read_secret_file(path: Path) -> str:
    """The file's text without the line end that editors and `echo` put there.

    Raises:
        OSError: not there, not readable, not a regular file.
        ValueError: empty, too large or not UTF-8; the message has no content.
    """
    if path.exists() and not path.is_file():
        raise OSError(None, "is not a regular file")  # a FIFO would block the start for ever
    with path.open("rb") as file:
        content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"is larger than {_MAX_FILE_BYTES} bytes")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None  # the cause's message quotes a byte
    if not text.strip():
        raise ValueError("is empty")
    return text


def split_secrets(text: str, path: Path | None = None) -> tuple[Secret, ...]:
    """Several secrets in one text, separated by commas or white space (a file may have one a line)."""
    return tuple(Secret(part, path) for part in text.replace(",", " ").split())
