"""What providers share whose payloads are published as they came: reading a few fields, and making the event.

The envelope is ours, `data` is the sender's own JSON. Fields are read tolerantly: one that is missing or of another
kind costs the event a subject or a time, never its publication.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import parse_qsl

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.events.open_types import open_type
from bridge.providers.base import Delivery
from bridge.providers.draft import NO_DEVICE
from bridge.providers.shapes import decode_error
from bridge.providers.values import event_id, utc_time

__all__ = [
    "Fields",
    "Payload",
    "fallback_type",
    "form_fields",
    "header",
    "inner",
    "is_form",
    "items",
    "json_object",
    "make_event",
    "text",
    "time_of",
    "without",
]

Fields = dict[str, msgspec.Raw]
"""A JSON object's fields, their values not decoded yet."""

_MAX_FORM_FIELDS = 1000
# Tiny ones fit into a body by the ten thousand, and all others would wait for seconds while they are made events.
_MAX_ITEMS = 5000
_FORM = "application/x-www-form-urlencoded"
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_plain = msgspec.json.Decoder(str | int | float).decode
_encode = msgspec.json.Encoder().encode
_is_safe = re.compile(r"[\x21-\x7e]{1,256}").fullmatch


class Payload(msgspec.Struct):
    """The sender's own payload, as it sent it."""


def fallback_type(domain: str) -> EventType:
    """The type of what names none: `unknown`. Those that payloads name share its schema, `event`."""
    return EventType(domain, "unknown", Payload, schema="event")


def json_object(body: bytes | msgspec.Raw) -> Fields:
    """The fields of a body that is one JSON object.

    Raises:
        UndecodableBody: it is anything else.
    """
    try:
        bytes(
            body
        ).decode()  # msgspec does not look at the UTF-8 of what it keeps raw, and bad bytes would be published
        return _decode_fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error) from None


def items(body: bytes) -> list[msgspec.Raw]:
    """The items of a body that is a JSON array with something in it, and not too much.

    Raises:
        UndecodableBody: it is anything else.
    """
    try:
        body.decode()
        found = _decode_items(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error) from None
    if not found:
        raise UndecodableBody("Expected an array with at least one item - at `$`")
    if len(found) > _MAX_ITEMS:
        raise UndecodableBody(f"Expected an array of at most {_MAX_ITEMS} items - at `$`")
    return found


def is_form(delivery: Delivery) -> bool:
    """Whether the body is a form."""
    return header(delivery, "content-type").partition(";")[0].strip().lower() == _FORM


def form_fields(body: bytes) -> dict[str, str | list[str]]:
    """A form's fields; of a repeated one all values.

    Raises:
        UndecodableBody: it is no form, or an endless one.
    """
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=_MAX_FORM_FIELDS, errors="strict"
        )
    except ValueError:
        pairs = []
    if not pairs:
        raise UndecodableBody(f"Expected a form of at most {_MAX_FORM_FIELDS} fields in UTF-8")
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        before = fields.get(name)
        if isinstance(before, list):
            before.append(value)
        else:
            fields[name] = value if before is None else [before, value]
    return fields


def header(delivery: Delivery, name: str) -> str:
    """A header's text, empty where there is none."""
    return delivery.headers.get(name.encode(), b"").decode("latin-1")


def text(fields: Fields, name: str) -> str:
    """A field's text or number as text; empty where it is neither."""
    raw = fields.get(name)
    if raw is None:
        return ""
    try:
        return str(_decode_plain(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def inner(fields: Fields, *path: str) -> Fields:
    """The fields of an object inside; none where there is no such object."""
    for name in path:
        raw = fields.get(name)
        if raw is None:
            return {}
        try:
            fields = _decode_fields(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
    return fields


def time_of(fields: Fields, *names: str) -> datetime | None:
    """The first of these fields that is a time, in RFC 3339, seconds or milliseconds."""
    for name in names:
        raw = fields.get(name)
        if raw is not None:
            try:
                time = utc_time(_decode_plain(raw))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if time is not None:
                return time
    return None


def without(body: bytes, fields: Fields, secrets: Iterable[str]) -> bytes:
    """The body without fields that hold credentials; the body itself where there are none."""
    if fields.keys().isdisjoint(secrets):
        return body
    return _encode({name: value for name, value in fields.items() if name not in secrets})


def make_event(
    delivery: Delivery,
    fallback: EventType,
    data: bytes | msgspec.Raw,
    *,
    name: str,
    identity: str = "",
    key: str = "",
    subject: str = "",
    time: datetime | None = None,
) -> Event:
    """The event of one payload. What the sender wrote goes into attributes only where it is short printable ASCII.

    Args:
        delivery: it came with.
        fallback: the provider's fallback type.
        data: the payload, a JSON object.
        name: its type, as the sender calls it.
        identity: the sender's own id of the event, the same on every retry; without one it is made from `data`.
        key: what events keep their order by; without one all of the source do.
        subject: the object it is about; no personal data.
        time: when it happened; else when it was received.
    """
    return Event(
        id=identity if _is_safe(identity) else event_id(key, f"{name}\n{identity}", bytes(data)),
        type=open_type(fallback, name),
        device=key if _is_safe(key) else event_id("", "key", key.encode()) if key else NO_DEVICE,
        subject=subject if _is_safe(subject) else None,
        time=time or delivery.received_at,
        recordedtime=delivery.received_at,
        data=data if isinstance(data, msgspec.Raw) else msgspec.Raw(data),
    )
