"""A disk for SQLite that loses what was not synced: each 512 bytes of it, or not, as a power cut would have it.

A VFS over real files. SQLite reads and writes those as ever; beside them is kept what is durable, and what was written
since. After a crash the files are made what such a disk would show. Names, and the few files beside SQLite's, which
the store never needs to be synced, are durable at once.
"""

import asyncio
import itertools
from pathlib import Path
from random import Random
from typing import Any

import apsw

from bridge.spool.sql import Driver

__all__ = ["Disk"]

_SECTOR = 512
_FULL, _WRITE_FAILED, _SYNC_FAILED = 13, 778, 1034  # SQLite's codes
_numbers = itertools.count()


class Disk(apsw.VFS):
    """One directory's.

    Attributes:
        full: no file grows.
        failing: no write and no sync succeeds.
        dead: the power is gone; nothing that is done changes anything, until `come_back`.
        died: done when that happens.
        latency_s: of a job.
    """

    def __init__(self, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._name = f"simulated-{next(_numbers)}"
        super().__init__(self._name, "")
        self.full = self.failing = self.dead = False
        self.latency_s = 0.002
        self.driver = Driver(
            lambda path: apsw.Connection(path, vfs=self._name),
            apsw.Error,
            lambda error: int(getattr(error, "extendedresult", 0)),
        )
        self._loop = loop
        self.died: asyncio.Future[None] = loop.create_future()
        self._sidecar = directory / "totals.json"
        self._sidecar_then: bytes | None = None
        self._durable: dict[str, bytearray] = {}
        self._unsynced: dict[str, list[tuple[int, bytes | None]]] = {}  # offset and data, or the size it was cut to
        self._writes_left: int | None = None

    # ---- what the simulation does to it

    def heal(self) -> None:
        """Room, and no more failures."""
        self.full = self.failing = False
        self.latency_s = 0.002
        self._writes_left = None

    def die_after(self, writes: int) -> None:
        """The power goes with the write, or sync, after so many."""
        self._writes_left = writes

    def die(self) -> None:
        """Now."""
        if not self.dead:
            self.dead = True
            self.died.set_result(None)
            self._sidecar_then = self._sidecar.read_bytes() if self._sidecar.exists() else None

    def come_back(self, random: Random) -> None:
        """Show what is left: all that was synced, and of the rest what chance has."""
        chance = random.choice([0.0, 0.5, 1.0])
        for path, operations in self._unsynced.items():
            content = self._durable.setdefault(path, bytearray())
            for offset, data in operations:
                if data is None:
                    if random.random() < chance:
                        del content[offset:]
                    continue
                for start in range(0, len(data), _SECTOR):
                    if random.random() < chance:
                        _put(content, offset + start, data[start : start + _SECTOR])
        self._unsynced.clear()
        for path, content in self._durable.items():
            Path(path).write_bytes(content)
        if self._sidecar_then is not None:
            self._sidecar.write_bytes(self._sidecar_then)
        self._writes_left = None
        self.dead = False
        self.died = self._loop.create_future()

    # ---- what SQLite does to it

    def xOpen(self, name: Any, flags: list[int]) -> "apsw.VFSFile":  # noqa: N802 -- SQLite's name
        return _File(self, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:  # noqa: N802
        if self._goes_on():
            super().xDelete(name, sync_directory)
            self._durable.pop(name, None)
            self._unsynced.pop(name, None)

    def write(self, path: str, offset: int, data: bytes) -> bool:
        """Whether the write reaches the file."""
        if self._goes_on():
            if self.failing:
                raise apsw.exception_for(_WRITE_FAILED)
            self._unsynced.setdefault(path, []).append((offset, bytes(data)))
            return True
        return False

    def truncate(self, path: str, size: int) -> bool:
        """Whether the cut reaches the file."""
        if self._goes_on():
            self._unsynced.setdefault(path, []).append((size, None))
            return True
        return False

    def sync(self, path: str) -> None:
        """What was written is durable."""
        if not self._goes_on():
            return
        if self.failing:
            raise apsw.exception_for(_SYNC_FAILED)
        content = self._durable.setdefault(path, bytearray())
        for offset, data in self._unsynced.pop(path, ()):
            if data is None:
                del content[offset:]
            else:
                _put(content, offset, data)

    def _goes_on(self) -> bool:
        if self._writes_left is not None and not self.dead:
            if self._writes_left == 0:
                self.die()
            else:
                self._writes_left -= 1
        return not self.dead


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = name if isinstance(name, str) else name.filename()
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.full and offset + len(data) > self.xFileSize():
            raise apsw.exception_for(_FULL)
        if self._disk.write(self._path, offset, data):
            super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        if self._disk.truncate(self._path, size):
            super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.sync(self._path)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
