"""Reading what must not be shown from a mounted file or a text.

Not here: which settings are secret (`settings`) and the tokens the bridge makes itself (`tokens`).
"""

from pathlib import Path

from bridge.secret import Secret

__all__ = ["Secret", "read_secret_file", "split_secrets"]

_MAX_FILE_BYTES = 65_536  # the longest we take is a NATS creds file, under 2 KiB; a wrong path must not fill memory


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
