"""What becomes of the records in the spool: the log line and the counter together."""

import structlog

from bridge.telemetry.metrics import Metrics

__all__ = ["DrainFacts"]


class DrainFacts:
    """One line when a topic begins to fail and when it takes records again; in between only numbers move."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger("bridge.spool")

    def drained(self, topic: str) -> None:
        """The broker has acknowledged a record from the spool."""
        self._metrics.count("bridge_records_drained_total", topic).inc()
        self._metrics.count("bridge_records_published_total", topic).inc()

    def acknowledged_late(self) -> None:
        """The publish that was late was acknowledged: the record in the spool need not be published."""
        self._metrics.count("bridge_records_acknowledged_late_total").inc()

    def ambiguous(self, source: str) -> None:
        """A publish from the spool ended without an answer: it is tried again, and may leave a copy."""
        self._metrics.count("bridge_records_ambiguous_total", source).inc()

    def failed(self, topic: str, reason: str) -> None:
        """Records of this topic cannot be drained, from now on."""
        self._log.warning("drain_waits", topic=topic, reason=reason)

    def refused(self, topic: str, reason: str) -> None:
        """A record will never be taken, and there are no dead letters: it stays in the spool."""
        remedy = "set BRIDGE_DEAD_LETTER_TOPIC and start again: it then becomes a dead letter"
        self._log.error("drain_refused", topic=topic, reason=reason, remedy=remedy)

    def recovered(self, topic: str) -> None:
        """They can again."""
        self._log.info("drain_goes_on", topic=topic)

    def fault(self, error: BaseException) -> None:
        """A fault of ours; it is tried again."""
        self._log.error("drain_failed", exc_info=error)
