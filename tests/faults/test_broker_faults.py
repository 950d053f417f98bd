"""Faults of the broker and of the way to it."""

import asyncio

import pytest

from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import MakeStage

DEADLINE_S = 3.0
ANSWERS_WITHIN_S = DEADLINE_S + 0.5
BOTH = pytest.mark.parametrize("kind", ["nats", "kafka"])


@BOTH
async def test_row_1_the_broker_is_killed_and_comes_back(stage: MakeStage, kind: str) -> None:
    row = stage(kind)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url, rate=100) as provider:
        await provider.more_acknowledged(100)
        await row.kill_broker()
        await provider.more_refused(20)
        await asyncio.sleep(1)
        await row.start_broker()
        await row.healed()
        await provider.more_acknowledged(100)
        verdict = await row.judge(provider)
    assert not verdict.given_up
    assert verdict.slowest_s < ANSWERS_WITHIN_S


@BOTH
async def test_row_2_the_broker_freezes(stage: MakeStage, kind: str) -> None:
    """It does not answer, and its connections stay up."""
    row = stage(kind)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url, rate=50) as provider:
        await provider.more_acknowledged(50)
        row.broker.server.pause()
        await row.not_ready()
        await provider.more_refused(50)
        await asyncio.sleep(12)
        row.broker.server.resume()
        await row.healed()
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    assert not verdict.given_up
    assert verdict.slowest_s < ANSWERS_WITHIN_S
