"""What a secret looks like where it has no business, and finding it there without repeating it."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote

__all__ = ["Needles", "leak", "needles_of"]

_FEWEST_CHARACTERS = 12
_FEWEST_DIFFERENT = 6  # what has fewer, as `x` sixteen times, is found where nobody put it
_LONGEST_PART = 24
_SHOWN_BYTES = 100

Needles = Mapping[bytes, str]
"""What to look for -> what it is, in words that may be shown."""


@lru_cache(1024)  # most tests give the same ones
def needles_of(secret: str, name: str) -> Needles:
    """Every way the secret could be written: by itself, quoted for a URL, escaped in JSON or a repr, encoded.

    Args:
        secret: as a setting holds it, several lines or several secrets among it; what is too short or too plain to be
            told from other text is passed over.
        name: what it is.
    """
    found: dict[bytes, str] = {}
    for part in _parts(secret):
        for form, needle in _forms(part):
            found.setdefault(needle, f"{name}, {form}")
    return found


def leak(where: str, content: bytes | str, needles: Needles) -> str | None:
    """The first of them in the content: where, which, and what stands before it, which has none of them.

    Args:
        where: the content is from.
        content: what was written, sent or stored.
        needles: to look for.
    """
    text = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    places = [(at, name) for needle, name in needles.items() if (at := text.find(needle)) >= 0]
    if not places:
        return None
    at, name = min(places)
    return f"{where} has {name}, after {text[max(0, at - _SHOWN_BYTES) : at].decode(errors='backslashreplace')!r}"


def _parts(secret: str) -> Iterator[str]:
    """Pieces that only this secret has. Of a long one two, for whoever cuts it short leaks it, too."""
    for line in secret.replace(",", " ").split():
        for part in (line,) if len(line) <= _LONGEST_PART else (line[:_LONGEST_PART], line[-_LONGEST_PART:]):
            if len(part) >= _FEWEST_CHARACTERS and len(set(part)) >= _FEWEST_DIFFERENT and not _is_public(part):
                yield part


def _is_public(part: str) -> bool:
    """The beginning of any JWT."""
    return part.startswith("eyJ")


def _forms(part: str) -> Iterator[tuple[str, bytes]]:
    raw = part.encode(errors="surrogateescape")
    yield "as it is", raw
    yield "percent-encoded", quote(raw, safe="").encode()
    yield "in JSON", json.dumps(part)[1:-1].encode()
    yield "in a repr", repr(part)[1:-1].encode(errors="surrogateescape")
    yield "in hexadecimal", raw.hex().encode()
    yield "in hexadecimal", raw.hex().upper().encode()
    for shift in range(3):  # base64 of a text that has it: by where in a group of three bytes it begins
        encoded = b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] :].rstrip(b"=")
        whole = encoded if (shift + len(raw)) % 3 == 0 else encoded[:-1]  # the last one depends on what follows
        yield "in base64", whole
        yield "in base64 for URLs", whole.translate(bytes.maketrans(b"+/", b"-_"))
