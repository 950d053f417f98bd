"""`bridge.events.Deduplicator`: what it must know, what it must not, and that it stays small."""

from datetime import timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.events import Deduplicator

WINDOW_S = 60


class Seen(NamedTuple):
    source: str
    id: str


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


EVENTS = [Seen("/a/devices/1", "1"), Seen("/a/devices/1", "2"), Seen("/a/devices/12", "1"), Seen("/b", "é")]
STEPS = st.lists(st.tuples(st.sampled_from([0, 0, 1, 20, 59, 60]), st.sampled_from(EVENTS)), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_it_drops_what_it_saw_within_the_bound_and_never_what_it_did_not(
    steps: list[tuple[int, Seen]], max_ids: int
) -> None:
    """Against the plain truth: every event with the time of its last handling."""
    clock, handled = Clock(), dict[Seen, float]()
    seen = Deduplicator(max_ids=max_ids, window=timedelta(seconds=WINDOW_S), clock=clock)
    for pause, event in steps:
        clock.now += pause
        newest = sorted(handled, key=lambda other: (handled[other], list(handled).index(other)))[-max_ids:]
        within = event in newest and clock.now - handled[event] < WINDOW_S
        assert (event in seen) == within
        assert (event in seen) == within  # asking changes nothing
        handled.pop(event, None)
        handled[event] = clock.now
        seen.add(event)
        assert event in seen
        assert len(seen) <= max_ids


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), unique=True, max_size=30))
def test_no_two_events_are_taken_for_one(identities: list[tuple[str, str]]) -> None:
    seen = Deduplicator()
    for identity in identities:
        assert Seen(*identity) not in seen
        seen.add(Seen(*identity))


def test_memory_does_not_grow_with_the_length_of_ids_or_the_number_of_events() -> None:
    seen = Deduplicator(max_ids=10)
    for number in range(1000):
        seen.add(Seen("/s" * 1000, f"{number}" * 1000))
    assert len(seen) == 10
    assert {len(key) for key in seen._added_at} == {16}


def test_events_past_their_time_make_room() -> None:
    clock = Clock()
    seen = Deduplicator(window=timedelta(seconds=WINDOW_S), clock=clock)
    for number in range(100):
        seen.add(Seen("/s", str(number)))
    clock.now += WINDOW_S
    seen.add(Seen("/s", "new"))
    assert len(seen) == 1


@pytest.mark.parametrize("wrong", [{"max_ids": 0}, {"window": timedelta(0)}])
def test_a_bound_of_nothing_is_refused(wrong: dict[str, int | timedelta]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Deduplicator(**wrong)  # type: ignore[arg-type]
