"""The deduplication table with a broker that does what a test says; real brokers: tests/e2e/test_dedup.py."""

import asyncio
from collections.abc import Iterator

import pytest

from bridge.errors import BrokerUnavailable, PublishError, RecordRefused
from bridge.ingest.deadline import Deadline
from bridge.ingest.dedup import DedupTable, Fate
from bridge.ingest.seen import SeenIds
from bridge.publishers.base import Record
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics
from tests.virtual_time import VirtualLoop

DEADLINE_S = 3.0
WINDOW_S = 4500.0
NEW, OLD, LOST = Fate.PUBLISHED, Fate.DUPLICATE, Fate.UNKNOWN


def record(name: str, topic: str = "t") -> Record:
    return Record(topic=topic, key="1", value=b"", headers={}, dedup_id=f"{name}@{topic}")


class Broker:
    """Publishes wait until the test answers them.

    Attributes:
        under_way: dedup id -> what its caller waits on.
        handed_over: dedup ids in order.
    """

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self.handed_over: list[str] = []

    async def publish(self, item: Record) -> None:
        assert item.dedup_id not in self.under_way, "two publishes of one record at once"
        self.handed_over.append(item.dedup_id)
        future = self.under_way[item.dedup_id] = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            del self.under_way[item.dedup_id]

    def ack(self, dedup_id: str) -> None:
        self.under_way[dedup_id].set_result(None)

    def fail(self, dedup_id: str, error: PublishError) -> None:
        self.under_way[dedup_id].set_exception(error)


class Delivery:
    """One request, as the entrance makes it.

    Attributes:
        fates: what became of each record.
        answer: "success", the error's name, or "late"; None until then.
        answered_at: when.
    """

    def __init__(self, space: "Space", records: list[Record]) -> None:
        self.records = records
        self.fates = [Fate.UNKNOWN] * len(records)
        self.began = space.loop.time()
        self.answer: str | None = None
        self.answered_at = -1.0
        self._space = space
        self._deadline = Deadline(lambda: self._answer("late"))
        self.task = space.loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self._deadline.within(DEADLINE_S):
                await self._space.table.publish_all(self.records, self._deadline, self.fates)
        except (PublishError, TimeoutError) as error:
            self._answer(type(error).__name__)
        else:
            self._answer("success")
        finally:
            self._deadline.end()

    def _answer(self, answer: str) -> None:
        if self.answer is None:
            assert answer == "late" or not self._deadline.missed
            self.answer, self.answered_at = answer, self._space.loop.time()
        else:
            assert self._deadline.missed, "answered twice"


class Space:
    """A table on a virtual clock, and its counters."""

    def __init__(self, *, max_ids: int = 10_000) -> None:
        self.loop = VirtualLoop()
        self.broker = Broker()
        self.metrics = Metrics()
        facts = Facts(self.metrics).source("shop", types=(), topics=("t", "audit"), outcomes=())
        self.seen = SeenIds(
            window_s=WINDOW_S,
            max_ids=max_ids,
            on_forgotten=facts.forgotten,
            clock=self.loop.time,
        )
        self.table = DedupTable(self.broker.publish, self.seen, facts)

    def post(self, *records: Record) -> Delivery:
        delivery = Delivery(self, list(records))
        self.loop.settle()
        return delivery

    def ack(self, name: str, topic: str = "t") -> None:
        self.broker.ack(f"{name}@{topic}")
        self.loop.settle()

    def fail(self, name: str, error: PublishError, topic: str = "t") -> None:
        self.broker.fail(f"{name}@{topic}", error)
        self.loop.settle()

    def count(self, name: str) -> float:
        return self.metrics.value(f"bridge_{name}_total", "shop")

    @property
    def duplicates(self) -> float:
        return self.count("records_duplicate")

    @property
    def ambiguous(self) -> float:
        return self.count("records_ambiguous")


@pytest.fixture
def space() -> Iterator[Space]:
    made = Space()
    yield made
    made.loop.pass_time(10 * DEADLINE_S)
    assert not made.table._in_flight
    assert not asyncio.all_tasks(made.loop)
    made.loop.close()


