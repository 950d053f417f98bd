"""Batches that fail for good, and the change of producers that follows: what becomes of records, and at what pace."""

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import errors
from aiokafka.producer.message_accumulator import BatchBuilder

from bridge.errors import BrokerUnavailable, RecordRefused
from bridge.publishers.kafka import KafkaPublisher
from bridge.publishers.kafka.dialer import Dialer
from bridge.publishers.kafka.link import Link
from bridge.publishers.supervision import Backoff
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator
from tests.proxy import Proxy
from tests.publishers.conftest import reasons
from tests.publishers.contract import publish_until_taken, ready, record, tasks, until
from tests.publishers.kafka_fixtures import (
    Held,
    StartKafka,
    behind_proxies,
    kafka,
    open_connections,
    proxied,
    start_kafka,
    topic,
    values_in,
)

__all__ = ["behind_proxies", "kafka", "proxied", "start_kafka", "topic"]

POISON = b"poison"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """`failing(topic, error, when)`: the brokers fail batches of this topic for good, as the library would tell it."""

    def arrange(topic: str, error: type[Exception], when: Callable[[list[bytes]], bool]) -> list[int]:
        send, new_batch, failed = Link.send, Link.new_batch, []

        def watched(link: Link) -> BatchBuilder:
            batch = new_batch(link)
            append, batch.values = batch.append, []

            def append_and_remember(**item: Any) -> Any:
                batch.values.append(item["value"])
                return append(**item)

            batch.append = append_and_remember
            return batch

        async def send_or_fail(link: Link, batch: BatchBuilder, name: str, partition: int) -> None:
            if name == topic and when(batch.values):
                failed.append(batch.record_count())
                raise error
            await send(link, batch, name, partition)

        monkeypatch.setattr(Link, "new_batch", watched)
        monkeypatch.setattr(Link, "send", send_or_fail)
        return failed

    return arrange


