"""The pure part of an event's way: a delivery becomes records. No loop, no broker, no HTTP.

One `Pipeline` per source, compiled at start: decoder, encoder and routes are looked up once, not per delivery.
"""

from collections.abc import Mapping
from typing import NamedTuple

from bridge.errors import DeviceNotAllowed
from bridge.events.cloudevents import StructuredEncoder, record_headers
from bridge.events.model import Event
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.publishers.base import HeaderDialect, Record
from bridge.routing.table import Route

__all__ = ["Pipeline", "Prepared"]


class Prepared(NamedTuple):
    """One event and the record that carries it."""

    event: Event
    record: Record


class Pipeline:
    """From bytes to records for one source."""

    def __init__(
        self,
        *,
        source: str,
        provider: Provider,
        routes: Mapping[str, Route],
        dialect: HeaderDialect,
        devices: frozenset[str] = frozenset(),
    ) -> None:
        """Compile.

        Args:
            source: the source's name; part of every event's `source`.
            provider: whose format the bodies have.
            routes: by type name, one for each of the provider's types.
            dialect: how the broker's records name their headers.
            devices: the only devices allowed; empty allows all.
        """
        self._decode: Decoder = provider.decoder()
        self._encode = StructuredEncoder(source).encode
        self._headers = record_headers(
            prefix=dialect.prefix, content_type=dialect.content_type, percent_encode=dialect.percent_encode
        )
        self._topics = {event_type.name: routes[event_type.name].topic for event_type in provider.event_types}
        self._devices = devices

    def prepare(self, delivery: Delivery, traceparent: str | None = None) -> list[Prepared]:
        """The delivery's events in order, each with its record.

        Raises:
            UndecodableBody: not the provider's format.
            DeviceNotAllowed: an event of a device that is not on the source's list.
        """
        events = self._decode(delivery)
        if self._devices and any(event.device not in self._devices for event in events):
            raise DeviceNotAllowed("the event's device is not among the devices of this source")
        return [Prepared(event, self._record(event, traceparent)) for event in events]

    def _record(self, event: Event, traceparent: str | None) -> Record:
        topic = self._topics[event.type.name]
        return Record(
            topic=topic,
            key=event.device,
            value=self._encode(event, key=event.device, traceparent=traceparent),
            headers=self._headers(event, traceparent),
            dedup_id=f"{event.id}@{topic}",
            ttl_s=_ttl_s(event),
        )


def _ttl_s(event: Event) -> int | None:
    """How long the broker should keep an expiring event: its own life time, counted from now on.

    Not what is left of it: a delivery that comes late must still be seen by a consumer that is awake.
    """
    if event.expirytime is None:
        return None
    return max(1, round((event.expirytime - event.time).total_seconds()))
