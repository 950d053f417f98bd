"""What the publisher knows of its broker, as health, and as a log line at each change. No I/O.

Three witnesses: the link, the last look at the stream, and the last publishes.
"""

import asyncio
from collections.abc import Sequence

from bridge.publishers.base import BrokerHealth
from bridge.publishers.nats.settings import NatsSettings
from bridge.publishers.nats.stream import Inspection
from bridge.publishers.nats.weakness import Weakness
from bridge.telemetry import broker_facts

__all__ = ["Status"]

# Without traffic nothing would ever disprove that publishing fails, and what is not ready gets no traffic.
_DOUBT_S = 10.0
_NS = 1_000_000_000


class Status:
    """The state now.

    Attributes:
        health: as the publisher tells it.
        ready: set while `health.ready`.
        doubt: why the last publish failed; None: it did not.
    """

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._phase: str | None = "the publisher was not started"
        self._absence: str | None = "the broker is not connected yet"
        self._inspection: Inspection | None = None
        self._weaknesses: tuple[Weakness, ...] = ()
        self._server: dict[str, str | int | bool] = {}
        self._max_payload = 0
        self._doubted_at = 0.0
        self._told_reasons: tuple[str, ...] = ()
        self._told_warnings: tuple[str, ...] = ()
        self._told_absence: str | None = None
        self.doubt: str | None = None
        self.ready = asyncio.Event()
        self.health = self._compose()

    @property
    def absence(self) -> str:
        """Why there is no link."""
        return self._absence or ""

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

    def started(self) -> None:
        """Connecting has begun."""
        self._phase = None
        self._update()

    def closed(self) -> None:
        """It is over."""
        self._phase = "the publisher is closed"
        self._update()

    def connected(self, *, server_version: str, tls: bool, max_payload: int) -> None:
        """A link is up; what the stream is like is not known yet."""
        self._absence = self._told_absence = self.doubt = None
        self._inspection = None
        self._server = {"server_version": server_version, "tls": tls}
        self._max_payload = max_payload
        broker_facts.connected(server_version=server_version, tls=tls)
        self._update()

    def lost(self, reason: str) -> None:
        """The link is gone."""
        self._absence = self._told_absence = reason
        broker_facts.lost(reason)
        self._update()

    def unreachable(self, reason: str) -> None:
        """An attempt to connect failed."""
        self._absence = reason
        if reason != self._told_absence:
            self._told_absence = reason
            broker_facts.unreachable(reason)
        self._update()

    def inspected(self, inspection: Inspection, weaknesses: Sequence[Weakness]) -> None:
        """The stream was looked at."""
        if self._inspection is not None and self._inspection.reasons and not inspection.reasons:
            self.doubt = None  # why publishes failed was seen, and is gone
        self._inspection = inspection
        self._weaknesses = tuple(weaknesses)
        if inspection.created:
            broker_facts.stream_created(self._settings.stream)
        if inspection.added:
            broker_facts.subjects_added(self._settings.stream, inspection.added)
        self._update()

    def publish_failed(self, reason: str, now: float) -> None:
        """The broker did not take a record that it should have."""
        self._doubted_at = now
        if reason != self.doubt:
            self.doubt = reason
            self._update()

    def publish_succeeded(self) -> None:
        """The broker takes records again."""
        self.doubt = None
        self._update()

    def tick(self, now: float) -> None:
        """To be called about once a second."""
        if self.doubt is not None and now - self._doubted_at > _DOUBT_S:
            self.publish_succeeded()

    def _update(self) -> None:
        old, self.health = self.health, self._compose()
        if self.health.ready:
            self.ready.set()
        else:
            self.ready.clear()
        self._tell(old)

    def _tell(self, old: BrokerHealth) -> None:
        health = self.health
        if health.warnings and health.warnings != self._told_warnings:
            self._told_warnings = health.warnings
            broker_facts.weak(health.warnings)
        if health.ready:
            if not old.ready:
                self._told_reasons = ()
                broker_facts.ready()
        elif self._is_news(health.reasons):
            self._told_reasons = health.reasons
            broker_facts.not_ready(health.reasons)

    def _is_news(self, reasons: tuple[str, ...]) -> bool:
        """Without a link there are other lines, and not yet looked at is no news."""
        looked = self._phase is None and self._absence is None and self._inspection is not None
        return looked and reasons != self._told_reasons

    def _compose(self) -> BrokerHealth:
        reasons = self._reasons()
        # While there is no link, what was weak still is.
        warnings = tuple(weakness.text for weakness in self._weaknesses)
        inspection = self._inspection
        return BrokerHealth(
            ready=not reasons,
            reasons=reasons,
            warnings=warnings,
            plans=() if inspection is None else inspection.plans,
            looked=inspection is not None and self._absence is None,
            details=self._details(),
        )

    def _reasons(self) -> tuple[str, ...]:
        if self._phase is not None:
            return (self._phase,)
        if self._absence is not None:
            return (self._absence,)
        if self._inspection is None:
            return ("the stream has not been looked at yet",)
        reasons = list(self._inspection.reasons)
        if self._settings.require_durable:
            reasons += [
                f"{weakness.text} (BRIDGE_REQUIRE_DURABLE)" for weakness in self._weaknesses if weakness.durability
            ]
        if self.doubt is not None and not reasons:
            reasons.append(self.doubt)
        return tuple(reasons)

    def _details(self) -> dict[str, str | int | bool]:
        details: dict[str, str | int | bool] = {
            "connected": self._absence is None,
            **self._server,
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