async def test_a_record_whose_batch_failed_once_is_taken_by_the_next_producer(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, failing: Callable[..., list[int]]
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    failed = failing(topic, errors.OutOfOrderSequenceNumber, lambda _batch: not failed)
    async with asyncio.timeout(3):
        await publisher.publish(record(topic, b"1"))
    assert failed == [1]
    assert await values_in(kafka, topic) == [b"1"]


async def test_a_record_that_fails_two_producers_is_given_up(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, failing: Callable[..., list[int]]
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    failing(topic, errors.OutOfOrderSequenceNumber, lambda batch: POISON in batch)
    with pytest.raises(BrokerUnavailable, match="twice"):
        async with asyncio.timeout(5):
            await publisher.publish(record(topic, POISON))
    await publish_until_taken(publisher, record(topic, b"after"))


async def test_of_a_batch_that_is_refused_only_the_guilty_one_is(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, failing: Callable[..., list[int]]
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    failing(topic, errors.InvalidTimestampError, lambda batch: POISON in batch)
    items = [record(topic, POISON if number == 2 else b"%d" % number) for number in range(5)]
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*map(publisher.publish, items), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), RecordRefused, type(None), type(None)]
    assert await values_in(kafka, topic) == [b"0", b"1", b"3", b"4"]
    assert publisher._outbox.batch_limit(topic), "not one by one for ever"


async def test_batches_that_all_fail_are_not_ready_and_do_not_wear_out_producers(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, failing: Callable[..., list[int]]
) -> None:
    other = f"{topic}.other"
    publisher = await start_kafka(kafka.bootstrap, topic, other)
    failing(topic, errors.UnknownError, lambda _batch: True)
    links: set[Any] = set()

    async def load() -> None:
        while True:
            with pytest.raises((BrokerUnavailable, TimeoutError)):
                async with asyncio.timeout(0.5):
                    await publisher.publish(record(topic, b"in vain"))
            links.add(publisher._outbox.link)

    loading = [asyncio.ensure_future(load()) for _ in range(3)]
    began = time.monotonic()
    assert "fail batches" in await reasons(publisher, topic)
    for number in range(100):
        async with asyncio.timeout(3):  # the deadline of a source
            await publisher.publish(record(other, b"%d" % number))
        await asyncio.sleep(0.03)
    for task in loading:
        task.cancel()
    await asyncio.gather(*loading, return_exceptions=True)
    assert len(links) < 8 + (time.monotonic() - began)  # each waits twice as long as the one before it
    assert await values_in(kafka, other) == [b"%d" % number for number in range(100)]


async def test_a_stuck_producer_is_replaced_also_while_another_topic_is_missing(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(topic)
    publisher = await start_kafka(kafka.bootstrap, topic, f"{topic}.missing", provision="check", wait=False)
    await reasons(publisher, "missing")
    stuck = publisher._outbox.link
    stuck.producer._message_accumulator.drain_by_nodes = lambda **_: ({}, False)
    with pytest.raises((TimeoutError, BrokerUnavailable)):
        async with asyncio.timeout(3):
            await publisher.publish(record(topic, b"stuck"))
    await until(lambda: publisher._outbox.link not in (None, stuck), within_s=10)
    await publish_until_taken(publisher, record(topic, b"after"))


async def test_a_successor_that_dies_before_it_is_used_changes_nothing(
    proxied: tuple[KafkaServer, Proxy], start_kafka: StartKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _server, proxy = proxied
    publisher: KafkaPublisher = await start_kafka(f"127.0.0.1:{proxy.port}", topic)
    first, looks = publisher._outbox.link, 0
    look = publisher._supervisor._look

    async def fail_once(link: Link) -> Any:
        nonlocal looks
        looks += link is not first
        if looks == 1:
            raise TimeoutError
        return await look(link)

    monkeypatch.setattr(publisher._supervisor, "_look", fail_once)
    before = len(tasks())
    first.spoil("for this test")
    await until(lambda: looks == 1, within_s=5)
    async with asyncio.timeout(5):
        await publisher.publish(record(topic, b"by the old one"))
    await until(lambda: publisher._outbox.link not in (None, first), within_s=10)
    await publisher.publish(record(topic, b"by the new one"))
    await ready(publisher)
    await until(lambda: len(tasks()) <= before + 1, within_s=5)


async def test_topics_of_others_are_none_of_ours(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(f"{topic}.foreign")
    publisher = await start_kafka(kafka.bootstrap, topic, provision="check", wait=False)
    await reasons(publisher, "missing")
    await asyncio.sleep(0.6)  # the library's own metadata, had it been asked for
    assert publisher._outbox.link.producer.client.cluster.topics() == set()
    assert not publisher._outbox._topics


async def test_closing_while_producers_change_leaves_nothing_behind(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    before = tasks()
    for turn in range(12):
        publisher = await start_kafka(kafka.bootstrap, topic)
        waiting = asyncio.ensure_future(publisher.publish(record(topic, b"1")))
        publisher._outbox.link.spoil("for this test")
        await asyncio.sleep(0.004 * turn)
        await publisher.close()
        await asyncio.gather(waiting, return_exceptions=True)
        assert tasks() <= before, turn


async def test_a_batch_that_is_full_is_sent_without_what_it_did_not_take(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library's batch does not take must not count as stored."""
    monkeypatch.setattr("bridge.publishers.kafka.dialer.MAX_BATCH_BYTES", 5000)
    publisher = await start_kafka(kafka.bootstrap, topic)
    items = [record(topic, b"%d " % number + b"x" * 400) for number in range(50)]
    async with asyncio.timeout(5):
        await asyncio.gather(*map(publisher.publish, items))
    assert await values_in(kafka, topic) == [item.value for item in items]


# ---- connections


async def test_closing_at_whatever_the_broker_does_not_answer_leaves_nothing_open(
    proxied: tuple[KafkaServer, Proxy], start_kafka: StartKafka, topic: str
) -> None:
    """The first connection, those of the producer and those for looks: each asks for versions, then for what it is."""
    _server, proxy = proxied
    for at in itertools.count(1):
        held = Held(proxy, at)
        publisher = await start_kafka(f"127.0.0.1:{proxy.port}", topic, wait=False)
        waited = [asyncio.ensure_future(event) for event in (held.asked.wait(), publisher.wait_ready())]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        await publisher.close()
        held.release()
        assert not open_connections(), f"request {at}"
        for one in waited:
            one.cancel()
        await asyncio.wait(waited)
        if not held.asked.is_set():  # it was ready before
            break
    assert at > 8, "versions and metadata, versions and producer id, versions and topics, their settings, leaders"


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts to connect follow each other at once."""
    monkeypatch.setattr(Backoff, "next", lambda _backoff: 0.0)


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("at", [1, 2, 4], ids=["frozen", "at the metadata", "at the producer id"])
async def test_thirty_attempts_at_a_broker_that_does_not_answer_leave_no_socket(
    proxied: tuple[KafkaServer, Proxy], start_kafka: StartKafka, topic: str, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    _server, proxy = proxied
    monkeypatch.setattr("bridge.publishers.kafka.dialer._DIAL_TIMEOUT_S", 0.03)
    held, dial, counted = Held(proxy, at), Dialer.dial, []

    async def dial_in_vain(dialer: Dialer) -> Link:
        nonlocal held
        held.release()
        held = Held(proxy, at)
        counted.append(descriptors())
        return await dial(dialer)

    monkeypatch.setattr(Dialer, "dial", dial_in_vain)
    publisher = await start_kafka(f"127.0.0.1:{proxy.port}", topic, wait=False)
    await until(lambda: len(counted) > 30, within_s=20)
    await publisher.close()
    held.release()
    assert counted[-1] - counted[3] < 10, counted


@pytest.mark.usefixtures("without_pauses")
async def test_thirty_links_one_after_the_other_leave_no_socket(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    before = descriptors()
    for number in range(30):
        link = publisher._outbox.link
        link.end("for this test")
        await until(lambda link=link: publisher._outbox.link not in (None, link), within_s=5)
        if number % 10 == 0:
            await publisher.publish(record(topic, b"%d" % number))
    assert descriptors() - before < 10
    assert await values_in(kafka, topic) == [b"0", b"10", b"20"]
