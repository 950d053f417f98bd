"""The spool's file against its disk: killed at every call that makes something durable, failing, and full."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import SpoolFull
from bridge.spool.spool import Spool
from tests.spool.entries import entry, ids_of, store_in

pytestmark = pytest.mark.faults
CALLS = "fdatasync,fsync,unlink,unlinkat,rename,renameat,renameat2,ftruncate,pwrite64"


class Run:
    """A cycle that was run, and what it said."""

    def __init__(self, folder: Path, *inject: str) -> None:
        self.folder = folder
        folder.mkdir()
        assert shutil.which("strace"), "this row needs strace"
        strace = ["strace", "-f", "-qq", "-o", str(folder / "trace"), "-e", f"trace={CALLS}"]
        strace += [part for fault in inject for part in ("-e", f"inject={fault}")]
        command = [sys.executable, "-m", "tests.faults.spool_cycle", str(folder)]
        result = subprocess.run([*strace, *command], capture_output=True, text=True, check=False, timeout=50)
        self.code, self.reason = result.returncode, result.stderr
        said = [line.partition(" ")[::2] for line in result.stdout.splitlines()]
        self.took = {what for word, what in said if word == "took"}
        self.gave = {what for word, what in said if word == "gave"}
        self.full = [what for word, what in said if word == "full"]
        self.words = [word for word, _what in said]

    def calls(self) -> list[str]:
        return re.findall(r"^\d+ +(\w+)\(", (self.folder / "trace").read_text(), re.MULTILINE)

    def found(self) -> set[str]:
        """What the next start finds; nothing is damaged."""
        store = store_in(self.folder)
        ids: list[str] = []
        opened = store.open(lambda _lane, _source, dedup_id: ids.append(dedup_id))
        store.close()
        assert (opened.quarantined, opened.lost, opened.reason) == (None, 0, None)
        assert len(set(ids)) == len(ids)
        return set(ids)


def test_row_22_killed_at_each_call_that_makes_something_durable_no_taken_row_is_missing(tmp_path: Path) -> None:
    """Row 22: crash at every fsync, unlink, rename and write of one cycle."""
    whole = Run(tmp_path / "whole")
    assert whole.code == 0, whole.reason
    assert whole.gave
    assert whole.took - whole.gave == whole.found()
    killed = 0
    for call in sorted(set(whole.calls())):
        count = whole.calls().count(call)
        # of the many writes each third one
        for number in range(1, count + 1, 3 if call == "pwrite64" else 1):
            run = Run(tmp_path / f"{call}-{number}", f"{call}:signal=SIGKILL:when={number}")
            assert run.code in (-9, 137), (call, number, run.reason)
            assert run.took - run.gave <= run.found(), (call, number)
            killed += 1
    assert killed > 20


def test_row_21_after_a_failed_sync_nothing_more_is_taken(tmp_path: Path) -> None:
    """Row 21: EIO of each fsync and fdatasync in turn."""
    whole = Run(tmp_path / "whole")
    failed: list[int] = []
    for call in ("fdatasync", "fsync"):
        for number in range(1, whole.calls().count(call) + 1):
            run = Run(tmp_path / f"{call}-{number}", f"{call}:error=EIO:when={number}")
            # the last ones are of closing: what they were to make durable is durable in the log
            assert run.code or run.took == whole.took, (call, number)
            assert run.took - run.gave <= run.found(), (call, number)
            if run.code == 3:
                assert re.search(r"disk I/O error|Input/output error", run.reason), run.reason
                failed.append(len(run.took))
    assert len(set(failed)) > 2  # at several points of the cycle


def test_row_21_a_failed_write_ends_it_and_a_failed_read_too(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole")
    writes = whole.calls().count("pwrite64")
    for number in range(writes // 2, writes, 7):
        run = Run(tmp_path / f"write-{number}", f"pwrite64:error=EIO:when={number}+")
        assert run.code == 3, run.reason
        assert run.took - run.gave <= run.found()


def test_row_20_a_write_that_finds_no_room_is_undone_and_the_next_one_is_taken(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole")
    writes = whole.calls().count("pwrite64")
    refused = 0
    for number in range(writes // 3, writes, 5):
        run = Run(tmp_path / f"write-{number}", f"pwrite64:error=ENOSPC:when={number}")
        refused += len(run.full)
        if run.full and "took" in run.words[run.words.index("full") :]:
            assert run.code == 0, run.reason
        assert run.took - run.gave <= run.found()
    assert refused


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 24 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


async def test_row_20_a_full_disk_refuses_goes_on_draining_and_takes_again_by_itself(small_disk: Path) -> None:
    """Row 20: until SQLite itself finds no room; nobody does anything about it but the drain."""
    spool = Spool(store_in(small_disk), min_free_bytes=0)
    await spool.open()
    number = 0
    with pytest.raises(SpoolFull, match="no room"):
        while True:
            await spool.append([entry(number * 100 + row, size=2000) for row in range(100)])
            number += 1
    assert not spool.state().accepting
    taken = number * 100
    assert sum(spool.lanes.values()) == taken
    for _ in range(number):
        await spool.delete(await spool.read(("t.a", "480213"), 100))
    assert not spool.lanes
    while not spool.state().accepting:
        await asyncio.sleep(0.1)
    await spool.append([entry(1_000_000)])
    assert not spool.failed.done()
    await spool.close()
    store = store_in(small_disk)
    assert ids_of(store) == ["e1000000@t.a"]
    store.close()
