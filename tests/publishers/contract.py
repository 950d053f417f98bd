"""What every publisher promises (`bridge.publishers.base.Publisher`), as tests.

A broker inherits `PublisherContract` and gives one fixture, `harness`. What a broker cannot do it says with the flags
of its harness, so a difference between brokers is written down, not left out.
"""

import asyncio
import gc
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import pytest

from bridge.errors import BrokerUnavailable, PublishError, RecordRefused, RecordTooLarge
from bridge.publishers.base import Publisher, Record

READY_S = 15.0


class Stored(NamedTuple):
    """A record as another client reads it."""

    topic: str
    key: str | None
    value: bytes
    headers: dict[str, str]


class Harness(ABC):
    """A broker for one test, and a way around the publisher to look into it."""

    dedups: ClassVar[bool]  # whether a record sent twice with one dedup_id is kept once
    has_keys: ClassVar[bool]  # whether keys are part of a stored record
    bad_topics: ClassVar[tuple[str, ...]]  # which the broker could never take
    known_outage_s: ClassVar[float] = 2.0  # grace of a second, and what noticing takes
    secrets: tuple[str, ...] = ()  # in the settings, to be seen nowhere
    passing_tasks: ClassVar[int] = 0  # of the client library, which come and go while it looks for the broker

    @abstractmethod
    def make(self) -> Publisher:
        """A publisher, not started."""

    @abstractmethod
    def topic(self, name: str) -> str:
        """A topic of this test."""

    @abstractmethod
    async def stored(self, topic: str) -> list[Stored]:
        """All records of a topic, in order."""

    @abstractmethod
    async def take_away(self) -> None:
        """Kill the broker."""

    @abstractmethod
    async def give_back(self) -> None:
        """Start it again, with what it had stored."""

    @property
    @abstractmethod
    def limit_bytes(self) -> int:
        """The broker's limit on a record, headers included."""


def record(topic: str, value: bytes, *, key: str = "480213", dedup_id: str | None = None) -> Record:
    """A record with headers as real ones have; its value names it unless `dedup_id` does."""
    return Record(
        topic=topic,
        key=key,
        value=value,
        headers={"ce-id": "a-1", "ce-type": "messaging.message.received.v1"},
        dedup_id=dedup_id or f"{value[:64].decode('latin-1')}@{topic}",
    )


async def ready(publisher: Publisher) -> Publisher:
    """The publisher, once it is ready."""
    async with asyncio.timeout(READY_S):
        await publisher.wait_ready()
    return publisher


async def publish_until_taken(publisher: Publisher, item: Record) -> None:
    """As a provider does: again after each failure."""
    async with asyncio.timeout(READY_S):
        while True:
            try:
                async with asyncio.timeout(3):
                    await publisher.publish(item)
            except (BrokerUnavailable, TimeoutError):
                await asyncio.sleep(0.1)
            else:
                return


async def until(condition: Callable[[], object], *, within_s: float) -> None:
    """Wait for something outside this process, which no event of ours can tell of.

    Raises:
        TimeoutError: it did not happen.
    """
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 -- see above
            await asyncio.sleep(0.02)


