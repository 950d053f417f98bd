"""A look at the configured broker, for `check --connect`: what it says of itself, within a bounded time."""

import asyncio
import contextlib

import msgspec

from bridge.broker import largest_body_bytes, largest_record_bytes, make_embedded, make_probe
from bridge.config import Config, make_tables
from bridge.errors import Problem
from bridge.providers import PROVIDERS
from bridge.publishers.base import BrokerHealth
from bridge.publishers.embedded import MAX_PAYLOAD_BYTES

__all__ = ["Finding", "probe"]

_POLL_S = 0.02
_NOT_RUNNING = "the embedded broker is not running: `serve` starts it, with all that it needs"
_PROBE_S = 1.0


class Finding(msgspec.Struct, frozen=True):
    """What was seen.

    Attributes:
        broker: as configured, without credentials.
        reached: it answered, and was looked at.
        ready: a bridge with this configuration could publish now, or after the plans.
        reasons: why not, each with its remedy.
        warnings: what weakens the promises.
        plans: what `serve` would make there.
        details: small facts.
    """

    broker: str
    reached: bool
    ready: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    details: dict[str, str | int | bool] = {}


async def probe(config: Config, *, timeout_s: float) -> tuple[Finding, list[Problem]]:
    """Look at the broker and change nothing; also the settings that do not fit it.

    A broker that cannot be reached is tried again until the time is over: it may be about to start.
    """
    broker = str(config.broker)
    if config.broker.kind == "embedded" and not await _embedded_answers(config):
        return Finding(broker, reached=False, ready=True, plans=(_NOT_RUNNING,)), _too_large(config, MAX_PAYLOAD_BYTES)
    health = await _look(config, timeout_s=timeout_s)
    reasons = (
        health.reasons if health.looked else tuple(f"{reason} ({timeout_s:g} s tried)" for reason in health.reasons)
    )
    finding = Finding(
        broker,
        reached=health.looked,
        ready=health.ready,
        reasons=reasons,
        warnings=health.warnings,
        plans=health.plans,
        details=health.details,
    )
    return finding, _too_large(config, int(health.details.get("max_record_bytes", 0)))


async def _look(config: Config, *, timeout_s: float) -> BrokerHealth:
    publisher = make_probe(config, make_tables(config, PROVIDERS))
    await publisher.start()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not publisher.health().looked:  # noqa: ASYNC110 -- what is looked at need not become ready
                    await asyncio.sleep(_POLL_S)
        return publisher.health()
    finally:
        await publisher.close()


async def _embedded_answers(config: Config) -> bool:
    embedded = make_embedded(config)
    assert embedded is not None  # noqa: S101 -- that is the kind
    host, _, port = embedded.url.removeprefix("nats://").rpartition(":")
    try:
        async with asyncio.timeout(_PROBE_S):
            _reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _too_large(config: Config, limit: int) -> list[Problem]:
    return [
        Problem(
            source.variable("max_body_bytes"),
            f"is {source.max_body_bytes}: its largest record can have {needed} bytes, and the broker takes {limit}",
            f"at most {largest_body_bytes(limit)}, or a larger limit of the broker",
        )
        for source in config.sources
        if limit and (needed := largest_record_bytes(source)) > limit
    ]
