"""Following a stream, as `tail` does."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import Received, Since
from bridge.publishers.nats import NatsSettings, follow
from tests.brokers import NatsServer, stream_api
from tests.publishers.conftest import Start
from tests.publishers.contract import READY_S, publish_until_taken, record


async def take(server: NatsServer, count: int, *patterns: str, since: Since = "all") -> list[Received]:
    settings = NatsSettings(servers=(server.url,), subjects=("test.>",))
    found = []
    async with asyncio.timeout(20):
        async for received in follow(settings, patterns, since=since):
            found.append(received)
            if len(found) == count:
                break
    return found


async def test_all_records_come_in_order_with_headers_and_times(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url)
    before = datetime.now(UTC)
    for number in range(600):
        await publisher.publish(record("test.a", b"%d" % number))
    found = await take(server, 600)
    assert [item.value for item in found] == [b"%d" % number for number in range(600)]
    assert [item.seq for item in found] == list(range(1, 601))
    assert found[0].headers["ce-id"] == "a-1"
    assert before <= found[0].time <= found[-1].time <= datetime.now(UTC)


async def test_patterns_choose_topics(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url)
    for topic in ("test.a.1", "test.b.1", "test.b.2", "test.c"):
        await publisher.publish(record(topic, b""))
    found = await take(server, 3, "test.*.1", "test.c")
    assert [item.topic for item in found] == ["test.a.1", "test.b.1", "test.c"]


async def test_since_a_time(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url)
    await publisher.publish(record("test.a", b"old"))
    await asyncio.sleep(0.01)
    middle = datetime.now(UTC)
    await publisher.publish(record("test.a", b"new"))
    assert [item.value for item in await take(server, 1, since=middle)] == [b"new"]


async def asked_for_records(server: NatsServer) -> None:
    """Wait until the stream's one consumer does, and thus knows what is new."""
    async with asyncio.timeout(READY_S):
        while not [one for one in await consumers(server) if one["num_waiting"]]:
            await asyncio.sleep(0.02)


async def consumers(server: NatsServer) -> list[dict[str, Any]]:
    return (await stream_api(server.url, "CONSUMER.LIST.EVENTS"))["consumers"] or []


@pytest.mark.parametrize("before_first", [True, False])
async def test_it_goes_on_after_an_outage_without_gap_or_copy(
    server: NatsServer, start: Start, before_first: bool
) -> None:
    publisher = await start(server.url)
    await publisher.publish(record("test.a", b"old"))
    settings = NatsSettings(servers=(server.url,), subjects=("test.>",))
    records = follow(settings, (), since="new")
    first = asyncio.ensure_future(anext(records))
    await asked_for_records(server)
    if not before_first:
        await publisher.publish(record("test.a", b"0"))
        assert (await first).value == b"0"
        first = asyncio.ensure_future(anext(records))
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    for number in range(1, 4):
        await publish_until_taken(publisher, record("test.a", b"%d" % number))
    async with asyncio.timeout(20):
        found = [(await first).value, *[(await anext(records)).value for _ in range(2)]]
    assert found == [b"1", b"2", b"3"]
    await records.aclose()


async def test_a_broker_or_stream_that_is_not_there_is_said_at_the_beginning(server: NatsServer) -> None:
    with pytest.raises(BrokerUnavailable, match="stream not found"):
        await take(server, 1)
    await asyncio.to_thread(server.stop)
    with pytest.raises(BrokerUnavailable, match="nobody listens"):
        await take(server, 1)
