"""Faults of the bridge itself: killed, ended, started in a row."""

import asyncio
import random
import time

import pytest

from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import MakeStage

KILLS = 3
GRACE_S = 10.0  # BRIDGE_SHUTDOWN_TIMEOUT_MS
READY_WITHIN_S = 5.0


@pytest.mark.parametrize("kind", ["nats", "kafka"])
async def test_row_16_the_bridge_is_killed_under_load(stage: MakeStage, kind: str) -> None:
    """At random moments: what was not answered is tried again, and what was is there."""
    row = stage(kind)
    await row.start_bridge()
    starts_s = []
    async with Chatlevel(row.bridge.url, rate=100) as provider:
        for _ in range(KILLS):
            await provider.more_acknowledged(100)
            await asyncio.sleep(random.uniform(0, 0.2))
            await row.kill_bridge()
            starts_s.append(await row.start_bridge())
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    assert not verdict.given_up
    assert min(starts_s) < READY_WITHIN_S  # the quickest, for what else the machine does is not ours


@pytest.mark.parametrize("kind", ["nats", "kafka"])
async def test_row_18_sigterm_under_load_while_the_broker_is_down(stage: MakeStage, kind: str) -> None:
    """Whoever waits for an answer gets it, and the process ends in its time."""
    row = stage(kind)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url, rate=100) as provider:
        await provider.more_acknowledged(100)
        row.broker.servers[0].pause()
        await asyncio.sleep(1)
        assert provider.under_way > 50
        began = time.monotonic()
        assert await row.end_bridge(provider) == 0
        took_s = time.monotonic() - began
        row.broker.servers[0].resume()
        await row.start_bridge()
        verdict = await row.judge(provider)
    before = [attempt for attempt in provider.attempts() if attempt.sent < began - 0.1 and attempt.ended > began]
    assert len(before) > 50
    assert all(attempt.answered for attempt in before)
    assert took_s < provider.at_most(GRACE_S)
    assert not verdict.given_up
