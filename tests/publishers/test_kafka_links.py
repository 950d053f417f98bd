"""Producers that hang, die or are wedged: the library's pitfalls K2 to K6 and K8 to K10, each by its number."""

import asyncio
import time
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from bridge.errors import BrokerUnavailable, RecordTooLarge
from bridge.publishers.kafka import KafkaPublisher, KafkaSettings, Topic
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator, stored_in_kafka
from tests.proxy import Proxy
from tests.publishers.conftest import reasons
from tests.publishers.contract import READY_S, publish_until_taken, ready, record, tasks, until
from tests.publishers.kafka_fixtures import StartKafka, behind_proxies, kafka, proxied, start_kafka, topic, values_in

__all__ = ["behind_proxies", "kafka", "proxied", "start_kafka", "topic"]

HEALS_WITHIN_S = 20.0


def producer_of(publisher: KafkaPublisher) -> object:
    """The library's producer that is in use now; None while there is no link."""
    link = publisher._outbox.link
    return None if link is None else link.producer


# ---- K2: a batch never expires, and `stop` waits for it


async def test_k2_a_frozen_broker_holds_nobody_up_and_is_used_again_when_it_wakes(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"before"))
    kafka.pause()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await publisher.publish(record(topic, b"in vain"))
        async with asyncio.timeout(8):
            while publisher.health().ready:
                with pytest.raises((TimeoutError, BrokerUnavailable)):
                    async with asyncio.timeout(0.5):
                        await publisher.publish(record(topic, b"in vain too"))
        with pytest.raises(BrokerUnavailable):
            async with asyncio.timeout(10):
                while True:
                    await publisher.publish(record(topic, b"refused, at the latest after the grace"))
        with pytest.raises(BrokerUnavailable):
            async with asyncio.timeout(0.1):
                await publisher.publish(record(topic, b"refused at once"))
    finally:
        kafka.resume()
    async with asyncio.timeout(HEALS_WITHIN_S):
        await publisher.wait_ready()
        await publisher.publish(record(topic, b"after"))
    found = await values_in(kafka, topic)
    assert found[0] == b"before"
    assert found[-1] == b"after"
    assert b"refused at once" not in found