def test_a_durable_record_is_answered_without_publishing(space: Space) -> None:
    first = space.post(record("a"))
    assert first.answer is None
    space.ack("a")
    assert (first.answer, first.fates) == ("success", [NEW])
    for _ in range(4):
        again = space.post(record("a"))
        assert (again.answer, again.fates) == ("success", [OLD])
    assert space.broker.handed_over == ["a@t"]
    assert space.duplicates == 4


def test_a_retry_after_the_window_is_published_again(space: Space) -> None:
    space.post(record("a"))
    space.ack("a")
    space.loop.pass_time(WINDOW_S * 1.2)
    again = space.post(record("a"))
    assert again.answer is None
    space.ack("a")
    assert again.fates == [NEW]


def test_equal_requests_at_once_publish_once_and_all_succeed(space: Space) -> None:
    deliveries = [space.post(record("a")) for _ in range(50)]
    assert space.broker.handed_over == ["a@t"]
    space.ack("a")
    assert {delivery.answer for delivery in deliveries} == {"success"}
    assert [delivery.fates for delivery in deliveries].count([NEW]) == 1
    assert space.duplicates == 49


@pytest.mark.parametrize("error", [BrokerUnavailable("down"), RecordRefused("no")])
def test_a_failure_is_shared_and_the_next_attempt_publishes(space: Space, error: PublishError) -> None:
    deliveries = [space.post(record("a")) for _ in range(3)]
    space.fail("a", error)
    assert {delivery.answer for delivery in deliveries} == {type(error).__name__}
    assert space.ambiguous == space.duplicates == 0
    again = space.post(record("a"))
    space.ack("a")
    assert (again.answer, again.fates) == ("success", [NEW])


def test_a_publish_without_an_answer_is_ambiguous_and_never_taken_for_durable(space: Space) -> None:
    first = space.post(record("a"))
    space.loop.pass_time(DEADLINE_S)
    assert (first.answer, first.answered_at) == ("TimeoutError", DEADLINE_S)
    assert space.ambiguous == 1
    again = space.post(record("a"))
    assert again.answer is None
    assert space.broker.handed_over == ["a@t", "a@t"]
    space.ack("a")
    assert again.fates == [NEW]
    assert space.duplicates == 0


def test_a_failure_that_may_have_stored_the_record_is_ambiguous(space: Space) -> None:
    space.post(record("a"))
    space.fail("a", BrokerUnavailable("the link ended", maybe_stored=True))
    assert space.ambiguous == 1
    assert space.post(record("a")).answer is None
    assert space.broker.handed_over == ["a@t", "a@t"]


def test_the_publish_goes_on_for_whoever_came_later_and_the_first_is_answered_in_time(space: Space) -> None:
    first = space.post(record("a"))
    space.loop.pass_time(2)
    second = space.post(record("a"))
    space.loop.pass_time(2)
    assert (first.answer, first.answered_at) == ("late", DEADLINE_S)
    assert second.answer is None
    assert space.broker.handed_over == ["a@t"]
    space.ack("a")
    assert (second.answer, second.fates) == ("success", [OLD])
    assert first.fates == [NEW]  # for the counters; nobody is answered twice
    assert space.ambiguous == 0
    assert space.post(record("a")).answer == "success"


def test_the_publish_is_cancelled_when_the_last_one_has_gone(space: Space) -> None:
    deliveries = []
    for _ in range(3):
        deliveries.append(space.post(record("a")))
        space.loop.pass_time(0.5)
    space.loop.pass_time(1.5)
    assert space.broker.under_way
    space.loop.pass_time(1.1)
    assert not space.broker.under_way
    assert [delivery.answered_at - delivery.began for delivery in deliveries] == [DEADLINE_S] * 3
    assert space.ambiguous == 1


