"""What the NATS publisher knows of its stream, beside what every publisher knows of its broker. No I/O."""

from collections.abc import Sequence

from bridge.publishers.nats.settings import NatsSettings
from bridge.publishers.nats.stream import Inspection
from bridge.publishers.status import Status, Weakness
from bridge.telemetry import broker_facts

__all__ = ["NatsStatus"]

_NS = 1_000_000_000


class NatsStatus(Status):
    """The state now."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._inspection: Inspection | None = None
        self._max_payload = 0
        super().__init__(require_durable=settings.require_durable, unseen="the stream has not been looked at yet")

    @property
    def takes_ttl(self) -> bool:
        """Whether the stream takes a time to live per message; assumed until known."""
        config = None if self._inspection is None else self._inspection.config
        return config is None or config.allow_msg_ttl

    @property
    def missing(self) -> str | None:
        """Why no stream will take records, if that is known."""
        inspection = self._inspection
        return inspection.reasons[0] if inspection is not None and inspection.missing else None

    @property
    def max_msg_size(self) -> int:
        """The stream's own limit on a record, bytes; 0: none known."""
        config = None if self._inspection is None else self._inspection.config
        return 0 if config is None else max(0, config.max_msg_size)

    def linked(self, *, server_version: str, tls: bool, max_payload: int, in_exchange: bool) -> None:
        """A link is up; what the stream is like is not known yet, unless it replaces a link that worked."""
        self._max_payload = max_payload
        if in_exchange:
            self.exchanged(server_version=server_version, tls=tls)
        else:
            self._inspection = None
            self.connected(server_version=server_version, tls=tls)

    def inspected(self, inspection: Inspection, weaknesses: Sequence[Weakness]) -> None:
        """The stream was looked at."""
        self._inspection = inspection
        if inspection.created:
            broker_facts.stream_created(self._settings.stream)
        if inspection.added:
            broker_facts.subjects_added(self._settings.stream, inspection.added)
        self.looked(inspection.reasons, weaknesses, inspection.plans)

    def _details(self) -> dict[str, str | int | bool]:
        details: dict[str, str | int | bool] = {
            "stream": self._settings.stream,
            "sync": "always" if self._settings.always_synced else "unknown",
        }
        if self._inspection is None:
            return details
        limits = (self._max_payload, self.max_msg_size)
        details["max_record_bytes"] = min(limit for limit in limits if limit) if any(limits) else 0
        if (config := self._inspection.config) is not None:
            details |= {
                "replicas": config.num_replicas,
                "retention_s": config.max_age // _NS,
                "duplicate_window_s": config.duplicate_window // _NS,
            }
        return details
