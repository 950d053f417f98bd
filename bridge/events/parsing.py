"""A consumer's way in: a record of either broker, in either mode, becomes its event with typed data.

It needs msgspec and nothing else of the bridge's dependencies. Speed is not its aim: some ten microseconds a record.
"""

from collections.abc import Iterable, Mapping

import msgspec

from bridge.events import messaging
from bridge.events.cloudevents import CONTENT_TYPE, CloudEvent
from bridge.events.model import EventType
from bridge.events.reading import NotAnEvent, read_event

__all__ = ["Headers", "parse"]

Headers = Mapping[str, str | bytes | None] | Iterable[tuple[str, str | bytes | None]]
"""As the clients give them: nats-py a mapping of texts, aiokafka and confluent-kafka pairs of text and bytes."""

_WITHOUT = {"content-type": CONTENT_TYPE}


def parse(value: bytes | str | None, headers: Headers | None = None) -> CloudEvent:
    """The event of a record.

    `data` is an instance of its schema's struct (`messaging.MessageReceived` and so on), whichever minor it was written
    by: what a later one added is left out. Of types and majors that this version does not know, and of those that pass
    a provider's payload through, `data` is what JSON has: a dict, most often.

    Args:
        value: the record's.
        headers: the record's. None or empty: there are none at hand, and the value is taken for a whole event, which
            it is unless BRIDGE_EVENT_FORMAT is `binary`.

    Raises:
        NotAnEvent: the record is none, or breaks its schema; the message says what and where. It will be none the
            next time either, so put it aside instead of asking for it again.
    """
    if value is None:
        raise NotAnEvent("the record has no value: a tombstone, which the bridge does not write")
    found = read_event(value, _texts(headers) or _WITHOUT)
    try:
        event = msgspec.convert(found, CloudEvent)
    except msgspec.ValidationError as error:
        raise NotAnEvent(f"not an event of the bridge: {error}") from error
    struct = _STRUCTS.get(_family(event.dataschema))
    if struct is None:
        return event
    try:
        data = msgspec.convert(event.data, struct)
    except msgspec.ValidationError as error:
        raise NotAnEvent(f"the data is not as {event.dataschema} says: {error}") from error
    return msgspec.structs.replace(event, data=data)


def _texts(headers: Headers | None) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return {name: text.decode(errors="replace") if isinstance(text, bytes) else text or "" for name, text in pairs}


def _family(dataschema: str) -> str:
    """The schema without its minor: within a major every one is read by the same struct."""
    return dataschema.rpartition(".")[0]


def _structs(*vocabularies: Iterable[EventType]) -> dict[str, type[msgspec.Struct]]:
    return {_family(event_type.dataschema): event_type.data for types in vocabularies for event_type in types}


_STRUCTS = _structs(messaging.TYPES)
