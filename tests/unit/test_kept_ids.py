"""The memory of ids over a restart: what is kept, for how long by which clock, and what a damaged file does."""

import os
from pathlib import Path

import pytest

from bridge.ingest.kept_ids import KeptIds
from bridge.ingest.seen import SeenIds
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics

WINDOW_S = 4500.0
SLICE_S = WINDOW_S / 4
START = 1_790_000_000.0


def key(number: int) -> bytes:
    return number.to_bytes(15, "little")


class Process:
    """One life of a bridge over a directory; time passes for its monotonic clock and, unless it jumps, on the wall."""

    def __init__(
        self,
        folder: Path,
        *,
        wall: float = START,
        max_ids: int = 10_000,
        source: str = "shop1",
        lost: int = 0,
    ) -> None:
        self.now = 50.0
        self.wall = wall
        self.folder = folder / source
        self.forgotten: list[int] = []
        self.seen = SeenIds(
            window_s=WINDOW_S,
            max_ids=max_ids,
            on_forgotten=self.forgotten.append,
            clock=lambda: self.now,
            collect=True,
        )
        self.kept = KeptIds(folder, Facts(Metrics()), wall_clock=lambda: self.wall)
        self.kept.trust(lost=lost)
        self.kept.restore(source, self.seen, window_s=WINDOW_S, now=self.now)

    async def passes(self, seconds: float) -> None:
        """Write, then let time pass."""
        await self.flush()
        self.now += seconds
        self.wall += seconds

    async def flush(self) -> None:
        before = {path: path.stat().st_size for path in self.files()}
        await self.kept.flush()
        for path in self.files():
            if before.get(path) != path.stat().st_size:
                os.utime(path, (self.wall, self.wall))

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.ids"), key=lambda path: int(path.stem))

    def sees(self, *numbers: int) -> list[bool]:
        return [self.seen.see(key(number)) for number in numbers]


async def test_what_was_durable_is_known_after_a_restart_and_counts_once(tmp_path: Path) -> None:
    first = Process(tmp_path)
    for number in range(100):
        first.seen.add(key(number))
    await first.passes(10)
    second = Process(tmp_path, wall=first.wall)
    assert all(second.sees(*range(100)))
    assert len(second.seen) == 100
    assert second.sees(100) == [False]
    await second.passes(10)
    third = Process(tmp_path, wall=second.wall)
    assert all(third.sees(*range(100)))
    assert len(third.seen) == 100


