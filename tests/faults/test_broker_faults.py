"""Faults of the broker and of the way to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.brokers import NatsServer
from tests.faults.brokers import Broker, KafkaBroker, NatsBroker
from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import EVERY, MakeStage
from tests.kafka import KafkaServer
from tests.proxy import Proxy
from tests.publishers.contract import until

DEADLINE_S = 3.0
ANSWERS_WITHIN_S = DEADLINE_S + 0.5
MakeProxied = Callable[[str], Awaitable[tuple[Broker, Proxy]]]


@EVERY
async def test_row_1_the_broker_is_killed_and_comes_back(stage: MakeStage, kind: str, spool: bool) -> None:
    row = stage(kind, spool=spool)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        await row.kill_brokers()
        await provider.more_answered(50)
        await asyncio.sleep(1)
        await row.start_brokers()
        await row.healed()
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    row.assert_taken(verdict, provider)
    assert verdict.slowest_s < provider.at_most(ANSWERS_WITHIN_S)


@EVERY
async def test_row_2_the_broker_freezes(stage: MakeStage, kind: str, spool: bool) -> None:
    """It does not answer, and its connections stay up."""
    row = stage(kind, spool=spool)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        row.broker.servers[0].pause()
        await row.not_ready()
        await provider.more_answered(50)
        await asyncio.sleep(12)
        row.broker.servers[0].resume()
        await row.healed()
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    row.assert_taken(verdict, provider)
    assert verdict.slowest_s < provider.at_most(ANSWERS_WITHIN_S)


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[MakeProxied]:
    """A started broker of a kind that is reached through a proxy alone."""
    async with AsyncExitStack() as ended:

        async def make(kind: str) -> tuple[Broker, Proxy]:
            server: NatsServer | KafkaServer
            server = NatsServer(tmp_path / "nats") if kind == "nats" else KafkaServer(tmp_path / "kafka")
            proxy = await ended.enter_async_context(Proxy(server.port))
            ended.callback(server.__exit__)
            if isinstance(server, NatsServer):
                await asyncio.to_thread(server.start)
                return NatsBroker(server, port=proxy.port), proxy
            server.advertised_port = proxy.port
            await asyncio.to_thread(server.start)
            return KafkaBroker(server, port=proxy.port), proxy

        yield make


CUTS = ((0, 0.2), (10, 0.2), (100, 0.2), (0, DEADLINE_S + 1))
"""After so many bytes, and how many seconds before the connection ends."""


@EVERY
async def test_row_7_answers_of_the_broker_are_lost(
    stage: MakeStage, kind: str, spool: bool, proxied: MakeProxied
) -> None:
    """It stores the records; after some bytes of what it says nothing more comes back, and the connection is cut."""
    broker, proxy = await proxied(kind)
    row = stage(kind, broker, spool=spool)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        for some, pause_s in CUTS:
            await provider.more_acknowledged(50)
            said = proxy.down.seen_bytes
            proxy.down.edit = only(some)
            await until(lambda: proxy.down.seen_bytes > said + some, within_s=10)  # noqa: B023 -- awaited within the turn
            await asyncio.sleep(pause_s)
            proxy.down.edit = None
            proxy.reset()
            await row.healed()
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    row.assert_taken(verdict, provider)
    assert verdict.most_copies <= (0 if broker.drops_copies else 1)
    assert verdict.slowest_s < provider.at_most(ANSWERS_WITHIN_S)


def only(some: int) -> Callable[[bytes], bytes]:
    """Lets so many bytes pass."""
    left = some

    def edit(chunk: bytes) -> bytes:
        nonlocal left
        passed = chunk[:left]
        left -= len(passed)
        return passed

    return edit


# ---- three nodes


@EVERY
async def test_row_3_the_leader_is_killed(stage: MakeStage, kind: str, spool: bool) -> None:
    row = stage(kind, nodes=3, spool=spool)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        await row.kill_brokers(await row.broker.leader())
        await provider.more_acknowledged(200)
        await row.start_brokers()
        await row.healed()
        verdict = await row.judge(provider)
    row.assert_taken(verdict, provider)


@EVERY
async def test_row_4_two_of_three_nodes_are_killed(stage: MakeStage, kind: str, spool: bool) -> None:
    """The one that is left acknowledges nothing, so nothing is answered with success."""
    row = stage(kind, nodes=3, spool=spool)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        leader = await row.broker.leader()
        others = [server for server in row.broker.servers if server is not leader]
        await row.kill_brokers(leader, others[0])
        killed = time.monotonic()
        await provider.more_answered(200)
        starting = time.monotonic()
        await row.start_brokers()
        await row.healed()
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    meanwhile = [
        one for one in provider.history if killed + provider.at_most(0.5) < (one.acknowledged_at or 0) < starting
    ]
    assert spool or not meanwhile
    row.assert_taken(verdict, provider)
