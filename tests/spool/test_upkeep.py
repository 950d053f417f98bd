"""What the spool does by itself: its canary, its totals, the merge of its log; and that it is one bridge's alone."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.errors import ConfigError, SpoolFailed, SpoolFull
from bridge.spool.model import Entry
from bridge.spool.opening import read_kept
from bridge.spool.spool import Spool
from bridge.spool.sql import SQLITE, encode
from tests.spool.entries import entry, ids_of, quick_folder, store_in
from tests.virtual_time import VirtualLoop

LANE = ("t.a", "480213")


class Bench:
    """A spool in virtual time, whose jobs take none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "spool" / "spool.db-wal"
        self.loop = VirtualLoop()
        self.store = store_in(folder)
        self.spool = self.run(self._opened())

    async def _opened(self) -> Spool:
        async def run(job: Callable[[], Any]) -> Any:
            return job()

        spool = Spool(self.store, min_free_bytes=0, run=run)
        await spool.open()
        return spool

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def append(self, number: int) -> None:
        async def append() -> None:
            await self.spool.append([entry(number)])

        self.run(append())

    def age(self) -> float | None:
        async def state() -> float | None:
            return self.spool.state().canary_age_s

        age: float | None = self.run(state())
        return age


@pytest.fixture
def bench() -> Iterator[Bench]:
    with quick_folder() as folder:
        bench = Bench(folder)
        yield bench
        bench.run(bench.spool.close())
        bench.loop.close()


def test_a_spool_that_nobody_needs_is_written_to_each_minute(bench: Bench) -> None:
    bench.loop.settle()
    ages = []
    written = {bench.log.read_bytes()}
    for _ in range(300):
        bench.loop.pass_time(1)
        ages.append(bench.age())
        written.add(bench.log.read_bytes())
    assert None not in ages
    assert 58 < max(age for age in ages if age is not None) <= 61
    assert sum(age == 0 for age in ages) in (4, 5)
    assert len(written) > 4  # SQLite writes nothing where a row is updated to what it is
    bench.append(1)
    assert bench.age() == 0


def test_the_age_grows_while_nothing_can_be_written(bench: Bench) -> None:
    bench.loop.settle()
    bench.store.write = no_room  # type: ignore[method-assign]
    bench.loop.pass_time(200)
    assert (bench.age() or 0) > 190
    del bench.store.write


def no_room(*_batch: object) -> None:
    raise SpoolFull("no room")


def test_the_totals_are_kept_outside_of_the_file_within_a_second_or_two(bench: Bench) -> None:
    for number in range(3):
        bench.append(number)
    bench.loop.pass_time(2)
    kept = read_kept(bench.folder / "spool" / "totals.json")
    assert kept is not None
    assert (kept.totals.accepted, kept.totals.deleted) == (3, 0)


def test_when_nothing_is_to_do_the_log_is_merged_into_the_file(bench: Bench) -> None:
    for number in range(3):
        bench.append(number)
    bench.loop.pass_time(5)
    with quick_folder() as copy:
        (copy / "spool").mkdir()
        (copy / "spool" / "spool.db").write_bytes((bench.folder / "spool" / "spool.db").read_bytes())
        alone = store_in(copy)
        assert ids_of(alone) == ["e0@t.a", "e1@t.a", "e2@t.a"]
        alone.close()


def test_the_log_does_not_grow_without_end_under_load(bench: Bench) -> None:
    async def load() -> None:
        """Never idle: all is handed over at once."""
        entries = [entry(number, size=5000) for number in range(4000)]
        await asyncio.gather(*(bench.spool.append(entries[at : at + 100]) for at in range(0, 4000, 100)))

    bench.run(load())
    assert bench.log.stat().st_size < 12_000_000  # of 20 MB appended