async def test_sources_do_not_know_each_others_ids(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.flush()
    assert Process(tmp_path, source="shop2").sees(1) == [False]


async def test_only_what_was_not_written_yet_is_forgotten_by_a_crash(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.passes(1)
    first.seen.add(key(2))
    assert Process(tmp_path, wall=first.wall).sees(1, 2) == [True, False]


async def test_the_window_goes_on_over_restarts_and_ends(tmp_path: Path) -> None:
    wall = START
    first = Process(tmp_path, wall=wall)
    first.seen.add(key(1))
    await first.flush()
    assert Process(tmp_path, wall=START + WINDOW_S - 2).sees(1) == [True]
    late = Process(tmp_path, wall=START + WINDOW_S + 1)
    assert late.sees(1) == [False]
    await late.flush()
    assert late.files() == []


async def test_a_restart_makes_the_window_no_longer(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.flush()
    second = Process(tmp_path, wall=START + WINDOW_S / 2)
    second.now += WINDOW_S / 2 + 1
    second.sees(2)
    second.now += SLICE_S
    assert second.sees(1) == [False]


async def test_the_window_counts_from_the_last_sight_in_another_slice(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.passes(2 * SLICE_S)
    assert first.sees(1) == [True]
    await first.flush()
    assert Process(tmp_path, wall=START + WINDOW_S + SLICE_S).sees(1) == [True]


async def test_after_a_restart_time_is_monotonic_whatever_the_wall_says(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.flush()
    second = Process(tmp_path, wall=START + 100)
    second.wall += 86_400
    assert second.sees(1) == [True]
    second.wall -= 2 * 86_400
    second.now += WINDOW_S + 3 * SLICE_S
    assert second.sees(1) == [False]


@pytest.mark.parametrize("jump_s", [-86_400.0, -1.0])
async def test_a_clock_set_back_makes_no_id_immortal(tmp_path: Path, jump_s: float) -> None:
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.flush()
    second = Process(tmp_path, wall=START + jump_s)
    assert second.sees(1) == [True]
    third = Process(tmp_path, wall=START + jump_s)
    third.now += WINDOW_S + 3 * SLICE_S
    assert third.sees(1) == [False]


async def test_a_torn_end_and_garbage_are_no_ids_and_the_rest_stands(tmp_path: Path) -> None:
    first = Process(tmp_path)
    for number in range(3):
        first.seen.add(key(number))
    await first.flush()
    (path,) = first.files()
    whole = path.read_bytes()
    for content, known in (
        (whole[:-7], [True, True, False]),
        (whole[:15] + bytes(20), [True, False, False]),
        (b"", [False] * 3),
        (whole + os.urandom(16), [True] * 3),
    ):
        path.write_bytes(content)
        os.utime(path, (START, START))
        (path.parent / "notes.txt").write_text("of somebody else")
        (path.parent / "x.ids").write_text("of somebody else")
        again = Process(tmp_path)
        assert again.sees(0, 1, 2) == known
        assert len(again.seen) <= len(content) // 15


async def test_what_the_cap_forgets_leaves_the_disk_too(tmp_path: Path) -> None:
    process = Process(tmp_path, max_ids=80)
    for number in range(1000):
        process.seen.add(key(number))
        if number % 50 == 0:
            await process.passes(1)
    await process.passes(1)
    assert sum(path.stat().st_size for path in process.files()) <= 80 * 15
    again = Process(tmp_path, wall=process.wall, max_ids=80)
    assert len(again.seen) == len(process.seen)
    smaller = Process(tmp_path, wall=process.wall, max_ids=40)
    assert len(smaller.seen) <= 40
    assert sum(smaller.forgotten) + len(smaller.seen) == len(process.seen)
    assert smaller.sees(999) == [True]


async def test_a_new_life_writes_no_file_of_an_old_one(tmp_path: Path) -> None:
    """Its end may be torn, and what came after it would not be where an id begins."""
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.flush()
    (path,) = first.files()
    before = path.read_bytes()
    second = Process(tmp_path)
    second.seen.add(key(2))
    await second.flush()
    assert path.read_bytes() == before
    assert Process(tmp_path).sees(1, 2) == [True, True]


async def test_when_rows_are_lost_all_is_forgotten_so_that_retries_are_published(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.flush()
    second = Process(tmp_path, lost=3)
    assert second.sees(1) == [False]
    second.seen.add(key(2))
    await second.flush()
    assert Process(tmp_path, lost=3).sees(1, 2) == [False, True]


async def test_no_source_has_the_name_of_the_mark_that_rows_were_lost(tmp_path: Path) -> None:
    first = Process(tmp_path, source="lost")
    first.seen.add(key(1))
    await first.flush()
    assert Process(tmp_path, source="lost").sees(1) == [True]
    assert Process(tmp_path, source="lost", lost=3).sees(1) == [False]


async def test_what_was_lost_is_not_trusted_by_a_later_start_either(tmp_path: Path) -> None:
    """The spool says it once: a start that is cut off, or `drain`, may have been the one that heard it."""
    first = Process(tmp_path)
    first.seen.add(key(1))
    await first.flush()
    Process(tmp_path, lost=3)  # killed before it wrote anything
    assert Process(tmp_path, lost=3).sees(1) == [False]


async def test_a_disk_that_fails_costs_nothing_but_memory_over_restarts(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.folder.rmdir()
    process.folder.write_text("in the way")
    process.seen.add(key(1))
    await process.kept.flush()
    assert process.sees(1) == [True]
    process.folder.unlink()
    process.folder.mkdir()
    process.seen.add(key(2))
    await process.flush()
    assert Process(tmp_path).sees(1, 2) == [False, True]


async def test_nothing_is_written_while_nothing_comes(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.seen.add(key(1))
    await process.flush()
    times = [path.stat().st_mtime_ns for path in process.files()]
    for _ in range(3):
        assert process.sees(1) == [True]
        await process.kept.flush()
    assert [path.stat().st_mtime_ns for path in process.files()] == times


def test_a_table_that_nobody_keeps_collects_nothing() -> None:
    seen = SeenIds(window_s=WINDOW_S, max_ids=100)
    seen.add(key(1))
    assert seen.unsaved().ids == []
