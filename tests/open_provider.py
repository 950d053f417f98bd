"""A provider whose payloads name their types, as GitHub's do: the least that the mechanism needs."""

import hashlib
import json
import re
from datetime import datetime
from typing import Any

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.events.open_types import open_type
from bridge.providers.base import Decoder, Delivery, Provider

__all__ = ["FALLBACK", "KNOWN", "OpenProvider"]


class Payload(msgspec.Struct):
    """The payload as it came."""

    payload: Any


KNOWN = EventType("open", "ping", Payload, schema="event")
FALLBACK = EventType("open", "unknown", Payload, schema="event")

_is_safe = re.compile(r"[\x21-\x7e]{1,256}").fullmatch


class OpenProvider(Provider):
    """The type is in the header `x-event`, or in the body or each item of its `batch`, as all else is."""

    name: str = "open"
    event_types: tuple[EventType, ...] = (KNOWN, FALLBACK)
    open_types: bool = True
    headers: frozenset[str] = frozenset({"x-event"})
    sample_events: tuple[str, ...] = ("push",)

    def decoder(self) -> Decoder:
        return _decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        return json.dumps({"type": event, "at": now.isoformat()}).encode()


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    try:
        content = msgspec.json.decode(delivery.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UndecodableBody("Expected an object") from None
    header = delivery.headers.get(b"x-event")
    said = None if header is None else header.decode("latin-1")
    return tuple(_event(delivery, item, said) for item in content.get("batch") or [content])


def _event(delivery: Delivery, item: dict[str, Any], said: str | None) -> Event:
    name = str(item.get("type", "")) if said is None else said
    texts = {field: str(item.get(field, "")) for field in ("device", "subject", "contact")}
    safe = {field: text if _is_safe(text) else None for field, text in texts.items()}
    return Event(
        id=hashlib.sha256(json.dumps([item, name]).encode()).hexdigest()[:32],
        type=open_type(FALLBACK, name),
        device=safe["device"] or "unknown",
        subject=safe["subject"],
        contact=safe["contact"],
        time=delivery.received_at,
        recordedtime=delivery.received_at,
        data=Payload(item),
    )
