"""Out of the spool, with a broker that does what a test says; real brokers: tests/e2e/test_spool.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import BrokerUnavailable, PublishError, RecordRefused
from bridge.spool.model import Row
from tests.spool.spool_space import Space, event

AWAY = BrokerUnavailable("away")


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    made = Space(tmp_path)
    yield made
    made.close()


def refuses_r(dedup_id: str) -> PublishError | None:
    return RecordRefused("no") if dedup_id.startswith("r") else None


def test_a_lane_of_many_runs_is_drained_in_order_each_row_once(space: Space) -> None:
    space.broker.takes_all()
    space.spooled(*(event(f"{number}") for number in range(100)))
    space.pass_time(5)
    assert space.broker.handed_over == [f"{number}@t" for number in range(100)]
    assert space.rows == 0
    assert space.count("records_drained", "t") == 100


@pytest.mark.parametrize("keys", [1, 100])
def test_no_more_than_the_rate_is_handed_over(tmp_path: Path, keys: int) -> None:
    """`BRIDGE_SPOOL_DRAIN_RATE`; what may go at once is a quarter of a second's."""
    space = Space(tmp_path, rate=20)
    space.broker.takes_all()
    began = space.loop.time()
    space.spooled(*(event(f"{number}", key=f"{number % keys}") for number in range(100)))
    space.pass_time(20)
    took_s = space.broker.handed_at[-1] - began
    assert 100 / 20 - 0.3 < took_s < 100 / 20 + 0.3
    assert space.rows == 0
    space.close()


def test_a_topic_that_fails_rests_and_then_one_row_tries_for_all(space: Space) -> None:
    space.broker.away(AWAY)
    space.spooled(*(event(f"{number}", key=f"{number}") for number in range(20)))
    space.pass_time(10)
    tries = len(space.broker.handed_over)
    space.pass_time(60)
    assert 25 <= len(space.broker.handed_over) - tries <= 31  # one each two seconds
    space.broker.waits()
    space.pass_time(10)
    assert len(space.broker.under_way) == 1
    space.ack(*space.broker.under_way)
    space.pass_time(1)
    assert len(space.broker.under_way) == 19
    space.broker.takes_all()
    space.ack(*space.broker.under_way)
    space.pass_time(1)
    assert space.rows == 0


def test_one_topic_that_fails_holds_no_other_up(space: Space) -> None:
    space.broker.answers = lambda dedup_id: AWAY if dedup_id.endswith("@audit") else None
    space.spooled(event("a", "audit"))
    space.pass_time(5)  # it rests for two seconds now
    space.spooled(event("a"), event("b"))
    space.pass_time(0.1)
    assert space.broker.handed_over[-2:] == ["a@t", "b@t"]
    assert space.rows == 1
    space.broker.takes_all()


def test_many_failures_of_one_run_are_one_rest(space: Space) -> None:
    space.broker.away(AWAY)
    space.spooled(*(event(f"{number}") for number in range(20)))
    space.pass_time(0.2)
    space.broker.takes_all()
    space.pass_time(0.4)
    assert space.rows == 0


def test_a_row_that_has_failed_is_overtaken_by_none_of_its_run(space: Space) -> None:
    space.broker.answers = lambda dedup_id: AWAY if dedup_id == "0@t" else None
    space.spooled(*(event(f"{number}") for number in range(3)))
    space.pass_time(10)
    assert set(space.broker.handed_over) == {"0@t"}
    space.broker.takes_all()
    space.pass_time(5)
    assert space.broker.handed_over[-3:] == ["0@t", "1@t", "2@t"]
    assert space.rows == 0


def test_rows_that_nobody_takes_do_not_block_their_lane_however_many_they_are(space: Space) -> None:
    space.broker.answers = refuses_r
    space.spooled(*(event(f"r{number}") for number in range(40)), event("good"))
    space.pass_time(10)
    assert space.broker.handed_over.count("good@t") == 1
    assert space.rows == 40  # they were answered with success: kept
    space.spooled(event("newer"))
    space.pass_time(5)
    assert space.broker.handed_over.count("newer@t") == 1
    assert len(space.broker.handed_over) == 42  # and none is tried again


def test_rows_that_nobody_takes_do_not_block_their_lane_however_large_they_are(space: Space) -> None:
    """More of them than one read gives out."""
    space.broker.answers = refuses_r
    for number in range(6):
        space.spooled(event(f"r{number}", size=1_000_000))
    space.spooled(event("good"))
    space.pass_time(5)
    assert space.broker.handed_over[-1] == "good@t"
    assert space.rows == 6


def test_a_refused_row_goes_to_who_takes_it(tmp_path: Path) -> None:
    taken: list[str] = []
    reachable = False

    async def keep(row: Row, _refusal: RecordRefused) -> None:
        if not reachable:
            raise BrokerUnavailable("the dead letters' topic is away")
        taken.append(row.entry.record.dedup_id)

    space = Space(tmp_path, refused=keep)
    space.broker.answers = refuses_r
    space.spooled(event("r"), event("good"))
    space.pass_time(5)
    assert "r@t" in space.broker.handed_over
    assert space.rows >= 1
    reachable = True
    space.pass_time(5)
    assert (taken, space.rows) == (["r@t"], 0)
    assert space.broker.handed_over.count("good@t") == 1
    space.close()


def test_at_a_stop_in_the_middle_of_a_run_what_was_acknowledged_is_gone(space: Space) -> None:
    space.spooled(*(event(f"{number}") for number in range(20)))
    space.pass_time(1)
    assert len(space.broker.under_way) == 20
    space.ack(*(f"{number}@t" for number in range(1, 20)))
    space.stop_draining()
    space.pass_time(1)
    assert space.rows == 1
    assert not space.broker.under_way


def test_a_fault_of_ours_in_one_row_is_tried_again_without_the_others(space: Space) -> None:
    space.spooled(event("a"), event("b"))
    space.pass_time(1)
    space.fail("a@t", ZeroDivisionError())
    space.pass_time(3)
    assert space.broker.handed_over == ["a@t", "b@t"]  # b is under way: not a second time
    space.ack("b@t")
    space.pass_time(3)
    assert space.broker.handed_over == ["a@t", "b@t", "a@t"]
    space.ack("a@t")
    space.pass_time(1)
    assert space.rows == 0
