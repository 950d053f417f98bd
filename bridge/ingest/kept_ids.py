"""The ids of durable records on disk, so that a restart knows retries for what they are.

Written about once a second and never synced: a crash forgets a second of them at most, a power cut perhaps more, and
what is forgotten becomes a duplicate, never a loss. Only ids of durable records come here; that is `SeenIds`' rule.

One directory a source, one file a generation, 15 bytes an id and nothing else: whatever a crash leaves at the end of a
file is at worst an id that nothing has. How old a generation is tells the file's time, by the wall clock; the age is
held between nothing and the window, so that a clock set back makes nothing immortal.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bridge.ingest.seen import Generation, SeenIds, Unsaved
from bridge.telemetry.facts import Facts

__all__ = ["KeptIds"]

_ID_BYTES = 15
_PAUSE_S = 1.0


class KeptIds:
    """What the tables of all sources remember, on disk."""

    def __init__(self, directory: Path, facts: Facts, *, wall_clock: Callable[[], float] = time.time) -> None:
        """Nothing happens yet.

        Args:
            directory: of this bridge alone.
            facts: told when they cannot be written.
            wall_clock: unix time, as the files have it.
        """
        self._directory = directory
        self._facts = facts
        self._wall_clock = wall_clock
        self._tables: dict[str, SeenIds] = {}
        self._oldest: dict[str, int] = {}
        self._trusted = True
        self._failing: str | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def trust(self, *, lost: int) -> None:
        """Restore none of them if the spool has lost records since: their ids may be here, and retries be dropped.

        The number is kept beside the ids, and written when they are gone: whoever opens the spool first, and whenever
        a start is cut off, no later one trusts them again.

        Args:
            lost: how many records the spool has ever lost.
        """
        marker = self._directory / "rows.lost"  # a source is never called so
        with self._told():
            if int(marker.read_text() if marker.exists() else 0) == lost:
                return
            self._trusted = False
            for _number, path in _files(self._directory, "*/*.ids"):
                path.unlink()
            marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            marker.write_text(f"{lost}")

    def restore(self, source: str, seen: SeenIds, *, window_s: float, now: float) -> None:
        """Have the table remember what is here of its source, and from now on keep what it collects.

        Args:
            source: the source's name.
            seen: its table, new and collecting.
            window_s: what is older is removed.
            now: by the table's clock.
        """
        folder = self._directory / source
        with self._told():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            seen.restore(self._generations(folder, window_s, now))
        self._tables[source] = seen

    def start(self) -> None:
        """Write what comes from now on, about once a second."""
        self._task = asyncio.create_task(self._run(), name="kept-ids")

    async def stop(self) -> None:
        """Write the last of it. Idempotent."""
        self._stopping.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait([task])

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _PAUSE_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what has come."""
        unsaved = {source: seen.unsaved() for source, seen in self._tables.items()}
        new = {source: one for source, one in unsaved.items() if one.ids or self._oldest.get(source) != one.oldest}
        if new:
            await asyncio.get_running_loop().run_in_executor(None, self._write, new)

    def _write(self, unsaved: Mapping[str, Unsaved]) -> None:
        with self._told():
            for source, (ids, oldest) in unsaved.items():
                folder = self._directory / source
                for number, content in ids:
                    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                    with os.fdopen(os.open(folder / f"{number}.ids", flags, 0o600), "ab") as file:
                        file.write(content)
                if self._oldest.get(source) != oldest:
                    for number, path in _files(folder):
                        if number < oldest:
                            path.unlink()
                    self._oldest[source] = oldest
            self._failing = None

    def _generations(self, folder: Path, window_s: float, now: float) -> Iterator[Generation]:
        """The youngest first, each at most as young as the one after it."""
        closed_at = now
        for number, path in sorted(_files(folder), reverse=True):
            age_s = min(max(0.0, self._wall_clock() - path.stat().st_mtime), window_s)
            closed_at = min(closed_at, now - age_s)
            content = path.read_bytes() if self._trusted and age_s < window_s else b""
            whole = len(content) - len(content) % _ID_BYTES
            ids = dict.fromkeys(content[at : at + _ID_BYTES] for at in range(0, whole, _ID_BYTES))
            yield Generation(number, closed_at, ids)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A disk that fails costs duplicates after a restart, and no event now."""
        try:
            yield
        except (OSError, ValueError) as error:
            if self._failing != (reason := getattr(error, "strerror", None) or type(error).__name__):
                self._facts.ids_not_kept(reason)
            self._failing = reason


def _files(folder: Path, pattern: str = "*.ids") -> Iterator[tuple[int, Path]]:
    for path in folder.glob(pattern):
        if path.stem.isdecimal():
            yield int(path.stem), path
