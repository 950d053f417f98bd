"""One function per fact: the log line and the counter leave together, so they cannot disagree.

No payload, no token, no path goes into a line: a path may hold a token under a misspelt source. Nothing that a sender
chooses becomes a label without a cap.
"""

import re
from collections.abc import Iterable
from time import monotonic
from typing import Any

import structlog

from bridge.events.model import Event
from bridge.telemetry.instruments import Count
from bridge.telemetry.metrics import Metrics

__all__ = ["Facts", "SourceFacts"]

OTHER = "other"
_MAX_DRIFT_FIELDS = 200  # distinct (source, type, field) kept; a hostile sender must not grow the registry
# The names of fields are the sender's: a phone number or a token used as a key must get neither into a label nor into
# a line.
_field_like = re.compile(r"(?=.{1,64}\Z)[A-Za-z_]{1,24}[0-9]{0,2}(\.[A-Za-z_]{1,24}[0-9]{0,2})*\Z").match


class Facts:
    """What happened, told to the log and the counters."""

    def __init__(self, metrics: Metrics) -> None:
        self._log = structlog.get_logger("bridge")
        self._metrics = metrics
        self._drift_seen: set[tuple[str, str, str]] = set()

    def source(
        self,
        name: str,
        *,
        types: Iterable[str],
        topics: Iterable[str],
        outcomes: Iterable[str],
        reasons: Iterable[str] = (),
    ) -> "SourceFacts":
        """The facts of one configured source, everything bound and counting from 0.

        Args:
            name: the source's name.
            types: of its events, as declared.
            topics: where its records may go.
            outcomes: codes of what can become of a delivery.
            reasons: why one can become a dead letter.
        """
        for reason in reasons:
            self._metrics.count("bridge_dead_letters_total", name, reason)
        return SourceFacts(self, self._metrics, name, types=types, topics=topics, outcomes=outcomes)

    def rejected(self, source: str, outcome: str, status: int, *, detail: str, client: str | None) -> None:
        """A delivery ended in anything but success: one line each.

        Args:
            source: a configured source's name, or empty.
            outcome: the outcome's code.
            status: the HTTP status answered.
            detail: what, where, what would be right; never content.
            client: the peer's address.
        """
        self._metrics.count("bridge_deliveries_total", source, outcome).inc()
        self._log.warning(
            "delivery_rejected", source=source or None, outcome=outcome, status=status, detail=detail, client=client
        )

    def greeted(self, source: str, method: str, status: int, *, client: str | None) -> None:
        """A provider's question was answered, and nothing published.

        Args:
            source: the source's name.
            method: one that the provider's code answers.
            status: the HTTP status answered.
            client: the peer's address.
        """
        self._metrics.count("bridge_deliveries_total", source, "handshake").inc()
        self._log.info("handshake_answered", source=source, method=method, status=status, client=client)

    def failed(self, source: str, error: BaseException) -> None:
        """A fault of ours while handling a delivery; the traceback goes to the log, the client gets none of it."""
        self._log.error("delivery_failed", source=source, exc_info=error)

    def lifecycle(self, event: str, **details: Any) -> None:  # noqa: ANN401 -- whatever the log can show
        """The process changed its phase: `serving`, `stopping`, `stopped`."""
        self._log.info(event, **details)

    def advised(self, variable: str, found: str, better: str) -> None:
        """A setting is allowed and will hurt, as `check` says, too."""
        self._log.warning("setting_will_hurt", variable=variable, found=found, better=better)

    def file_taken_up(self, variable: str) -> None:
        """A secret's or certificate's file has changed, and what it says is in use."""
        self._metrics.count("bridge_files_reread_total", variable, "taken_up").inc()
        self._log.info("file_taken_up", variable=variable)

    def file_refused(self, variable: str, reason: str) -> None:
        """What a changed file says cannot be used; what it said before stays in use."""
        self._metrics.count("bridge_files_reread_total", variable, "refused").inc()
        self._log.error("file_refused", variable=variable, reason=reason, in_use="what it said before")

    def forgotten(self, source: str, count: int) -> None:
        """See `SourceFacts.forgotten`."""
        self._log.warning(
            "dedup_ids_forgotten", source=source, count=count, remedy="raise BRIDGE_DEDUP_MAX_IDS, and memory with it"
        )

    def dead_lettered(self, source: str, letter_id: str, reason: str, detail: str) -> None:
        """A dead letter is durable: one line each, without content."""
        self._metrics.count("bridge_dead_letters_total", source, reason).inc()
        self._log.warning("dead_lettered", source=source, id=letter_id, reason=reason, detail=detail)

    def ids_not_kept(self, reason: str) -> None:
        """What the deduplication remembers does not get to the disk; a line when it begins."""
        self._log.warning(
            "dedup_ids_not_kept",
            reason=reason,
            remedy="look after BRIDGE_DATA_DIR; retries after a restart become duplicates meanwhile",
        )

    def drifted(self, source: str, event_type: str, fields: Iterable[str]) -> None:
        """An event has fields that the schema does not know: a line for each when it is first seen."""
        for field in fields:
            label = field if _field_like(field) else OTHER
            seen = (source, event_type, label)
            if seen not in self._drift_seen:
                if len(self._drift_seen) >= _MAX_DRIFT_FIELDS:
                    label = OTHER
                else:
                    self._drift_seen.add(seen)
                    self._log.info("unknown_field_seen", source=source, type=event_type, field=label)
            self._metrics.count("bridge_drift_fields_total", source, event_type, label).inc()


