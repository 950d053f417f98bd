"""One function per fact: the log line and the counter leave together, so they cannot disagree.

No payload, no token, no path goes into a line: a path may hold a token under a misspelt source.
"""

import functools
from collections.abc import Iterable, Sized
from typing import Any

import structlog
from prometheus_client import Counter

from bridge.events.model import Event
from bridge.telemetry.metrics import Metrics

__all__ = ["Facts"]

_MAX_DRIFT_FIELDS = 200  # distinct (source, type, field) kept; a hostile sender must not grow the registry


class Facts:
    """What happened, told to the log and the counters."""

    def __init__(self, metrics: Metrics) -> None:
        self._log = structlog.get_logger("bridge")
        self._metrics = metrics
        # `labels` costs four times what counting does; labels are bounded, so each is bound once and kept
        self._bound = functools.cache(Counter.labels)
        self._drift_seen: set[tuple[str, str, str]] = set()

    def delivered(self, source: str, events: Iterable[tuple[Event, str, Sized]]) -> None:
        """All events of a delivery are durable, or dropped on purpose. No line: success is silent.

        Args:
            source: a configured source's name.
            events: each with its type as a label, of which there are few, and its records; none: dropped.
        """
        self._bound(self._metrics.deliveries, source, "accepted").inc()
        for event, label, records in events:
            counter = self._metrics.events if records else self._metrics.dropped
            self._bound(counter, source, label).inc()
            if event.drift:
                self._drifted(source, label, event)

    def rejected(self, source: str, outcome: str, status: int, *, detail: str, client: str | None) -> None:
        """A delivery ended in anything but success: one line each.

        Args:
            source: a configured source's name, or empty.
            outcome: the outcome's code.
            status: the HTTP status answered.
            detail: what, where, what would be right; never content.
            client: the peer's address.
        """
        self._metrics.deliveries.labels(source, outcome).inc()
        self._log.warning(
            "delivery_rejected", source=source or None, outcome=outcome, status=status, detail=detail, client=client
        )

    def failed(self, source: str, error: BaseException) -> None:
        """A fault of ours while handling a delivery; the traceback goes to the log, the client gets none of it."""
        self._log.error("delivery_failed", source=source, exc_info=error)

    def lifecycle(self, event: str, **details: Any) -> None:  # noqa: ANN401 -- whatever the log can show
        """The process changed its phase: `serving`, `stopping`, `stopped`."""
        self._log.info(event, **details)

    def _drifted(self, source: str, label: str, event: Event) -> None:
        for field in event.drift:
            seen = (source, label, field)
            if seen not in self._drift_seen:
                if len(self._drift_seen) >= _MAX_DRIFT_FIELDS:
                    self._metrics.drift.labels(source, label, "other").inc()
                    continue
                self._drift_seen.add(seen)
                self._log.info("unknown_field_seen", source=source, type=label, field=field)
            self._metrics.drift.labels(*seen).inc()
