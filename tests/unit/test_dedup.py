"""The deduplication table with a broker that does what a test says; real brokers: tests/e2e/test_dedup.py."""

from collections.abc import Iterator

import msgspec
import pytest

from bridge.errors import BrokerUnavailable, PublishError, RecordRefused
from bridge.ingest.deadline import LATE_S
from tests.unit.dedup_space import DEADLINE_S, WINDOW_S, Space, event


@pytest.fixture
def space() -> Iterator[Space]:
    made = Space()
    yield made
    made.close()


def test_a_durable_record_is_answered_without_publishing(space: Space) -> None:
    first = space.post(event("a"))
    assert first.answer is None
    space.ack("a@t")
    assert first.answer == "success"
    assert [space.post(event("a")).answer for _ in range(4)] == ["success"] * 4
    assert space.broker.handed_over == ["a@t"]
    assert space.published == ["a"]
    assert space.duplicates == 4


def test_a_retry_after_the_window_is_published_again(space: Space) -> None:
    space.post(event("a"))
    space.ack("a@t")
    space.loop.pass_time(WINDOW_S * 1.5)
    assert space.post(event("a")).answer is None
    space.ack("a@t")
    assert space.published == ["a", "a"]


def test_equal_requests_at_once_publish_once_and_all_succeed(space: Space) -> None:
    deliveries = [space.post(event("a")) for _ in range(50)]
    assert space.broker.handed_over == ["a@t"]
    space.ack("a@t")
    assert {delivery.answer for delivery in deliveries} == {"success"}
    assert space.published == ["a"]
    assert space.duplicates == 49


@pytest.mark.parametrize("error", [BrokerUnavailable("down"), RecordRefused("no")])
def test_a_failure_is_shared_and_the_next_attempt_publishes(space: Space, error: PublishError) -> None:
    deliveries = [space.post(event("a")) for _ in range(3)]
    space.fail("a@t", error)
    assert {delivery.answer for delivery in deliveries} == {type(error).__name__}
    assert space.ambiguous == space.duplicates == 0
    again = space.post(event("a"))
    space.ack("a@t")
    assert again.answer == "success"
    assert space.published == ["a"]


def test_a_publish_without_an_answer_is_late_and_a_late_acknowledgement_makes_it_durable(space: Space) -> None:
    first = space.post(event("a"))
    space.loop.pass_time(DEADLINE_S)
    assert (first.answer, first.answered_at) == ("late", DEADLINE_S)
    retry = space.post(event("a"))
    assert retry.answer is None
    space.ack("a@t")
    assert retry.answer == "success"
    assert space.broker.handed_over == ["a@t"]
    assert space.published == ["a"]
    assert space.ambiguous == 0
    assert space.post(event("a")).answer == "success"


def test_a_publish_that_is_never_answered_is_ambiguous_and_never_taken_for_durable(space: Space) -> None:
    space.post(event("a"))
    space.loop.pass_time(DEADLINE_S + LATE_S)
    assert space.ambiguous == 1
    assert space.post(event("a")).answer is None
    assert space.broker.handed_over == ["a@t", "a@t"]
    space.ack("a@t")
    assert space.published == ["a"]
    assert space.duplicates == 0


def test_a_failure_that_may_have_stored_the_record_is_ambiguous(space: Space) -> None:
    space.post(event("a"))
    space.fail("a@t", BrokerUnavailable("the link ended", maybe_stored=True))
    assert space.ambiguous == 1
    assert space.post(event("a")).answer is None
    assert space.broker.handed_over == ["a@t", "a@t"]


def test_whoever_joins_a_late_publish_is_answered_at_its_own_deadline(space: Space) -> None:
    deliveries = []
    for _ in range(8):
        deliveries.append(space.post(event("a")))
        space.loop.pass_time(1)
    assert space.broker.handed_over == ["a@t"]
    space.loop.pass_time(DEADLINE_S)
    assert [delivery.answered_at - delivery.began for delivery in deliveries] == [DEADLINE_S] * 8
    assert [delivery.answer for delivery in deliveries] == ["late"] + ["TimeoutError"] * 7


def test_equal_requests_in_a_row_cannot_keep_one_publish_going_for_ever(space: Space) -> None:
    for _ in range(40):
        space.post(event("a"))
        space.loop.pass_time(2)
    assert space.ambiguous == 1
    assert space.broker.handed_over == ["a@t", "a@t"]