class SourceFacts:
    """What becomes of one source's deliveries; on success nothing but numbers move."""

    def __init__(
        self,
        facts: Facts,
        metrics: Metrics,
        name: str,
        *,
        types: Iterable[str],
        topics: Iterable[str],
        outcomes: Iterable[str],
    ) -> None:
        self._facts = facts
        self._metrics = metrics
        self._name = name
        self._refused_at: float | None = None
        for outcome in outcomes:
            metrics.count("bridge_deliveries_total", name, outcome)
        self._accepted = metrics.count("bridge_deliveries_total", name, "accepted")
        self._dead_lettered = metrics.count("bridge_deliveries_total", name, "dead_lettered")
        self._duplicate = metrics.count("bridge_records_duplicate_total", name)
        self._ambiguous = metrics.count("bridge_records_ambiguous_total", name)
        self._forgotten = metrics.count("bridge_dedup_ids_forgotten_total", name)
        self._published = {label: metrics.count("bridge_events_published_total", name, label) for label in types}
        topics = tuple(topics)
        self._records = {topic: metrics.count("bridge_records_published_total", topic) for topic in topics}
        self._other_topic = metrics.count("bridge_records_published_total", OTHER)
        self._spooled = {topic: metrics.count("bridge_records_spooled_total", topic) for topic in topics}
        self._other_spooled = metrics.count("bridge_records_spooled_total", OTHER)
        self._duration = metrics.histogram("bridge_delivery_seconds", name)
        self._verify = metrics.histogram("bridge_verify_seconds", name)
        self._decode = metrics.histogram("bridge_decode_seconds", name)
        self._ack = metrics.histogram("bridge_ack_seconds", name)
        self._body = metrics.histogram("bridge_body_bytes", name)

    def delivered(
        self,
        *,
        body_bytes: int,
        verify_s: float,
        decode_s: float,
        ack_s: float,
        took_s: float,
        dead_lettered: bool = False,
    ) -> None:
        """A delivery is answered with success. No line: success is silent.

        Args:
            body_bytes: its size.
            verify_s: to prove the sender.
            decode_s: from the body to records.
            ack_s: from handing them over to the last acknowledgement.
            took_s: from the end of the headers until now.
            dead_lettered: some of it, or all, as a dead letter.
        """
        self._refused_at = None
        (self._dead_lettered if dead_lettered else self._accepted).inc()
        self._body.observe(body_bytes)
        self._verify.observe(verify_s)
        self._decode.observe(decode_s)
        self._ack.observe(ack_s)
        self._duration.observe(took_s)

    def stored(self, topic: str) -> None:
        """A record was acknowledged."""
        self._records.get(topic, self._other_topic).inc()

    def spooled(self, topic: str) -> None:
        """A record is in the spool."""
        self._spooled.get(topic, self._other_spooled).inc()

    def duplicate(self) -> None:
        """A record was durable before. No line: retries are nothing to look into."""
        self._duplicate.inc()

    def ambiguous(self) -> None:
        """A publish ended without an answer; the line is that of its delivery's outcome."""
        self._ambiguous.inc()

    def forgotten(self, count: int) -> None:
        """Too many ids are to be remembered, so the oldest were forgotten."""
        self._forgotten.inc(count)
        self._facts.forgotten(self._name, count)

    def published(self, event: Event, label: str) -> None:
        """An event is durable, on all its topics or in the spool, and was not before.

        Args:
            event: the event.
            label: its type as a label, of which there are few.
        """
        (self._published.get(label) or self._published_as(label)).inc()
        if event.drift:
            self._facts.drifted(self._name, label, event.drift)

    def kept(self, letter_id: str, reason: str | None, detail: str) -> None:
        """A delivery is durable as it came, and was not before: as a dead letter, or, without reason, as a copy."""
        if reason is not None:
            self._facts.dead_lettered(self._name, letter_id, reason, detail)

    def dropped(self, event: Event, label: str) -> None:
        """An event was accepted and goes nowhere, on purpose; see `published`."""
        self._metrics.count("bridge_events_dropped_total", self._name, label).inc()
        if event.drift:
            self._facts.drifted(self._name, label, event.drift)

    def rejected(
        self, outcome: str, status: int, *, detail: str, client: str | None, took_s: float | None = None
    ) -> None:
        """See `Facts.rejected`; `took_s` where the delivery was let in, from the end of the headers until now."""
        if status == 503 and self._refused_at is None:  # noqa: PLR2004 -- the one that a provider tries again
            self._refused_at = monotonic()
        if took_s is not None:
            self._duration.observe(took_s)
        self._facts.rejected(self._name, outcome, status, detail=detail, client=client)

    def greeted(self, method: str, status: int, *, client: str | None) -> None:
        """See `Facts.greeted`."""
        self._facts.greeted(self._name, method, status, client=client)

    def refusing_s(self) -> float | None:
        """Since the first delivery that was told to try again; None: one was accepted since."""
        return None if self._refused_at is None else monotonic() - self._refused_at

    def failed(self, error: BaseException) -> None:
        """See `Facts.failed`."""
        self._facts.failed(self._name, error)

    def _published_as(self, label: str) -> Count:
        """Of a type that nobody declared: open providers make them up, and routing caps their labels."""
        count = self._published[label] = self._metrics.count("bridge_events_published_total", self._name, label)
        return count
