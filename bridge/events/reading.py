"""Events read back from records, in either mode and with the headers of either broker: for `tail` and for `parsing`."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

__all__ = ["NotAnEvent", "read_event"]

_STRUCTURED = "application/cloudevents"
_PREFIXES = ("ce-", "ce_")
_PERCENT_ENCODED = "ce-"  # by the NATS and HTTP bindings; Kafka's values are plain


class NotAnEvent(ValueError):
    """A record is no event of the bridge, or one that breaks its schema. The message never has the content."""


def read_event(value: bytes | str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The event as structured JSON has it: its attributes and `data`.

    Args:
        value: the record's.
        headers: the record's; names in any case.

    Raises:
        NotAnEvent: the record holds no event, or one that cannot be read.
    """
    by_name = {name.lower(): text for name, text in headers.items()}
    try:
        content = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        unit = "characters" if isinstance(value, str) else "bytes"
        raise NotAnEvent(f"{len(value)} {unit}, not JSON") from error
    if by_name.get("content-type", "").lower().startswith(_STRUCTURED):
        if not isinstance(content, dict):
            raise NotAnEvent("JSON, but no object")
        return content
    for prefix in _PREFIXES:
        if f"{prefix}specversion" in by_name:
            return _from_headers(by_name, prefix) | {"data": content}
    raise NotAnEvent("JSON, but the headers are not those of an event")


def _from_headers(by_name: Mapping[str, str], prefix: str) -> dict[str, str]:
    found = {
        name.removeprefix(prefix): unquote(text) if prefix == _PERCENT_ENCODED else text
        for name, text in by_name.items()
        if name.startswith(prefix)
    }
    if "content-type" in by_name:
        found.setdefault("datacontenttype", by_name["content-type"])
    return found
