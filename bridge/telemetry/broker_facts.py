"""What happens between the bridge and its broker: one line per change of state, not per attempt.

No host, no login, no payload goes into a line. Counted for the whole process, as the log is: it has one broker.
"""

from collections import Counter
from collections.abc import Sequence

import structlog

__all__ = [
    "connected",
    "embedded_exited",
    "embedded_failed",
    "embedded_started",
    "lost",
    "not_ready",
    "partitions_changed",
    "ready",
    "replaced",
    "sent_again",
    "stream_created",
    "subjects_added",
    "supervision_failed",
    "topics_created",
    "totals",
    "unreachable",
    "weak",
]

_log = structlog.get_logger("bridge.broker")

totals: Counter[str] = Counter()
"""How often it happened, by name of the metric."""


def connected(**server: str | int | bool) -> None:
    """A link is up to a broker of which these small facts are known."""
    totals["bridge_broker_links_opened_total"] += 1
    _log.info("broker_connected", **server)


def lost(reason: str) -> None:
    """A link ended."""
    totals["bridge_broker_links_lost_total"] += 1
    _log.warning("broker_lost", reason=reason)


def unreachable(reason: str) -> None:
    """Attempts to connect fail, for another reason than before."""
    _log.warning("broker_unreachable", reason=reason)


def ready() -> None:
    """Records are taken."""
    _log.info("broker_ready")


def not_ready(reasons: Sequence[str]) -> None:
    """Records are not taken though there is a link; each reason with its remedy."""
    _log.warning("broker_not_ready", reasons=list(reasons))


def weak(warnings: Sequence[str]) -> None:
    """Settings of the broker that weaken what we promise."""
    _log.warning("broker_weak", warnings=list(warnings))


def stream_created(stream: str) -> None:
    """The stream was not there and now is."""
    _log.info("stream_created", stream=stream)


def subjects_added(stream: str, subjects: Sequence[str]) -> None:
    """The stream takes subjects that it did not take before."""
    _log.info("stream_subjects_added", stream=stream, subjects=list(subjects))


def supervision_failed(error: BaseException) -> None:
    """A fault of ours in keeping the link; it goes on all the same."""
    _log.error("broker_supervision_failed", exc_info=error)


def embedded_started(*, version: str, port: int) -> None:
    """Our own nats-server answers."""
    _log.info("embedded_started", version=version, port=port)


def embedded_exited(code: int | None, *, retry_in_s: float) -> None:
    """Our own nats-server ended by itself."""
    totals["bridge_embedded_exits_total"] += 1
    _log.error("embedded_exited", code=code, retry_in_s=round(retry_in_s, 2))


def embedded_failed(reason: str) -> None:
    """Our own nats-server could not be started again; it is tried once more."""
    _log.error("embedded_failed", reason=reason)


def topics_created(topics: Sequence[str]) -> None:
    """Topics were not there and now are."""
    _log.info("topics_created", topics=list(topics))


def partitions_changed(topic: str, *, before: int, now: int) -> None:
    """Keys of this topic have other partitions from now on: their order breaks at this moment (K12)."""
    _log.warning("topic_partitions_changed", topic=topic, before=before, now=now)


def replaced(reason: str) -> None:
    """A link that still worked, at least in part, was exchanged for a new one."""
    _log.warning("broker_link_replaced", reason=reason)


def sent_again(records: int) -> None:
    """Records whose first sending may have been stored go over another link: a copy of each is possible."""
    totals["bridge_broker_records_sent_again_total"] += records
    _log.warning("records_sent_again", records=records)
