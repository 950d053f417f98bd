"""The spool's disk is full, or fails."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.spool.opening import read_kept
from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import BOTH, MakeStage
from tests.faults.disks import Disk, FailingSync
from tests.processes import wait_until

MIB = 1024 * 1024
MIN_FREE_MIB = 16
CALLS = 9
SLOW_S = 0.3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path, 64).mounted() as disk:
        yield disk


@BOTH
async def test_row_20_the_spools_disk_is_full(stage: MakeStage, kind: str, disk: Disk) -> None:
    """First to the bound that it keeps free, then to the last byte; when there is room again nobody has to help."""
    settings = {"BRIDGE_SPOOL_MIN_FREE_BYTES": str(MIN_FREE_MIB * MIB), "BRIDGE_DATA_DIR": str(disk.path / "data")}
    row = stage(kind, spool=True, **settings)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url, text_bytes=4000) as provider:
        await provider.more_acknowledged(50)
        await row.kill_brokers()
        await provider.more_acknowledged(50)
        await asyncio.to_thread(disk.fill, (MIN_FREE_MIB + 1) * MIB)
        await provider.more_refused(50)
        await asyncio.to_thread(disk.fill)
        await provider.more_refused(50)
        await row.start_brokers()
        await row.healed()
        await provider.more_acknowledged(50)
        disk.clear()
        await row.drained()
        await row.kill_brokers()
        await provider.more_acknowledged(50)
        await row.start_brokers()
        await row.healed()
        await row.drained()
        verdict = await row.judge(provider)
    assert not verdict.given_up
    assert verdict.answers.keys() <= {"200", "broker_unavailable", "spool_unavailable", "deadline_exceeded"}


@BOTH
async def test_row_21_an_fsync_of_the_spool_fails(stage: MakeStage, kind: str, tmp_path: Path) -> None:
    """The bridge ends, and acknowledges nothing more before; what it had acknowledged is there after a restart."""
    failing = FailingSync(tmp_path / "calls", "error=EIO:when=40+")
    row = stage(kind, spool=True, within=failing.within)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        await row.kill_brokers()
        code = await row.bridge_ends()
        await row.start_brokers()
        restarted = time.monotonic()
        row.bridge.within = ()
        await row.start_bridge()
        await provider.more_acknowledged(50)
        await row.drained()
        verdict = await row.judge(provider)
    assert code != 0
    failure = await asyncio.to_thread(wait_until, failing.first_failure)
    failed = failure - time.time() + time.monotonic()
    sent_after = [attempt for attempt in provider.attempts() if failed < attempt.sent < restarted]
    assert sent_after
    assert not any(attempt.succeeded for attempt in sent_after)
    assert not verdict.given_up


async def test_row_21_no_success_before_the_fsync_has_returned(stage: MakeStage, tmp_path: Path) -> None:
    slow = FailingSync(tmp_path / "calls", f"delay_enter={round(SLOW_S * 1e6)}:when=20+")
    row = stage("nats", spool=True, within=slow.within)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await row.kill_brokers()
        began = await asyncio.to_thread(wait_until, slow.first_failure)
        spooling = time.monotonic() - (time.time() - began)
        await provider.more_acknowledged(100)
        await row.start_brokers()
        back = time.monotonic()
        await row.judge(provider)
    spooled = [attempt for attempt in provider.attempts() if attempt.sent > spooling and attempt.ended < back]
    assert len(spooled) > 50
    assert min(attempt.ended - attempt.sent for attempt in spooled) > SLOW_S


def kept_outside(spool: Path) -> int:
    """How many rows the totals beside the spool's file tell of; they are written once a second."""
    kept = read_kept(spool / "totals.json")
    return kept.totals.rows if kept else 0


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def zero(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8192] = bytes(8192)
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip, zero, remove])
async def test_row_24_the_spools_file_is_damaged(stage: MakeStage, damage: Callable[[Path], None]) -> None:
    """The bridge starts all the same, drains what is left of it, and counts what is not."""
    row = stage("nats", spool=True)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(20)
        await row.kill_brokers()
        await provider.more_acknowledged(100)
        await provider.finish()
        rows = await row.counted("spool_rows")
        await asyncio.to_thread(wait_until, lambda: rows == kept_outside(row.bridge.data_dir / "spool"))
        await row.kill_bridge()
        for path in (row.bridge.data_dir / "spool").glob("spool.db*"):
            damage(path)
        await row.start_brokers()
        await row.start_bridge()
        await row.healed()
        await row.drained()
        lost = await row.counted("spool_lost")
        verdict = await row.judge(provider, losses=lost)
    assert lost > 0 or not verdict.lost
    if damage is not remove:
        assert len(verdict.lost) < 100


async def test_row_22_the_bridge_is_killed_at_each_fsync_of_its_spool(stage: MakeStage, tmp_path: Path) -> None:
    row = stage("nats", spool=True)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url, rate=20) as provider:
        await provider.more_acknowledged(10)
        await row.kill_brokers()
        for number in range(1, CALLS):
            await row.kill_bridge()
            row.bridge.within = FailingSync(tmp_path / f"calls-{number}", f"signal=SIGKILL:when={number}").within
            await row.run_bridge_until_it_dies(within_s=3)
            if number == CALLS // 2:
                await row.start_brokers()
        await row.kill_bridge()
        row.bridge.within = ()
        await row.start_bridge()
        await row.healed()
        await row.judge(provider)
