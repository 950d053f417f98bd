"""What happens between the bridge and its broker: one line per change of state, not per attempt."""

import structlog

__all__ = ["connected", "embedded_exited", "embedded_started", "lost", "not_ready", "ready", "weak"]

_log = structlog.get_logger("bridge.broker")


def connected(**details: str | int | bool) -> None:
    """A link is up."""
    _log.info("broker_connected", **details)


def lost(reason: str) -> None:
    """No link; `reason` has no secret and no address."""
    _log.warning("broker_lost", reason=reason)


def ready() -> None:
    """Records are taken."""
    _log.info("broker_ready")


def not_ready(reasons: tuple[str, ...]) -> None:
    """Records are not taken, each reason with its remedy."""
    _log.warning("broker_not_ready", reasons=list(reasons))


def weak(warnings: tuple[str, ...]) -> None:
    """Settings that weaken what we promise."""
    _log.warning("broker_weak", warnings=list(warnings))


def embedded_started(version: str, address: str) -> None:
    """Our own nats-server listens."""
    _log.info("embedded_started", version=version, address=address)


def embedded_exited(code: int | None, retry_in_s: float) -> None:
    """Our own nats-server ended by itself."""
    _log.error("embedded_exited", code=code, retry_in_s=retry_in_s)
