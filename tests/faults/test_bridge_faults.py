"""Faults of the bridge itself: killed, ended, started in a row."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable

from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import BOTH, EVERY, MakeStage
from tests.processes import BridgeProcess

KILLS = 2
STORM = 5
GRACE_S = 10.0  # BRIDGE_SHUTDOWN_TIMEOUT_MS
READY_WITHIN_S = 5.0
DRAINS_WITHIN_S = 10.0


def seconds_to_import() -> float:
    """What Python takes for the bridge's modules alone, on this machine as busy as it is now."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import bridge.app"], check=True)
    return time.monotonic() - began


@BOTH
async def test_row_16_the_bridge_is_killed_under_load(stage: MakeStage, kind: str) -> None:
    """At random moments: what was not answered is tried again, and what was is there."""
    row = stage(kind)
    await row.start_bridge()
    starts_s = []
    async with Chatlevel(row.bridge.url) as provider:
        for _ in range(KILLS):
            await provider.more_acknowledged(50)
            await asyncio.sleep(random.uniform(0, 0.2))
            await row.kill_bridge()
            starts_s.append(await row.start_bridge())
        await provider.more_acknowledged(50)
        usual_s = await asyncio.to_thread(seconds_to_import)
        verdict = await row.judge(provider)
    assert not verdict.given_up
    assert min(starts_s) < max(READY_WITHIN_S, 4 * usual_s)  # on a busy machine everything takes its time


@BOTH
async def test_row_16_the_bridge_is_killed_while_it_spools_and_while_it_drains(stage: MakeStage, kind: str) -> None:
    """What was answered out of the spool is drained after a restart, what was drained and not deleted again."""
    row = stage(kind, spool=True)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        await row.kill_brokers()
        for _ in range(KILLS):
            await provider.more_acknowledged(50)
            await asyncio.sleep(random.uniform(0, 0.2))
            await row.kill_bridge()
            await row.start_bridge()
        await row.start_brokers()
        spooled = await row.counted("spool_rows")
        while await row.counted("spool_rows") > spooled / 2:
            await asyncio.sleep(0.02)
        await row.kill_bridge_while_it_drains()
        await row.start_bridge()
        await row.healed()
        await row.drained()
        verdict = await row.judge(provider)
    assert not verdict.given_up
    assert row.figures.drained_s < provider.at_most(DRAINS_WITHIN_S)


@EVERY
async def test_row_18_sigterm_under_load_while_the_broker_is_down(stage: MakeStage, kind: str, spool: bool) -> None:
    """Whoever waits for an answer gets it, and the process ends in its time."""
    row = stage(kind, spool=spool)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        row.broker.servers[0].pause()
        await provider.more_sent(60)
        assert spool or provider.under_way > 20
        began = time.monotonic()
        assert await row.end_bridge(provider) == 0
        took_s = time.monotonic() - began
        row.broker.servers[0].resume()
        await row.start_bridge()
        verdict = await row.judge(provider)
    before = [attempt for attempt in provider.attempts() if attempt.sent < began - 0.3 and attempt.ended > began]
    assert spool or len(before) > 20
    assert all(attempt.answered for attempt in before)
    assert took_s < provider.at_most(GRACE_S)
    assert not verdict.given_up


async def test_row_17_the_bridge_is_killed_again_and_again(stage: MakeStage) -> None:
    """As soon as it listens, with the broker there and not there."""
    row = stage("nats", spool=True)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        for number in range(STORM):
            await (row.start_brokers() if number % 2 else row.kill_brokers())
            await asyncio.sleep(random.uniform(0, 0.5))
            await row.kill_bridge()
            await asyncio.to_thread(row.bridge.start, ready=False)
        await row.start_brokers()
        await row.healed()
        await row.drained()
        assert await row.counted("spool_quarantined") == 0
        await row.judge(provider)


async def test_row_25_a_second_bridge_does_not_get_the_spool(
    stage: MakeStage, bridge: Callable[..., BridgeProcess]
) -> None:
    row = stage("nats", spool=True)
    await row.start_bridge()
    second = bridge(**row.broker.settings, BRIDGE_SPOOL="on")
    refused = await asyncio.to_thread(second.cli, "serve")
    assert refused.returncode == 2
    assert "BRIDGE_DATA_DIR" in refused.stderr
    async with Chatlevel(row.bridge.url) as provider:
        await row.kill_brokers()
        await provider.more_acknowledged(50)
        await row.start_brokers()
        await row.healed()
        await row.judge(provider)