async def test_k2_closing_with_a_frozen_broker_is_bounded_and_tells_the_callers(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    before = tasks()
    publisher = await start_kafka(kafka.bootstrap, topic)
    kafka.pause()
    try:
        waiting = [asyncio.ensure_future(publisher.publish(record(topic, b"%d" % number))) for number in range(10)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2):
            await publisher.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {BrokerUnavailable}
        assert tasks() <= before
    finally:
        kafka.resume()


async def test_k2_closing_waits_for_answers_that_are_on_their_way(
    proxied: tuple[KafkaServer, Proxy], start_kafka: StartKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.publishers.life._DRAIN_S", READY_S)  # a second is near to what a slow machine takes
    _server, proxy = proxied
    publisher = await start_kafka(f"127.0.0.1:{proxy.port}", topic)
    proxy.down.delay_s = 0.3
    waiting = [asyncio.ensure_future(publisher.publish(record(topic, b"%d" % number))) for number in range(10)]
    await asyncio.sleep(0.05)
    await publisher.close()
    assert await asyncio.gather(*waiting) == [None] * 10


async def test_k2_a_topic_that_stalls_is_refused_at_once_and_harms_no_other(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    """As where replicas are missing, and the library tries for ever."""
    other = f"{topic}.other"
    publisher = await start_kafka(kafka.bootstrap, topic, other)
    link, released = publisher._outbox.link, asyncio.Event()
    send = link.send

    async def hang(batch: BatchBuilder, name: str, partition: int) -> None:
        if name == topic:
            await released.wait()
        await send(batch, name, partition)

    link.send = hang
    first = asyncio.ensure_future(publisher.publish(record(topic, b"first")))
    assert "in time" in await reasons(publisher, topic, within_s=5)
    with pytest.raises(BrokerUnavailable, match="in time"):
        async with asyncio.timeout(0.1):
            await publisher.publish(record(topic, b"refused at once"))
    async with asyncio.timeout(3):
        await publisher.publish(record(other, b"1"))
    assert not first.done()
    assert publisher._outbox.link is link
    released.set()
    await first
    await publisher.publish(record(topic, b"after"))
    await ready(publisher)
    assert await values_in(kafka, topic) == [b"first", b"after"]


async def test_close_at_any_moment_of_connecting_leaves_nothing_behind(kafka: KafkaServer, topic: str) -> None:
    settings = KafkaSettings(servers=(kafka.bootstrap,), topics=(Topic(topic),), provision="create")

    async def connect_and_close(turns: int) -> None:
        publisher = KafkaPublisher(settings)
        await publisher.start()
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        await publisher.close()

    before = tasks()
    for few in range(0, 240, 24):
        await asyncio.gather(*(connect_and_close(turns) for turns in range(few, few + 24, 3)))
        assert tasks() <= before, few


# ---- K3: a batch that fails for good wedges its partition


async def test_k3_a_record_over_a_limit_lowered_meanwhile_fails_alone_and_its_partition_lives(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"before"))
    first = producer_of(publisher)
    async with KafkaOperator(kafka.operator) as operator:
        await operator.alter_topic(topic, {"max.message.bytes": "2000"})
    large = asyncio.ensure_future(publisher.publish(record(topic, b"x" * 3000)))
    small = [asyncio.ensure_future(publisher.publish(record(topic, b"%d" % number))) for number in range(20)]
    async with asyncio.timeout(5):
        with pytest.raises(RecordTooLarge):
            await large
        await asyncio.gather(*small)
    assert producer_of(publisher) is not first
    assert (await values_in(kafka, topic)) == [b"before", *(b"%d" % number for number in range(20))]


async def test_k3_a_batch_of_many_with_one_too_large_loses_only_that_one(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    """Together in one batch, so that the broker refuses all of them first."""
    publisher = await start_kafka(kafka.bootstrap, topic)
    async with KafkaOperator(kafka.operator) as operator:
        await operator.alter_topic(topic, {"max.message.bytes": "2000"})
    sizes = [100, 100, 3000, 100, 100]
    publishing = [
        asyncio.ensure_future(publisher.publish(record(topic, b"%d" % number * size)))
        for number, size in enumerate(sizes)
    ]
    async with asyncio.timeout(8):
        outcomes = await asyncio.gather(*publishing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), RecordTooLarge, type(None), type(None)]
    assert [value[:1] for value in await values_in(kafka, topic)] == [b"0", b"1", b"3", b"4"]


async def test_k3_other_topics_do_not_notice(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    other = f"{topic}.other"
    publisher = await start_kafka(kafka.bootstrap, topic, other)
    async with KafkaOperator(kafka.operator) as operator:
        await operator.alter_topic(topic, {"max.message.bytes": "2000"})
    with pytest.raises(RecordTooLarge):
        await publisher.publish(record(topic, b"x" * 3000))
    slowest = 0.0
    for number in range(200):
        began = time.monotonic()
        await publisher.publish(record(other, b"%d" % number))
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.5
    assert await values_in(kafka, other) == [b"%d" % number for number in range(200)]


# ---- K4: a timeout is ambiguous


async def test_k4_a_lost_response_is_at_most_one_copy_and_no_loss(
    proxied: tuple[KafkaServer, Proxy], start_kafka: StartKafka, topic: str
) -> None:
    server, proxy = proxied
    publisher = await start_kafka(f"127.0.0.1:{proxy.port}", topic)
    proxy.down.swallow()
    with pytest.raises((TimeoutError, BrokerUnavailable)):
        async with asyncio.timeout(2):
            await publisher.publish(record(topic, b"ambiguous"))
    proxy.down.edit = None
    proxy.reset()
    await publish_until_taken(publisher, record(topic, b"ambiguous"))
    await publish_until_taken(publisher, record(topic, b"next"))
    found = await values_in(server, topic)
    assert 1 <= found.count(b"ambiguous") <= 2
    assert found[-1] == b"next"


# ---- K5: the sender dies silently


@pytest.mark.parametrize("how", ["cancelled", "raised"])
async def test_k5_a_dead_sender_is_noticed_and_replaced(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, how: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    await publisher.publish(record(topic, b"before"))
    sender = producer_of(publisher)._sender
    if how == "cancelled":
        sender.sender_task.cancel()
    else:
        sender._send_produce_req = None  # the next send raises inside the task
    async with asyncio.timeout(4):  # by its death, not by what it does not answer
        await publish_until_taken(publisher, record(topic, b"after"))
    assert (await values_in(kafka, topic))[-1] == b"after"


async def test_k5_a_producer_that_is_stuck_while_all_else_is_well_is_replaced(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    stuck = producer_of(publisher)
    stuck._message_accumulator.drain_by_nodes = lambda **_: ({}, False)  # as if its partitions stayed muted
    with pytest.raises((TimeoutError, BrokerUnavailable)):
        async with asyncio.timeout(3):
            await publisher.publish(record(topic, b"stuck"))
    await until(lambda: producer_of(publisher) not in (None, stuck), within_s=10)
    await publish_until_taken(publisher, record(topic, b"after"))


# ---- K6: the library's start fails without a broker


async def test_k6_starting_before_the_broker(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    await asyncio.to_thread(kafka.kill)
    publisher = await start_kafka(kafka.bootstrap, topic, wait=False)
    await reasons(publisher, "nobody listens")
    await asyncio.to_thread(kafka.start)
    await ready(publisher)
    await publisher.publish(record(topic, b"1"))


# ---- K8: one batch at a time per partition


async def test_k8_a_far_broker_costs_a_round_trip_a_batch_and_not_a_record(
    proxied: tuple[KafkaServer, Proxy], start_kafka: StartKafka, topic: str
) -> None:
    server, proxy = proxied
    publisher = await start_kafka(f"127.0.0.1:{proxy.port}", topic)
    proxy.down.delay_s = 0.02
    began = time.monotonic()
    await asyncio.gather(*(publisher.publish(record(topic, b"%d" % number)) for number in range(1000)))
    assert time.monotonic() - began < 5  # record by record it would be 20 s
    assert await values_in(server, topic) == [b"%d" % number for number in range(1000)]


# ---- K9: the library does not know the topic's limit


async def test_k9_the_topics_own_limit_is_known_before_anything_is_sent(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(topic, config={"max.message.bytes": "5000"})
    publisher = await start_kafka(kafka.bootstrap, topic)
    first = producer_of(publisher)
    with pytest.raises(RecordTooLarge) as refused:
        await publisher.publish(record(topic, b"x" * 5000))
    assert refused.value.limit_bytes == 5000
    overhead = refused.value.size_bytes - 5000
    await publisher.publish(record(topic, b"x" * (5000 - overhead)))
    with pytest.raises(RecordTooLarge):
        await publisher.publish(record(topic, b"x" * (5001 - overhead)))
    assert producer_of(publisher) is first


async def test_k9_a_topic_that_is_created_takes_the_largest_record_expected(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, max_record_bytes=3_000_000)
    await publisher.publish(record(topic, b"x" * 2_900_000, dedup_id="large"))
    (found,) = await values_in(kafka, topic)
    assert len(found) == 2_900_000


# ---- order, compression, keys


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_each_compression_arrives_as_it_was(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, compression: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, compression=compression)
    values = [b"%d " % number + b"the same again " * 50 for number in range(100)]
    await asyncio.gather(*(publisher.publish(record(topic, value)) for value in values))
    assert await values_in(kafka, topic) == values


async def test_lingering_fills_batches_and_keeps_the_order(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(
        kafka.bootstrap, topic, linger_ms=500
    )  # far more than lies between two on a busy machine
    batches, send = [], publisher._outbox.link.send

    async def count(batch: BatchBuilder, *where: Any) -> None:
        batches.append(batch.record_count())
        await send(batch, *where)

    publisher._outbox.link.send = count
    publishing = []
    for number in range(20):
        publishing.append(asyncio.ensure_future(publisher.publish(record(topic, b"%d" % number))))
        await asyncio.sleep(0.001)
    await asyncio.gather(*publishing)
    assert await values_in(kafka, topic) == [b"%d" % number for number in range(20)]
    assert sum(batches) == 20
    assert batches[0] > 1, "the first one waits for company"


async def test_a_key_has_the_partition_that_every_other_client_gives_it(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, partitions=5)
    keys = ["480213", "a", "", "device-7", "gr\u00fc\u00dfe"]
    for key in keys:
        await publisher.publish(record(topic, b"1", key=key))
    found = await stored_in_kafka(kafka.operator, topic)
    expected = {key: DefaultPartitioner()(key.encode(), [0, 1, 2, 3, 4], []) for key in keys}
    assert {item.key.decode(): item.partition for item in found} == expected
