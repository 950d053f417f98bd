"""What happens to the spool: a line for what somebody should look into. What it holds is read by /metrics."""

import structlog

__all__ = ["accepting", "damaged", "failed", "opened", "refusing", "warned"]

_log = structlog.get_logger("bridge.spool")


def opened(*, rows: int, lanes: int, took_s: float) -> None:
    """The spool was looked at and is in use; `rows` wait in it for the broker."""
    _log.info("spool_opened", rows=rows, lanes=lanes, took_s=round(took_s, 3))


def damaged(reason: str, *, salvaged: int, lost: int, kept_at: str | None) -> None:
    """What was found at the start is not what was written; counted by the spool itself, over restarts."""
    _log.error(
        "spool_damaged",
        reason=reason,
        salvaged=salvaged,
        lost=lost,
        kept_at=kept_at,
        remedy="look after the disk; events counted as lost may have been published before",
    )


def failed(reason: str) -> None:
    """A write, an fsync or a read failed: the process ends, and the next start looks at what is there."""
    _log.error("spool_failed", reason=reason, remedy="look after the disk; the next start tells what is there")


def refusing(reason: str) -> None:
    """Nothing is taken any more: where the broker does not take events either, the answer is 503."""
    _log.error("spool_refusing", reason=reason)


def warned(reason: str) -> None:
    """It will be full soon."""
    _log.warning("spool_filling", reason=reason)


def accepting() -> None:
    """Events are taken again."""
    _log.info("spool_accepting")
