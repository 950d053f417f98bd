"""The headers of records, found out by making some: the pipeline and the broker's client say what they send.

Two events that differ in everything: a header of one alone is optional, one with the same value on both is constant.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from bridge.broker import as_sent, dialect_of
from bridge.config import Config
from bridge.events.cloudevents import CloudEvent
from bridge.events.model import Event, EventType
from bridge.events.open_types import open_type
from bridge.ingest.pipeline import Pipeline
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.routing import DEFAULT_TEMPLATE, RoutedSource, build_tables

__all__ = ["compared", "described", "headers_schema"]

_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_DESCRIPTIONS = {
    "content-type": "What the value is.",
    "nats-msg-id": "What the stream tells copies by: the event's id and the topic.",
    "nats-ttl": "After this time the stream forgets the record, where the stream allows it.",
    "traceparent": "The trace the webhook came with (W3C).",
}


class _NoData(msgspec.Struct):
    """Headers do not depend on it."""


class _Given:
    """A provider of given events: the decoder is all that a pipeline asks for."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    def decoder(self) -> Decoder:
        return lambda _delivery: self._events


def headers_schema(config: Config, event_type: EventType, *, named_by_payloads: bool) -> dict[str, Any]:
    """The JSON Schema of the headers of a type's records on the configured broker.

    Args:
        config: broker and event format.
        event_type: of the records.
        named_by_payloads: it stands for all those that payloads name.
    """
    full, bare = (
        _headers(config, _event(event_type, text, full=full, named=named_by_payloads), full=full)
        for text, full in (("a", True), ("b", False))
    )
    prefix = dialect_of(config).prefix
    return compared(full, bare, lambda name: described(name.removeprefix(prefix)))


def compared(
    full: Mapping[str, str], bare: Mapping[str, str], describe: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    """The JSON Schema of headers of which two records that differ in everything have these.

    Args:
        full: of a record that has all there can be.
        bare: of one that has no more than there must be.
        describe: what is to be said of a header besides.
    """
    return {
        "type": "object",
        "properties": {
            name: describe(name) | ({"const": value} if bare.get(name) == value else {"type": "string"})
            for name, value in full.items()
        },
        "required": list(bare),
    }


def described(name: str) -> dict[str, Any]:
    """What is to be said of a header that is no letter's, by its name without the prefix of attributes."""
    attribute = name.lower()
    text = _DESCRIPTIONS.get(attribute) or dict(_of_envelope()).get(attribute, "")
    found = {"description": text} if text else {}
    return found | ({"format": "date-time"} if attribute.endswith("time") else {})


def _event(event_type: EventType, text: str, *, full: bool, named: bool) -> Event:
    time = _TIME if full else _TIME + timedelta(1)
    return Event(
        id=text,
        type=open_type(event_type, text) if named else event_type,
        device=text,
        time=time,
        recordedtime=time,
        data=_NoData(),
        subject=text if full else None,
        contact=text,
        expirytime=time if full and event_type.sensitive else None,
    )


def _headers(config: Config, event: Event, *, full: bool) -> dict[str, str]:
    source = RoutedSource(name=event.id, types=(event.type,))
    pipeline = Pipeline(
        source=source.name,
        provider=cast("Provider", _Given(event)),
        table=build_tables([source], routes=None, template=DEFAULT_TEMPLATE)[source.name],
        dialect=dialect_of(config),
        event_format=config.event_format,
    )
    ((prepared),) = pipeline.prepare(Delivery(b"", {}, event.time), "trace" if full else None)
    return as_sent(config, prepared.records[0])[0]


def _of_envelope() -> Iterator[tuple[str, str]]:
    schema = msgspec.json.schema_components([CloudEvent])[1]["CloudEvent"]
    for name, content in schema["properties"].items():
        yield name, content.get("description", "")