def tasks() -> set[asyncio.Task[Any]]:
    """All tasks but the test's own."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def live_objects() -> int:
    """How many objects the garbage collector knows; records are none of them, whatever holds one is."""
    gc.collect()
    return len(gc.get_objects())


def values(records: Iterable[Stored]) -> list[bytes]:
    return [item.value for item in records]


class PublisherContract:
    """Inherit, and give the fixture `harness`."""

    @pytest.fixture
    def publisher(self, harness: Harness) -> Publisher:
        return harness.make()

    @pytest.fixture
    async def started(self, publisher: Publisher) -> Publisher:
        await publisher.start()
        return await ready(publisher)

    @pytest.fixture(autouse=True)
    async def closed_afterwards(self, publisher: Publisher) -> AsyncIterator[None]:
        yield
        before = tasks()
        async with asyncio.timeout(2.5):
            await publisher.close()
        assert not (left := tasks() - before), f"close leaves no task of its own: {left}"

    # ---- life

    async def test_starting_twice_is_an_error_of_ours(self, started: Publisher) -> None:
        with pytest.raises(RuntimeError):
            await started.start()

    async def test_publishing_before_start_is_unavailable(self, harness: Harness, publisher: Publisher) -> None:
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(record(harness.topic("a"), b"1"))
        assert not publisher.health().ready

    async def test_publishing_after_close_is_unavailable(self, harness: Harness, started: Publisher) -> None:
        await started.close()
        with pytest.raises(BrokerUnavailable):
            await started.publish(record(harness.topic("a"), b"1"))
        assert not started.health().ready

    async def test_closing_twice_or_without_start_is_fine(self, harness: Harness, started: Publisher) -> None:
        await asyncio.gather(started.close(), started.close())
        await started.close()
        await harness.make().close()

    async def test_start_does_not_wait_for_the_broker_and_finds_it_later(
        self, harness: Harness, publisher: Publisher
    ) -> None:
        await harness.take_away()
        async with asyncio.timeout(0.5):
            await publisher.start()
        assert publisher.health().reasons
        await harness.give_back()
        await ready(publisher)
        await publisher.publish(record(harness.topic("a"), b"1"))

    # ---- what is stored

    async def test_bytes_headers_and_key_arrive_unchanged(self, harness: Harness, started: Publisher) -> None:
        value = bytes(range(256)) + "ümlaut \u2028 \U0001f600".encode()
        item = record(harness.topic("a"), value, key="device-7", dedup_id="7@a")
        item.headers["ce-subject"] = "100%25 %C3%BC: 'a', \"b\""
        expected = dict(item.headers)
        await started.publish(item)
        (found,) = await harness.stored(harness.topic("a"))
        assert found.value == value
        assert {name: found.headers.get(name) for name in expected} == expected
        assert found.key == ("device-7" if harness.has_keys else None)

    async def test_an_empty_value_arrives_as_one(self, harness: Harness, started: Publisher) -> None:
        await started.publish(record(harness.topic("a"), b"", dedup_id="empty"))
        assert values(await harness.stored(harness.topic("a"))) == [b""]

    async def test_concurrent_records_are_all_stored_in_the_order_handed_over(
        self, harness: Harness, started: Publisher
    ) -> None:
        items = [record(harness.topic("a"), b"%d" % number) for number in range(500)]
        await asyncio.gather(*(started.publish(item) for item in items))
        assert values(await harness.stored(harness.topic("a"))) == values_of(items)

    async def test_a_record_sent_again_with_its_id(self, harness: Harness, started: Publisher) -> None:
        for _ in range(3):
            await started.publish(record(harness.topic("a"), b"once"))
        assert len(await harness.stored(harness.topic("a"))) == (1 if harness.dedups else 3)

    async def test_one_event_on_two_topics_is_two_records(self, harness: Harness, started: Publisher) -> None:
        for name in ("a", "b"):
            await started.publish(record(harness.topic(name), b"event"))
        for name in ("a", "b"):
            assert values(await harness.stored(harness.topic(name))) == [b"event"]

    # ---- what is refused

    async def test_a_record_over_the_limit_is_too_large_and_the_next_one_goes_through(
        self, harness: Harness, started: Publisher
    ) -> None:
        await started.publish(record(harness.topic("a"), b"before"))
        with pytest.raises(RecordTooLarge) as refused:
            await started.publish(record(harness.topic("a"), b"x" * (harness.limit_bytes + 1)))
        assert refused.value.size_bytes > refused.value.limit_bytes
        async with asyncio.timeout(2):
            await started.publish(record(harness.topic("a"), b"after"))
        assert values(await harness.stored(harness.topic("a"))) == [b"before", b"after"]

    async def test_a_topic_that_the_broker_cannot_have_is_refused(self, harness: Harness, started: Publisher) -> None:
        for topic in harness.bad_topics:
            with pytest.raises(RecordRefused):
                await started.publish(record(topic, b"1", dedup_id="1"))
        await started.publish(record(harness.topic("a"), b"1"))

    # ---- outages

    async def test_without_a_broker_it_is_unavailable_soon_and_then_at_once(
        self, harness: Harness, started: Publisher
    ) -> None:
        await harness.take_away()
        with pytest.raises(BrokerUnavailable):
            async with asyncio.timeout(harness.known_outage_s):
                await started.publish(record(harness.topic("a"), b"1"))
        with pytest.raises(BrokerUnavailable) as at_once:
            async with asyncio.timeout(0.1):
                await started.publish(record(harness.topic("a"), b"2"))
        assert not at_once.value.maybe_stored
        assert not started.health().ready

    async def test_it_recovers_by_itself_and_loses_nothing_acknowledged(
        self, harness: Harness, started: Publisher
    ) -> None:
        topic = harness.topic("a")
        await started.publish(record(topic, b"before"))
        await harness.take_away()
        with pytest.raises(BrokerUnavailable):
            await started.publish(record(topic, b"during"))
        await harness.give_back()
        await ready(started)
        await started.publish(record(topic, b"after"))
        found = values(await harness.stored(topic))
        assert found[0] == b"before"
        assert found[-1] == b"after"

    async def test_what_is_on_its_way_when_the_broker_dies_is_stored_or_reported(
        self, harness: Harness, started: Publisher
    ) -> None:
        topic = harness.topic("a")
        items = [record(topic, b"%d" % number) for number in range(300)]
        results = [asyncio.ensure_future(started.publish(item)) for item in items]
        await asyncio.wait(results, return_when=asyncio.FIRST_COMPLETED)
        await harness.take_away()
        outcomes = await asyncio.gather(*results, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, PublishError) for outcome in outcomes)
        await harness.give_back()
        there = values(await harness.stored(topic))
        for item, outcome in zip(items, outcomes, strict=True):
            assert outcome is None or item.value not in there or outcome.maybe_stored
        for item in items:
            await publish_until_taken(started, item)
        found = values(await harness.stored(topic))
        assert set(found) == set(values_of(items))
        if harness.dedups:
            assert len(found) == len(items)

    async def test_cancelled_publishes_leave_nothing_behind(self, harness: Harness, started: Publisher) -> None:
        async def publish_and_cancel(number: int) -> None:
            publishing = asyncio.ensure_future(started.publish(record(harness.topic("a"), b"%d" % number)))
            await asyncio.sleep(0)
            publishing.cancel()
            with pytest.raises((asyncio.CancelledError, BrokerUnavailable)):  # refused once the outage is one
                await publishing

        for broker_is_there in (True, False):
            if not broker_is_there:
                await harness.take_away()
            await publish_and_cancel(0)
            before, tasks_before = live_objects(), len(tasks())
            for number in range(1, 1000):
                await publish_and_cancel(number)
            # half an object each; the rest is the library's own, and passes
            await until(lambda before=before: live_objects() - before < 500, within_s=READY_S)
            await until(lambda count=tasks_before: len(tasks()) - count <= harness.passing_tasks, within_s=READY_S)

    # ---- what it says

    async def test_health_and_errors_show_no_secret_and_no_host(self, harness: Harness, started: Publisher) -> None:
        seen = [repr(started.health()), repr(started)]
        await harness.take_away()
        with pytest.raises(BrokerUnavailable) as unavailable:
            await started.publish(record(harness.topic("a"), b"1"))
        seen += [repr(started.health()), str(unavailable.value)]
        for secret in (*harness.secrets, "127.0.0.1", "localhost"):
            assert not [text for text in seen if secret in text]

    async def test_once_looked_at_it_tells_the_limit_on_a_record(self, harness: Harness, publisher: Publisher) -> None:
        assert not publisher.health().looked
        await publisher.start()
        health = (await ready(publisher)).health()
        assert health.looked
        assert health.details["max_record_bytes"] == harness.limit_bytes
        assert health.plans == ()

    async def test_not_ready_comes_with_reasons(self, started: Publisher) -> None:
        assert started.health().ready
        assert not started.health().reasons
        await started.close()
        assert started.health().reasons


def values_of(items: Iterable[Record]) -> list[bytes]:
    return [item.value for item in items]
