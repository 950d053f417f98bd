"""The memory of ids: what it keeps, for how long, and what it forgets first."""

import gc

from bridge.ingest.seen import SeenIds

WINDOW_S = 4500.0
SLICE_S = WINDOW_S / 4


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(number: int) -> bytes:
    return number.to_bytes(15, "little")


def make(clock: Clock, *, max_ids: int = 10_000) -> tuple[SeenIds, list[int]]:
    forgotten: list[int] = []
    return SeenIds(window_s=WINDOW_S, max_ids=max_ids, on_forgotten=forgotten.append, clock=clock), forgotten


def ids(seen: SeenIds) -> set[bytes]:
    """What is remembered; asking with `see` would change it."""
    return set(seen._young).union(*(old.ids for old in seen._old))


def test_an_id_is_unknown_until_it_is_added() -> None:
    seen, _ = make(Clock())
    assert not seen.see(key(1))
    assert not seen.see(key(1))  # asking is not adding
    seen.add(key(1))
    assert seen.see(key(1))
    assert not seen.see(key(2))


def test_an_id_is_remembered_for_the_window_and_hardly_longer() -> None:
    for age in (0.0, WINDOW_S / 2, WINDOW_S - 1):
        clock = Clock()
        seen, _ = make(clock)
        seen.add(key(1))
        clock.now += age
        assert seen.see(key(1)), age
    clock = Clock()
    seen, forgotten = make(clock)
    seen.add(key(1))
    clock.now += WINDOW_S + 2 * SLICE_S
    assert not seen.see(key(1))
    assert not len(seen)
    assert not forgotten  # its time was over


def test_the_window_counts_from_the_last_sight() -> None:
    clock = Clock()
    seen, _ = make(clock)
    seen.add(key(1))
    for _ in range(20):
        clock.now += WINDOW_S - 1
        assert seen.see(key(1))
    assert len(seen) == 1
    clock.now += WINDOW_S + 2 * SLICE_S
    assert not seen.see(key(1))


def test_the_chatlevel_schedule_stays_inside_the_window() -> None:
    clock = Clock()
    seen, _ = make(clock)
    seen.add(key(1))
    for pause in (30, 60, 300, 3600):
        for other in range(50):  # whatever else happens meanwhile
            clock.now += pause / 50
            assert seen.see(key(1000 + other)) or seen.add(key(1000 + other)) is None
        assert seen.see(key(1))


def test_after_idle_hours_nothing_is_taken_for_recent() -> None:
    clock = Clock()
    seen, _ = make(clock)
    seen.add(key(1))
    clock.now += 100 * WINDOW_S
    assert not seen.see(key(1))


def test_the_number_of_ids_is_capped_and_the_oldest_go_first_and_are_counted() -> None:
    clock = Clock()
    seen, forgotten = make(clock, max_ids=80)
    for number in range(200):
        clock.now += 1
        seen.add(key(number))
        assert len(seen) <= 80
    assert sum(forgotten) == 200 - len(seen)
    assert len(seen) > 60
    assert ids(seen) == {key(number) for number in range(200 - len(seen), 200)}


def test_an_id_seen_again_is_not_among_the_oldest_and_never_counted_twice() -> None:
    clock = Clock()
    seen, forgotten = make(clock, max_ids=80)
    seen.add(key(0))
    for number in range(1, 500):
        seen.add(key(number))
        assert seen.see(key(0))
        assert len(seen) <= 80
    assert sum(forgotten) == 500 - len(seen)


def test_seeing_ids_again_forgets_none() -> None:
    seen, forgotten = make(Clock(), max_ids=80)
    for number in range(80):
        seen.add(key(number))
    for _ in range(3):
        assert all(seen.see(key(number)) for number in range(80))
    assert (len(seen), len(ids(seen)), forgotten) == (80, 80, [])


def test_the_smallest_cap_works() -> None:
    seen, forgotten = make(Clock(), max_ids=1)
    for number in range(5):
        seen.add(key(number))
        assert seen.see(key(number))
        assert len(seen) == 1
    assert sum(forgotten) == 4


def test_old_generations_are_dropped_without_being_searched() -> None:
    """Each call does a bounded amount of work: at most one generation is dropped, and none is walked through."""
    clock = Clock()
    seen, _ = make(clock, max_ids=8000)
    for number in range(8000):
        seen.add(key(number))
    clock.now += 10 * WINDOW_S
    assert not seen.see(key(1))
    assert not len(seen)


def test_the_garbage_collector_does_not_walk_through_the_ids() -> None:
    seen, _ = make(Clock())
    for number in range(100):
        seen.add(key(number))
    gc.collect()
    assert not gc.is_tracked(seen._young)
