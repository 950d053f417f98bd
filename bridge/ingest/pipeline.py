"""The pure part of an event's way: a delivery becomes records. No loop, no broker, no HTTP.

One `Pipeline` per source, compiled at start: decoder, encoder and routes are looked up once, not per delivery.
"""

from collections.abc import Callable
from datetime import timedelta
from operator import attrgetter
from typing import Literal, NamedTuple

import msgspec

from bridge.errors import DeviceNotAllowed
from bridge.events.cloudevents import BinaryEncoder, StructuredEncoder, binary_headers, record_headers
from bridge.events.model import Event
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.publishers.base import HeaderDialect, Record
from bridge.routing import Found, Route, Table

__all__ = ["Pipeline", "Prepared"]


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """One event and the records that carry it.

    Attributes:
        event: the event.
        label: its type for counters; of those there are few, whatever the payloads say.
        records: one for each topic; none: the event is dropped on purpose.
    """

    event: Event
    label: str
    records: tuple[Record, ...]

    @property
    def id(self) -> str:
        """What the answer lists."""
        return self.event.id


class _Way(NamedTuple):
    """A route, compiled."""

    topic: str
    dedup_suffix: str
    key_of: Callable[[Event], str]


class _Plan(NamedTuple):
    """What becomes of the events of one type."""

    label: str
    ways: tuple[_Way, ...]


class Pipeline:
    """From bytes to records for one source."""

    def __init__(
        self,
        *,
        source: str,
        provider: Provider,
        table: Table,
        dialect: HeaderDialect,
        event_format: Literal["structured", "binary"] = "structured",
        devices: frozenset[str] = frozenset(),
    ) -> None:
        """Compile.

        Args:
            source: the source's name; part of every event's `source`.
            provider: whose format the bodies have.
            table: where the events go.
            dialect: how the broker's records name their headers.
            event_format: whether the record's value is the whole event, or its data with all else in headers.
            devices: the only devices allowed; empty allows all.
        """
        self._decode: Decoder = provider.decoder()
        prefix, percent_encode = dialect.prefix, dialect.percent_encode
        if event_format == "binary":
            self._encode = BinaryEncoder().encode
            content_type = dialect.data_content_type
            self._headers = binary_headers(
                source, prefix=prefix, data_content_type=content_type, percent_encode=percent_encode
            )
        else:
            self._encode = StructuredEncoder(source).encode
            self._headers = record_headers(
                prefix=prefix, content_type=dialect.content_type, percent_encode=percent_encode
            )
        self._table = table
        self._source = source
        self._plans = {name: self._plan(found) for name, found in table.known.items()}
        self._devices = devices

    def prepare(self, delivery: Delivery, traceparent: str | None = None) -> list[Prepared]:
        """The delivery's events in order, each with its records.

        Raises:
            UndecodableBody: not the provider's format.
            DeviceNotAllowed: an event of a device that is not on the source's list.
        """
        events = self._decode(delivery)
        if self._devices and any(event.device not in self._devices for event in events):
            raise DeviceNotAllowed("the event's device is not among the devices of this source")
        return [self._prepared(event, traceparent) for event in events]

    def _prepared(self, event: Event, traceparent: str | None) -> Prepared:
        label, ways = self._plans.get(event.type.name) or self._learn(event.type.name)
        if len(ways) == 1:
            return Prepared(event, label, (self._record(event, ways[0], traceparent),))
        values: dict[str, bytes] = {}
        return Prepared(event, label, tuple(self._record(event, way, traceparent, values) for way in ways))

    def _record(
        self, event: Event, way: _Way, traceparent: str | None, values: dict[str, bytes] | None = None
    ) -> Record:
        """One copy of an event; `values` has those that were encoded already, by key, which may be part of them."""
        key = way.key_of(event)
        value = values.get(key) if values else None
        if value is None:
            value = self._encode(event, key=key, traceparent=traceparent)
            if values is not None:
                values[key] = value
        return Record(
            topic=way.topic,
            key=key,
            value=value,
            headers=self._headers(event, key, traceparent),
            dedup_id=event.id + way.dedup_suffix,
            ttl_s=None if event.expirytime is None else _ttl_s(event.expirytime - event.time),
        )

    def _learn(self, name: str) -> _Plan:
        """The plan of a type that the payload names; kept as long as the table keeps the type."""
        found = self._table.find(name)
        plan = self._plan(found)
        if found.label == name:
            self._plans[name] = plan
        return plan

    def _plan(self, found: Found) -> _Plan:
        return _Plan(found.label, tuple(map(self._way, found.routes)))

    def _way(self, route: Route) -> _Way:
        """An event's id is unique within its source: where others publish too, the dedup id says whose it is."""
        suffix = f"@{route.topic}@{self._source}" if route.topic in self._table.others else f"@{route.topic}"
        return _Way(route.topic, suffix, _KEYS[route.key])


_KEYS: dict[str, Callable[[Event], str]] = {
    "device": attrgetter("device"),
    "contact": lambda event: event.contact or event.device,
    "subject": lambda event: event.subject or event.device,
    "id": attrgetter("id"),
}


def _ttl_s(lifetime: timedelta) -> int:
    """How long the broker should keep an expiring event: its own life time, counted from now on.

    Not what is left of it: a delivery that comes late must still be seen by a consumer that is awake.
    """
    return max(1, round(lifetime.total_seconds()))
