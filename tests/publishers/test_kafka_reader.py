"""Reading topics for `tail`: from where one asks, in order, and on after an outage."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import Received, Since
from bridge.publishers.kafka import KafkaSettings
from bridge.publishers.kafka.reader import follow
from tests.brokers import free_ports
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator
from tests.proxy import Proxy
from tests.publishers.contract import publish_until_taken, record, tasks
from tests.publishers.kafka_fixtures import Held, StartKafka, kafka, open_connections, start_kafka, topic

__all__ = ["kafka", "start_kafka", "topic"]


def reading(server: KafkaServer, *topics: str, since: Since) -> AsyncGenerator[Received, None]:
    return follow(KafkaSettings(servers=(server.bootstrap,)), topics, since=since)


async def take(records: AsyncGenerator[Received, None], count: int) -> list[Received]:
    found = []
    async with asyncio.timeout(20):
        async for item in records:
            found.append(item)
            if len(found) == count:
                break
    await records.aclose()
    return found


async def test_all_begins_with_the_oldest_and_has_key_and_headers(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, partitions=3)
    for number in range(10):
        await publisher.publish(record(topic, b"%d" % number, key="device-7"))
    found = await take(reading(kafka, topic, since="all"), 10)
    assert [item.value for item in found] == [b"%d" % number for number in range(10)]
    assert {item.key for item in found} == {"device-7"}
    assert found[0].headers["ce-type"] == "messaging.message.received.v1"
    assert abs(found[0].time - datetime.now(UTC)) < timedelta(minutes=1)


async def test_new_begins_with_what_is_stored_from_now_on(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"before"))
    records = reading(kafka, topic, since="new")
    first = asyncio.ensure_future(anext(records))
    while not first.done():
        await publisher.publish(record(topic, b"after"))
        await asyncio.sleep(0.05)
    assert (await first).value == b"after"
    await records.aclose()


async def test_a_time_begins_with_what_was_stored_since(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"before"))
    await asyncio.sleep(0.05)  # the topic's clock has milliseconds
    since = datetime.now(UTC)
    await publisher.publish(record(topic, b"after"))
    (found,) = await take(reading(kafka, topic, since=since), 1)
    assert found.value == b"after"


async def test_a_topic_that_is_made_later_is_followed_from_its_beginning(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"1"))
    records = reading(kafka, topic, f"{topic}.later", since="all")
    assert (await anext(records)).value == b"1"
    later = asyncio.ensure_future(anext(records))
    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(f"{topic}.later")
    await publish_until_taken(publisher, record(f"{topic}.later", b"2"))
    async with asyncio.timeout(15):
        assert (await later).value == b"2"
    await records.aclose()


async def test_it_goes_on_where_it_was_after_an_outage(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"before"))
    records = reading(kafka, topic, since="all")
    assert (await anext(records)).value == b"before"
    following = asyncio.ensure_future(anext(records))
    await asyncio.to_thread(kafka.kill)
    await asyncio.to_thread(kafka.start)
    await publish_until_taken(publisher, record(topic, b"after"))
    async with asyncio.timeout(30):
        assert (await following).value == b"after"
    await records.aclose()


async def test_ending_where_a_fetch_has_just_failed_leaves_nothing_behind(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    """The library's `stop` then ends half-way, and a client that nobody has goes on, once a second of an outage."""
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"1"))
    await publisher.close()
    before = tasks()
    records = reading(kafka, topic, since="all")
    assert (await anext(records)).value == b"1"
    following = asyncio.ensure_future(anext(records))
    await asyncio.sleep(0.05)  # the next fetch is on its way
    for connection in open_connections():
        connection._writer.transport.abort()
    await asyncio.sleep(0.03)  # and has failed; the library rests for 0.1 s
    following.cancel()
    await asyncio.wait([following])
    assert tasks() <= before
    assert not open_connections()


@pytest.mark.parametrize("at", [1, 2], ids=["versions", "metadata"])
async def test_ending_while_the_broker_does_not_answer_leaves_nothing_behind(
    kafka: KafkaServer, topic: str, at: int
) -> None:
    before = tasks()
    async with Proxy(kafka.port) as proxy:
        held = Held(proxy, at)
        settings = KafkaSettings(servers=(f"127.0.0.1:{proxy.port}",))
        following = asyncio.ensure_future(anext(follow(settings, [topic], since="all")))
        await held.asked.wait()
        following.cancel()
        await asyncio.wait([following])
        assert not open_connections()
    assert tasks() <= before


async def test_nobody_there_and_no_topic_are_told_at_once(kafka: KafkaServer, topic: str) -> None:
    with pytest.raises(BrokerUnavailable, match="none of the topics"):
        await anext(reading(kafka, topic, since="all"))
    (port,) = free_ports(1)
    with pytest.raises(BrokerUnavailable, match="nobody listens"):
        await anext(follow(KafkaSettings(servers=(f"127.0.0.1:{port}",)), [topic], since="all"))