def test_a_merge_that_finds_no_room_is_tried_again_each_second_and_holds_no_end_up(bench: Bench) -> None:
    tries = 0

    def no_room_to_merge() -> None:
        nonlocal tries
        tries += 1
        raise SpoolFull("no room")

    bench.store.checkpoint = no_room_to_merge  # type: ignore[method-assign]
    bench.store._unmerged = 2000  # pages in the log: far more than it waits for
    bench.append(1)
    bench.loop.pass_time(10)
    assert 5 < tries < 15
    bench.run(asyncio.wait_for(bench.spool.close(), 5))
    del bench.store.checkpoint


def test_a_log_that_grew_while_it_could_not_be_merged_gives_its_room_back(bench: Bench) -> None:
    """Even where there is no room for one file more, and nothing is appended meanwhile."""

    def no_room_to_merge() -> None:
        raise SpoolFull("no room")

    def no_room_beside_the_log() -> None:
        if bench.log.stat().st_size > 5_000_000:
            raise SpoolFull("no room")

    bench.store.checkpoint = no_room_to_merge  # type: ignore[method-assign]
    for number in range(20):
        bench.run(appended(bench.spool, [entry(number * 100 + row, size=5000) for row in range(100)]))
    assert bench.log.stat().st_size > 9_000_000
    del bench.store.checkpoint
    bench.store.save_totals = no_room_beside_the_log  # type: ignore[method-assign]
    bench.loop.pass_time(10)
    assert bench.log.stat().st_size < 5_000_000
    bench.run(appended(bench.spool, [entry(1_000_000)]))
    del bench.store.save_totals


async def appended(spool: Spool, entries: list[Entry]) -> None:
    """Hand them over until they are taken."""
    async with asyncio.timeout(30):
        while True:
            try:
                await spool.append(entries)
            except SpoolFull:
                await asyncio.sleep(1)
            else:
                return


def test_a_second_bridge_on_the_directory_is_refused_by_name(tmp_path: Path) -> None:
    first = store_in(tmp_path)
    ids_of(first)
    first.write([encode(entry(1))])
    with pytest.raises(ConfigError, match=r"BRIDGE_DATA_DIR: .* in use by another bridge, which holds .*/spool/lock"):
        ids_of(store_in(tmp_path))
    first.write([encode(entry(2))])  # and the first one goes on
    first.close()
    second = store_in(tmp_path)
    assert len(ids_of(second)) == 2
    second.close()


def test_no_other_process_reads_or_writes_the_file_meanwhile(tmp_path: Path) -> None:
    """Whatever it thinks of our lock: SQLite's own is held, too."""
    store = store_in(tmp_path)
    ids_of(store)
    program = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM rows'))"
    command = [sys.executable, "-c", program, str(tmp_path / "spool" / "spool.db")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "database is locked" in result.stderr
    store.close()


def test_a_start_that_does_not_get_to_look_leaves_the_totals_that_tell_of_losses(tmp_path: Path) -> None:
    """Somebody looks into the file with a tool of SQLite's, say."""
    store = store_in(tmp_path)
    ids_of(store)
    store.write([encode(entry(1))])
    store.close()
    other = SQLITE.connect(str(tmp_path / "spool" / "spool.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigError, match="in use by another process"):
        ids_of(store_in(tmp_path))
    other.close()
    (tmp_path / "spool" / "spool.db").unlink()
    assert store_in(tmp_path).open(lambda *_row: None).lost == 1


@pytest.mark.parametrize(
    ("statement", "answer"), [("journal_mode", "delete"), ("synchronous", 1), ("locking_mode", "normal")]
)
def test_a_sqlite_that_does_not_do_as_it_is_told_is_not_used(tmp_path: Path, statement: str, answer: object) -> None:
    class Deaf:
        def __init__(self, path: str) -> None:
            self.db = SQLITE.connect(path)

        def execute(self, sql: str, parameters: Any = ()) -> Any:
            return iter([(answer,)]) if sql.startswith(f"PRAGMA {statement}") else self.db.execute(sql, parameters)

        def close(self) -> None:
            self.db.close()

    store = store_in(tmp_path, driver=msgspec.structs.replace(SQLITE, connect=Deaf))
    with pytest.raises(SpoolFailed, match=f"SQLite has {statement} {answer!r}, where it must have"):
        ids_of(store)
