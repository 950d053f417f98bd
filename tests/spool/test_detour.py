"""Into the spool and what becomes of it, with a broker and a disk that do what a test says; real ones: tests/e2e."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import BrokerUnavailable
from bridge.ingest.deadline import Deadline
from tests.spool.spool_space import BROKER_S, DEADLINE_S, Space, event

AWAY = BrokerUnavailable("away")


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    made = Space(tmp_path)
    yield made
    made.close()


def test_a_late_acknowledgement_deletes_the_row_and_nothing_is_published_again(space: Space) -> None:
    late = space.post(event("a"))
    space.pass_time(BROKER_S + 0.1)
    assert late.status == 200
    assert (space.rows, len(space.holds)) == (1, 1)
    space.pass_time(30)
    assert space.broker.handed_over == ["a@t"]  # the drain leaves it alone
    space.ack("a@t")
    space.pass_time(1)
    assert (space.rows, len(space.holds)) == (0, 0)
    assert space.broker.handed_over == ["a@t"]
    assert space.count("records_acknowledged_late") == 1
    assert space.published == ["a"]


def test_a_late_publish_that_fails_releases_the_row_to_the_drain(space: Space) -> None:
    space.post(event("a"))
    space.pass_time(BROKER_S + 0.1)
    space.fail("a@t", BrokerUnavailable("link lost", maybe_stored=True))
    space.pass_time(1)
    assert space.broker.handed_over == ["a@t"] * 2
    space.ack("a@t")
    space.pass_time(1)
    assert (space.rows, len(space.holds)) == (0, 0)
    assert space.published == ["a"]


def test_a_late_acknowledgement_during_the_fsync_deletes_the_row_as_well(space: Space) -> None:
    space.fsync_s = 0.2
    late = space.post(event("a"))
    space.pass_time(BROKER_S + 0.05)
    assert late.status is None
    space.ack("a@t")
    space.pass_time(2)
    assert late.status == 200
    assert (space.rows, len(space.holds)) == (0, 0)
    assert space.broker.handed_over == ["a@t"]
    assert space.published == ["a"]


def test_newer_records_queue_behind_those_of_their_key_and_only_those_do(space: Space) -> None:
    space.broker.away(AWAY)
    first = space.post(event("a"))
    space.pass_time(0.1)
    assert first.status == 200
    space.broker.waits()
    newer, other = space.post(event("b")), space.post(event("c", key="2"))
    assert space.broker.handed_over[-1] == "c@t"
    space.ack("c@t")
    assert other.status == 200
    space.pass_time(5)
    assert newer.status == 200
    assert "b@t" not in space.broker.handed_over
    space.ack("a@t")
    space.pass_time(1)
    assert space.broker.handed_over[-2:] == ["a@t", "b@t"]
    space.ack("b@t")


def test_while_a_topic_is_late_nothing_else_of_it_waits_to_find_out(space: Space) -> None:
    space.post(event("a"))
    space.pass_time(BROKER_S + 0.1)
    other_key, other_topic = space.post(event("b", key="2")), space.post(event("c", "audit", key="2"))
    space.pass_time(0.1)
    assert other_key.status == 200
    assert other_topic.status is None
    space.ack("a@t", "c@audit")
    assert space.post(event("d", key="3")).status is None  # the topic is late no longer
    space.ack("d@t")


def test_who_joined_a_publish_that_fails_after_its_deadline_succeeds_by_the_row(space: Space) -> None:
    first = space.post(event("a"))
    space.pass_time(2)
    joined = space.post(event("a"))
    space.pass_time(1)
    assert (first.status, joined.status) == (200, None)
    space.fail("a@t", BrokerUnavailable("link lost", maybe_stored=True))
    assert joined.status == 200
    space.broker.takes_all()


def test_with_all_late_slots_taken_the_spool_has_it_and_so_do_those_who_joined(tmp_path: Path) -> None:
    space = Space(tmp_path, max_in_flight=2)
    for key in ("1", "2"):
        space.post(event(f"slot{key}", key=key))
    space.pass_time(BROKER_S + 0.1)
    first = space.post(event("a", "audit"))
    space.pass_time(1)
    joined = space.post(event("a", "audit"))
    space.pass_time(BROKER_S)
    assert (first.status, joined.status) == (200, 200)
    assert first.after_s < DEADLINE_S
    assert space.broker.handed_over.count("a@audit") == 2  # given up, and then by the drain: counted as ambiguous
    assert space.count("records_ambiguous", "shop") == 1
    assert space.published.count("a") == 1
    space.broker.takes_all()
    space.close()


def test_a_row_held_for_another_ones_publish_is_drained_when_that_fails_before_its_own_deadline(tmp_path: Path) -> None:
    """Who joined a batch takes over its publish at the batch's deadline, and the batch writes it into the spool."""
    space = Space(tmp_path, max_in_flight=2)
    for key in ("1", "2"):
        space.post(event(f"slot{key}", key=key))
    space.pass_time(BROKER_S + 0.1)
    batch = space.post(event("a", "audit"), event("b", "audit"))
    space.pass_time(1)
    joined = space.post(event("a", "audit"))
    space.pass_time(BROKER_S - 0.9)
    assert (batch.status, joined.status) == (200, None)
    assert space.broker.handed_over.count("a@audit") == 2
    space.broker.takes_all()
    space.fail("a@audit", BrokerUnavailable("link lost", maybe_stored=True))
    space.pass_time(1)
    assert joined.status == 200
    assert sorted(space.published) == ["a", "b", "slot1", "slot2"]  # also those of a batch that its deadline cut off
    assert space.broker.handed_over[-2:] == ["a@audit", "b@audit"]
    space.ack("slot1@t", "slot2@t")
    space.close()
    assert (space.rows, len(space.holds)) == (0, 0)


