"""Faults of the bridge itself: killed, ended, started in a row."""

import asyncio
import random

import pytest

from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import MakeStage

KILLS = 3
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
