"""Places shared fairly, and the rate of a source: nobody is let in beyond them, and nobody kept out within them."""

from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.ingest.admission import Pool, RateLimit, Share

SECOND_NS = 1_000_000_000


class Life(NamedTuple):
    """Sources that come and go, as they like: the number of a source, and whether it comes."""

    size: int
    sources: int
    moves: list[tuple[int, bool]]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    sources = draw(st.integers(1, 5))
    size = draw(st.integers(sources, 24))
    moves = st.lists(st.tuples(st.integers(0, sources - 1), st.sampled_from([True, True, False])), max_size=80)
    return Life(size, sources, draw(moves))


@given(lives())
@example(Life(2, 2, [(0, True), (0, True), (1, True)]))  # one that takes all it gets leaves the other its place
@example(Life(8, 2, [(0, True)] * 9 + [(1, True)] * 3 + [(0, False)] * 9 + [(1, True)] * 9))
def test_no_more_are_let_in_than_there_are_places_and_a_source_below_its_own_part_always_is(life: Life) -> None:
    pool = Pool(life.size, life.sources)
    shares = [pool.share() for _ in range(life.sources)]
    assert pool.own >= max(1, life.size // (2 * life.sources))
    for number, comes in life.moves:
        share, before = shares[number], shares[number].taken
        if comes:
            others_beyond = sum(max(0, other.taken - pool.own) for other in shares if other is not share)
            let_in = share.take()
            assert share.taken == before + let_in
            assert let_in or before >= pool.own, "kept out of its own part"
            assert let_in == (before < share.most - others_beyond), "a place stays empty that is kept for nobody else"
        elif before:
            share.give_back()
        assert sum(share.taken for share in shares) <= life.size
    for share in shares:
        while share.taken:
            share.give_back()
    assert pool.free == pool.common == life.size - pool.own * life.sources


@pytest.mark.parametrize(("sources", "most"), [(1, 1024), (2, 768), (10, 565), (1024, 1)])
def test_a_source_that_is_busy_alone_gets_more_than_half_of_all_places(sources: int, most: int) -> None:
    pool = Pool(1024, sources)
    share: Share = pool.share()
    while share.take():
        pass
    assert share.taken == share.most == most


def test_a_pool_with_fewer_places_than_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="3 sources"):
        Pool(2, 3)


class Clock:
    """Nanoseconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 7

    def __call__(self) -> int:
        return self.now


RATES = st.tuples(st.integers(1, 300), st.sampled_from([1, 60, 3600]))


@given(RATES, st.lists(st.integers(0, 3 * SECOND_NS), max_size=60))
@example((3, 1), [])
def test_a_source_gets_its_rate_and_no_more_and_what_it_is_told_about_the_next_is_true(
    rate: tuple[int, int], pauses: list[int]
) -> None:
    (count, period_s), clock = rate, Clock()
    limit = RateLimit(count, period_s, clock)
    began, let_in = clock.now, 0
    for pause in [0] * count + pauses:
        clock.now += pause
        wait_s = limit.charge()
        let_in += not wait_s
        assert let_in <= count + (clock.now - began) // (period_s * SECOND_NS // count), "so many at once, then evenly"
        if wait_s:
            assert let_in >= count
            clock.now += wait_s * SECOND_NS
            assert limit.charge() == 0, "Retry-After was too early"
            let_in += 1


def test_a_rate_is_spent_at_once_and_comes_back_evenly() -> None:
    clock = Clock()
    limit = RateLimit(3, 60, clock)
    assert [limit.charge() for _ in range(5)] == [0, 0, 0, 20, 20]
    clock.now += 5 * SECOND_NS
    assert limit.charge() == 15
    clock.now += 15 * SECOND_NS - 1
    assert limit.charge() == 1, "whole seconds, never too few"
    clock.now += 1
    assert [limit.charge(), limit.charge()] == [0, 20]
    clock.now += 3600 * SECOND_NS
    assert [limit.charge() for _ in range(4)] == [0, 0, 0, 20], "what is not used does not pile up"
