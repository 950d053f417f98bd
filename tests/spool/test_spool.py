"""The spool's asyncio face: lanes, groups, bounds, and what it says of itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.errors import SpoolError, SpoolFailed, SpoolFull
from bridge.spool.batches import Done
from bridge.spool.spool import Spool
from tests.spool.entries import AT, entry, store_in

LANE = ("t.a", "480213")


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(store_in(tmp_path), min_free_bytes=0)
    await spool.open()
    yield spool
    await spool.close()


async def test_what_was_appended_is_read_in_order_and_gone_when_deleted(spool: Spool) -> None:
    entries = [entry(number) for number in range(5)]
    done = spool.append(entries)
    assert spool.lanes == {LANE: 5}  # at once: newer events queue behind
    seqs = await done
    rows = await spool.read(LANE, 3)
    assert [row.entry for row in rows] == entries[:3]
    assert [row.seq for row in rows] == list(seqs[:3]) == sorted(seqs[:3])
    deleted = spool.delete(rows)
    assert spool.lanes == {LANE: 2}
    await deleted
    assert [row.entry for row in await spool.read(LANE, 10)] == entries[3:]


async def test_lanes_keep_their_rows_apart_and_the_oldest_lane_is_first(spool: Spool) -> None:
    await spool.append([entry(1, key="b"), entry(2, key="a"), entry(3, key="b")])
    assert list(spool.lanes.items()) == [(("t.a", "b"), 2), (("t.a", "a"), 1)]
    assert [row.entry for row in await spool.read(("t.a", "b"), 10)] == [entry(1, key="b"), entry(3, key="b")]
    assert await spool.read(("t.a", "c"), 10) == []


async def test_of_equal_ids_one_row_stands_and_the_lanes_stay_true(spool: Spool) -> None:
    first = await spool.append([entry(1)])
    again = await spool.append([entry(1), entry(2)])
    assert again[0] == first[0]
    assert spool.lanes == {LANE: 2}
    assert spool.state().rows == 2
    assert spool.state().totals.accepted == 2


async def test_rows_and_lanes_outlive_the_process(tmp_path: Path) -> None:
    spool = Spool(store_in(tmp_path), min_free_bytes=0)
    await spool.open()
    seqs = await spool.append([entry(1, key="b"), entry(2, key="a"), entry(3, key="b")])
    await spool.close()
    spool = Spool(store_in(tmp_path), min_free_bytes=0)
    ids: list[tuple[str, str]] = []
    opened = await spool.open(lambda source, dedup_id: ids.append((source, dedup_id)))
    assert (opened.rows, opened.lost, opened.quarantined) == (3, 0, None)
    assert list(spool.lanes.items()) == [(("t.a", "b"), 2), (("t.a", "a"), 1)]
    assert ids == [("shop1", f"e{number}@t.a") for number in (1, 2, 3)]
    assert spool.state().oldest_at == AT
    assert min(await spool.append([entry(4)])) > max(seqs)
    await spool.close()


async def test_a_spool_that_is_not_open_takes_and_gives_nothing(tmp_path: Path) -> None:
    spool = Spool(store_in(tmp_path))
    with pytest.raises(SpoolError, match="not open"):
        await spool.append([entry(1)])
    with pytest.raises(SpoolError, match="not open"):
        await spool.read(LANE, 1)
    assert not spool.state().accepting
    assert spool.lanes == {}
    await spool.close()


async def test_closing_finishes_what_was_handed_over(tmp_path: Path) -> None:
    spool = Spool(store_in(tmp_path), min_free_bytes=0)
    await spool.open()
    first, second = spool.append([entry(1)]), spool.append([entry(2)])
    await spool.close()
    assert first.done()
    assert len(await second) == 1
    with pytest.raises(SpoolError, match="not open"):
        await spool.append([entry(3)])


async def test_closing_again_is_nothing(tmp_path: Path) -> None:
    spool = Spool(store_in(tmp_path), min_free_bytes=0)
    await spool.open()
    await spool.close()
    await spool.close()


async def test_a_cancelled_append_leaves_the_row(spool: Spool) -> None:
    spool.append([entry(1)]).cancel()
    await spool.append([entry(2)])
    assert spool.lanes == {LANE: 2}
    assert len(await spool.read(LANE, 10)) == 2


async def test_what_comes_while_a_group_is_written_makes_the_next_one(tmp_path: Path) -> None:
    gate = asyncio.Event()
    jobs = 0

    async def run(job: object) -> object:
        nonlocal jobs
        jobs += 1
        await gate.wait()
        return job()  # type: ignore[operator]

    spool = Spool(store_in(tmp_path), min_free_bytes=0, run=run)
    gate.set()
    await spool.open()
    await spool.append([entry(0)])
    jobs = 0
    gate.clear()
    waiting = [spool.append([entry(number)]) for number in range(1, 1000)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*waiting)
    assert jobs == 3  # the first alone, then 512, then the rest
    await spool.close()


async def test_reads_at_once_share_a_job_until_their_rows_are_large(tmp_path: Path) -> None:
    jobs = 0

    async def run(job: object) -> object:
        nonlocal jobs
        done = job()  # type: ignore[operator]
        jobs += bool(isinstance(done, Done) and done.rows)  # upkeep has a job of its own once a second
        return done

    spool = Spool(store_in(tmp_path), min_free_bytes=0, run=run)
    await spool.open()
    small = [entry(number, key=f"s{number}") for number in range(50)]
    large = [entry(100 + number, key=f"l{number}", size=3_000_000) for number in range(4)]
    await spool.append([*small, *large])
    for entries, expected in ((small, 2), (large, 3)):  # the first alone; then all, or two and one
        jobs = 0
        found = await asyncio.gather(*(spool.read(("t.a", item.record.key), 10) for item in entries))
        assert [row.entry for rows in found for row in rows] == entries
        assert jobs <= expected
    await spool.close()


async def test_a_full_spool_refuses_warns_before_and_takes_again_after_a_drain(tmp_path: Path) -> None:
    bound = 400 * 4096
    spool = Spool(store_in(tmp_path, max_bytes=bound), max_bytes=bound, min_free_bytes=0)
    await spool.open()
    number = 0
    warned_at = None
    while True:
        try:
            await spool.append([entry(number + more, size=3000) for more in range(2)])
        except SpoolFull as error:
            assert "the spool is full" in str(error)  # noqa: PT017 -- the loop ends here
            break
        number += 2
        warned_at = warned_at or (spool.state().warning and spool.state().bytes)
    assert warned_at is not None
    assert 0.80 <= warned_at / bound < 0.82
    assert 0.95 <= spool.state().bytes / bound < 0.96
    assert not spool.state().accepting
    assert spool.lanes == {LANE: number}  # nothing was evicted, and the one refused is not counted
    while rows := await spool.read(LANE, 50):
        await spool.delete(rows)
        number -= len(rows)
    assert number == 0
    assert spool.state().accepting
    await spool.append([entry(10_000)])
    await spool.close()


async def test_nothing_is_taken_while_the_disk_has_less_than_must_stay_free(tmp_path: Path) -> None:
    spool = Spool(store_in(tmp_path), min_free_bytes=1 << 60)
    await spool.open()
    with pytest.raises(SpoolFull, match="bytes are free"):
        await spool.append([entry(1)])
    assert spool.lanes == {}
    await spool.close()


async def test_a_failing_job_ends_the_spool_for_good(tmp_path: Path) -> None:
    broken = False

    async def run(job: object) -> object:
        if broken:
            raise OSError(5, "Input/output error")
        return job()  # type: ignore[operator]

    spool = Spool(store_in(tmp_path), min_free_bytes=0, run=run)
    await spool.open()
    await spool.append([entry(1)])
    broken = True
    first, second = spool.append([entry(2)]), spool.append([entry(3)])
    for future in (first, second):
        with pytest.raises(SpoolFailed):
            await future
    assert spool.failed.done()
    assert spool.lanes == {LANE: 1}
    broken = False
    with pytest.raises(SpoolFailed):
        await spool.append([entry(4)])
    with pytest.raises(SpoolFailed):
        await spool.read(LANE, 1)
    assert "Input/output error" in str(spool.state().reason)
    await spool.close()
