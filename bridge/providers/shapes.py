"""Typed decoding that neither loses nor refuses what it does not know.

The usual body is decoded once, by a decoder that refuses unknown fields. Only where that fails comes a second look:
leniently, and which fields were unknown. So the check costs nothing while nothing drifts.
"""

import re
from typing import Generic, TypeVar

import msgspec

from bridge.errors import UndecodableBody

__all__ = ["Shape", "decode_error", "drift_name"]

T = TypeVar("T", bound=msgspec.Struct)

_MAX_UNKNOWN_NAME_CHARS = 64
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Shape(Generic[T]):
    """How one kind of JSON object is decoded."""

    def __init__(self, struct: type[T]) -> None:
        """Build the decoders of a struct that does not forbid unknown fields itself."""
        strict = msgspec.defstruct(struct.__name__, [], bases=(struct,), forbid_unknown_fields=True, frozen=True)
        self._strict: msgspec.json.Decoder[T] = msgspec.json.Decoder(strict)
        self._lenient = msgspec.json.Decoder(struct)
        self._known = frozenset(field.encode_name for field in msgspec.structs.fields(struct))

    def decode(self, raw: bytes | msgspec.Raw, path: str = "$") -> tuple[T, dict[str, msgspec.Raw]]:
        """The struct, and the fields it does not know with their raw values.

        Args:
            raw: the JSON text.
            path: where it stands in the body, for messages.

        Raises:
            UndecodableBody: a known field misfits, or it is not JSON at all.
        """
        try:
            return self._strict.decode(raw), {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        try:
            value = self._lenient.decode(raw)
            fields = _raw_fields.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise decode_error(error, path) from None
        return value, {name: value for name, value in fields.items() if name not in self._known}


def decode_error(error: Exception, path: str = "$") -> UndecodableBody:
    """What to say of a body that cannot be decoded: place and expectation, never content."""
    if isinstance(error, RecursionError):
        return UndecodableBody("nested too deep")
    if isinstance(error, UnicodeDecodeError):
        return UndecodableBody(f"not UTF-8 (byte {error.start})")
    if isinstance(error, msgspec.ValidationError):
        text = str(error)
        return UndecodableBody(text.replace("`$", f"`{path}", 1) if "`$" in text else f"{text} - at `{path}`")
    return UndecodableBody(str(error))


def drift_name(path: str) -> str:
    """The path of an unknown field, short printable ASCII, so that it can be counted and logged."""
    return _UNPRINTABLE.sub("?", path[:_MAX_UNKNOWN_NAME_CHARS]) or "?"