def test_deliveries_that_wait_for_each_other_end_at_their_deadlines(space: Space) -> None:
    space.post(event("a"))
    one = space.post(event("b"), event("a"))
    two = space.post(event("c"), event("b"))
    three = space.post(event("a"), event("c"), event("b"))
    space.loop.pass_time(DEADLINE_S + 0.01)
    for delivery in (one, two, three):
        assert delivery.answer
        assert delivery.answered_at == DEADLINE_S
    assert space.broker.handed_over == ["a@t", "b@t", "c@t"]


def test_a_batch_that_went_through_in_part_publishes_only_what_is_missing_and_in_order(space: Space) -> None:
    batch = [event(name) for name in "abcde"]
    first = space.post(*batch)
    assert space.broker.handed_over == [f"{name}@t" for name in "abcde"]
    for name in "ac":
        space.ack(f"{name}@t")
    for name in "bde":
        space.fail(f"{name}@t", BrokerUnavailable("full"))
    assert first.answer == "BrokerUnavailable"
    assert space.published == ["a", "c"]
    again = space.post(*batch)
    assert space.broker.handed_over[5:] == ["b@t", "d@t", "e@t"]
    for name in "bde":
        space.ack(f"{name}@t")
    assert again.answer == "success"
    assert space.published == ["a", "c", "b", "d", "e"]
    assert space.duplicates == 2


def test_a_fan_out_is_one_record_per_topic_and_one_event(space: Space) -> None:
    first = space.post(event("a", "t", "audit"))
    space.ack("a@t")
    space.fail("a@audit", BrokerUnavailable("no such topic"))
    assert first.answer == "BrokerUnavailable"
    assert space.published == []
    again = space.post(event("a", "t", "audit"))
    assert space.broker.handed_over == ["a@t", "a@audit", "a@audit"]
    space.ack("a@audit")
    assert again.answer == "success"
    assert space.published == ["a"]
    assert space.metrics.value("bridge_records_published_total", "t") == 1
    assert space.metrics.value("bridge_records_published_total", "audit") == 1


def test_what_was_acknowledged_before_the_deadline_of_a_batch_is_remembered(space: Space) -> None:
    batch = [event("a"), event("b")]
    first = space.post(*batch)
    space.ack("a@t")
    space.loop.pass_time(DEADLINE_S + LATE_S)
    assert first.answer == "late"
    assert space.published == ["a"]
    space.post(*batch)
    assert space.broker.handed_over == ["a@t", "b@t", "b@t"]


def test_one_event_twice_in_a_batch_is_published_once_and_waits_for_no_longer(space: Space) -> None:
    twins = space.post(event("a"), event("a"))
    space.loop.pass_time(DEADLINE_S)
    assert (twins.answer, twins.answered_at) == ("late", DEADLINE_S)
    twins = space.post(event("a"), event("a"))
    space.ack("a@t")
    assert twins.answer == "success"
    assert space.published == ["a"]


def test_events_that_go_nowhere_on_purpose_count_when_the_delivery_succeeds(space: Space) -> None:
    nowhere = msgspec.structs.replace(event("b"), records=())
    first = space.post(event("a"), nowhere)
    space.fail("a@t", BrokerUnavailable("down"))
    assert first.answer == "BrokerUnavailable"
    space.post(event("a"), nowhere)
    space.ack("a@t")
    assert space.post(nowhere).answer == "success"
    assert space.published == ["a"]
    assert space.metrics.value("bridge_events_dropped_total", "shop", "call") == 2


def test_a_fault_of_ours_in_a_publish_ends_those_who_wait_with_something_they_may_retry(space: Space) -> None:
    first, second = space.post(event("a")), space.post(event("a"))
    space.fail("a@t", ZeroDivisionError())
    assert isinstance(first.task.exception(), ZeroDivisionError)
    assert second.answer == "BrokerUnavailable"
    assert space.ambiguous == 1


def test_a_cancellation_from_elsewhere_is_not_taken_for_the_deadline(space: Space) -> None:
    first = space.post(event("a"))
    first.task.cancel()
    space.loop.settle()
    assert first.task.cancelled()
    assert space.ambiguous == 1


def test_what_is_forgotten_too_early_is_counted_and_published_again() -> None:
    small = Space(max_ids=8)
    for number in range(20):
        small.post(event(f"{number}"))
        small.ack(f"{number}@t")
    assert len(small.seen) <= 8
    assert small.count("dedup_ids_forgotten") == 20 - len(small.seen)
    assert small.post(event("19")).answer == "success"
    assert small.post(event("0")).answer is None
    small.ack("0@t")
    small.close()