def test_who_comes_after_the_firsts_deadline_is_told_at_once_and_keeps_nothing_going(space: Space) -> None:
    """Else equal requests in a row could keep one publish going for ever whose acknowledgement is lost."""
    space.post(record("a"))
    space.loop.pass_time(2)
    space.post(record("a"))
    space.loop.pass_time(1.5)
    third = space.post(record("a"))
    assert (third.answer, third.answered_at) == ("BrokerUnavailable", 3.5)
    space.loop.pass_time(2)
    assert not space.broker.under_way
    assert space.post(record("a")).answer is None
    assert space.broker.handed_over == ["a@t", "a@t"]


def test_deliveries_that_wait_for_each_other_end_at_their_deadlines(space: Space) -> None:
    space.post(record("a"))
    one = space.post(record("b"), record("a"))
    two = space.post(record("c"), record("b"))
    three = space.post(record("a"), record("c"), record("b"))
    space.loop.pass_time(DEADLINE_S + 0.01)
    for delivery in (one, two, three):
        assert delivery.answer
        assert delivery.answered_at == DEADLINE_S
        assert delivery.task.done()
    assert space.broker.handed_over == ["a@t", "b@t", "c@t"]


def test_a_batch_that_went_through_in_part_publishes_only_what_is_missing_and_in_order(space: Space) -> None:
    batch = [record(name) for name in "abcde"]
    first = space.post(*batch)
    assert space.broker.handed_over == [f"{name}@t" for name in "abcde"]
    for name in "ac":
        space.ack(name)
    for name in "bde":
        space.fail(name, BrokerUnavailable("full"))
    assert (first.answer, first.fates) == ("BrokerUnavailable", [NEW, LOST, NEW, LOST, LOST])
    again = space.post(*batch)
    assert space.broker.handed_over[5:] == ["b@t", "d@t", "e@t"]
    for name in "bde":
        space.ack(name)
    assert (again.answer, again.fates) == ("success", [OLD, NEW, OLD, NEW, NEW])
    assert space.duplicates == 2


def test_a_fan_out_is_one_record_per_topic(space: Space) -> None:
    both = [record("a", "t"), record("a", "audit")]
    first = space.post(*both)
    space.ack("a", "t")
    space.fail("a", BrokerUnavailable("no such topic"), "audit")
    assert first.answer == "BrokerUnavailable"
    again = space.post(*both)
    assert space.broker.handed_over == ["a@t", "a@audit", "a@audit"]
    space.ack("a", "audit")
    assert again.fates == [OLD, NEW]


def test_what_was_acknowledged_before_the_deadline_of_a_batch_is_remembered(space: Space) -> None:
    batch = [record("a"), record("b")]
    first = space.post(*batch)
    space.ack("a")
    space.loop.pass_time(DEADLINE_S)
    assert (first.answer, first.fates) == ("TimeoutError", [NEW, LOST])
    space.post(*batch)
    assert space.broker.handed_over == ["a@t", "b@t", "b@t"]


def test_one_event_twice_in_a_batch_is_published_once_and_waits_for_no_longer(space: Space) -> None:
    twins = space.post(record("a"), record("a"))
    space.loop.pass_time(DEADLINE_S)
    assert (twins.answer, twins.answered_at) == ("TimeoutError", DEADLINE_S)
    twins = space.post(record("a"), record("a"))
    space.ack("a")
    assert (twins.answer, twins.fates) == ("success", [NEW, OLD])


def test_a_fault_of_ours_in_a_publish_ends_those_who_wait_with_something_they_may_retry(space: Space) -> None:
    first, second = space.post(record("a")), space.post(record("a"))
    space.broker.under_way["a@t"].set_exception(ZeroDivisionError())
    space.loop.settle()
    assert isinstance(first.task.exception(), ZeroDivisionError)
    assert second.answer == "BrokerUnavailable"
    assert space.ambiguous == 1


def test_what_is_forgotten_too_early_is_counted_and_published_again(space: Space) -> None:
    small = Space(max_ids=8)
    for number in range(20):
        small.post(record(f"{number}"))
        small.ack(f"{number}")
    assert len(small.seen) <= 8
    assert small.count("dedup_ids_forgotten") == 20 - len(small.seen)
    assert small.post(record("19")).answer == "success"
    assert small.post(record("0")).answer is None
    small.ack("0")
    small.loop.close()