def test_a_letter_that_became_part_of_the_delivery_at_its_very_deadline_is_no_fault(space: Space) -> None:
    """Whoever answers at the deadline looks at the delivery a turn of the loop later: there may be one more by then."""
    space.broker.takes_all()
    items = [event("a"), event("b")]

    async def deliver() -> None:
        deadline = Deadline(DEADLINE_S)
        with deadline:
            await space.table.publish_all(items, deadline)
        await space.table.spool_missing([*items, event("letter")], deadline)

    space.loop.run_until_complete(deliver())
    assert space.published == ["a", "b", "letter"]


def test_what_is_written_twice_at_once_is_settled_for_all(space: Space) -> None:
    """A disk slower than the deadline and the retry after it."""
    space.broker.away(AWAY)
    space.pass_time(5)
    space.fsync_s = 4.0
    first = space.post(event("a"))
    space.pass_time(DEADLINE_S + 0.5)
    retry = space.post(event("a"), event("b"))
    space.pass_time(20)
    assert (first.status, retry.status) == (503, 503)
    space.fsync_s = 0.01
    space.pass_time(5)
    again = space.post(event("a"), event("b"))
    assert (again.status, space.rows) == (200, 2)
    space.broker.takes_all()


def test_each_event_of_a_batch_is_told_once_whichever_way_it_became_durable(space: Space) -> None:
    batch = space.post(event("a"), event("b"))
    space.ack("a@t")
    space.pass_time(BROKER_S + 0.1)
    assert batch.status == 200
    space.ack("b@t")
    space.pass_time(1)
    assert sorted(space.published) == ["a", "b"]
    assert space.rows == 0


def test_a_batch_and_a_fan_out_go_into_the_spool_whole_and_out_of_it_in_order(space: Space) -> None:
    space.broker.away(AWAY)
    batch = space.post(event("a"), event("b", "t", "audit"), event("c"))
    space.pass_time(0.1)
    assert (batch.status, space.rows) == (200, 4)
    assert space.published == ["a", "b", "c"]
    tried = len(space.broker.handed_over)
    space.broker.takes_all()
    space.pass_time(5)
    drained = space.broker.handed_over[tried:]
    assert [dedup_id for dedup_id in drained if dedup_id.endswith("@t")] == ["a@t", "b@t", "c@t"]
    assert drained.count("b@audit") == 1
    assert space.rows == 0


@pytest.mark.parametrize("away", [True, False])
def test_a_slow_fsync_is_not_waited_for_beyond_the_deadline(space: Space, *, away: bool) -> None:
    space.pass_time(5)
    space.fsync_s = 5.0
    if away:
        space.broker.away(AWAY)
    slow = space.post(event("a"))
    space.pass_time(20)
    assert (slow.status, slow.error, slow.after_s) == (503, "deadline_exceeded", DEADLINE_S)
    assert space.rows == 1
    assert space.post(event("a")).status == 200  # durable meanwhile
    space.broker.takes_all()


def test_what_the_spool_refused_wakes_no_lane(space: Space) -> None:
    space.broker.away(AWAY)
    space.post(event("a"))
    space.pass_time(0.1)
    space.spool._max_bytes = 1
    refused = [space.post(event(f"r{number}", key=f"r{number}")) for number in range(100)]
    assert {(answered.status, answered.error) for answered in refused} == {(503, "spool_unavailable")}
    space.fsync_s = 0.1
    jobs = space.jobs
    space.pass_time(3)
    space.broker.takes_all()
    space.pass_time(4)
    assert space.rows == 0
    assert space.jobs - jobs < 30  # not one for each refused
