"""The spool as the event loop sees it: nothing here waits for the disk, all of it is done by one job at a time.

Group commit: what comes while a job runs makes the next one, so that a busy spool costs an fsync a group and not an
fsync a row. Once a second there is housekeeping: how much room there is, the totals outside of the file, the merge of
the write-ahead log when nothing else is to do, and where nothing was written for a minute, a write for its own sake:
a fallback that is never used rots, and its age says that it has not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bridge.errors import SpoolError, SpoolFailed, SpoolFull
from bridge.spool.batches import Appending, Batch, Deleting, Done, Reading, Upkeep, run_batch
from bridge.spool.model import Entry, Lane, Opened, Row, SpoolState, lane_of
from bridge.spool.sql import LOG_BYTES, PAGE_BYTES, encode
from bridge.spool.store import Store, Usage

__all__ = ["Run", "Spool"]

_T = TypeVar("_T")
Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a job elsewhere, one at a time, and gives its result."""

_GROUP_ROWS = 512
_TICK_S = 1.0
_CANARY_S = 60.0
_ALARM, _REFUSE = 0.80, 0.95
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Spool:
    """Events on disk, in lanes.

    Attributes:
        lanes: how many rows each has, the lane with the oldest first. A row counts from the call of `append` until
            that of `delete`.
        failed: done when the disk has failed; nothing is taken or given any more, and the process should end.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_bytes: int = 1_073_741_824,
        min_free_bytes: int = 67_108_864,
        run: Run | None = None,
    ) -> None:
        """Nothing happens yet.

        Args:
            store: this spool's own.
            max_bytes: at 95 % of it nothing more is taken, at 80 % it is warned.
            min_free_bytes: nor is anything while the file system has less.
            run: None: a thread of its own.
        """
        self._store = store
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._thread = None if run else ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._run: Run = run or (lambda job: asyncio.get_running_loop().run_in_executor(self._thread, job))
        self._lanes: dict[Lane, int] = {}
        self._next = Batch()
        self._batch = Batch()  # of the job that runs
        self._job: asyncio.Future[Done] | None = None
        self._usage = Usage()
        self._pending_bytes = 0  # appended and not yet part of the usage
        self._open = self._closed = False
        self._stuck = False  # deletes wait for room
        self._disk_full_until = 0.0
        self._durable_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._upkeep_due = False
        self._idle = False
        self._drained: asyncio.Event | None = None
        self.failed: asyncio.Future[SpoolFailed] = asyncio.get_running_loop().create_future()

    @property
    def lanes(self) -> Mapping[Lane, int]:
        """Rows of each lane, the lane with the oldest row first."""
        return self._lanes

    async def open(self, on_row: Callable[[str, str], None] = lambda _source, _dedup_id: None) -> Opened:
        """Look at every row; seconds for a spool that is full.

        Args:
            on_row: told source and dedup id of each row, the oldest first, in the spool's thread.

        Raises:
            ConfigError: the directory cannot be used, or another bridge uses it.
            SpoolError: the disk fails or is full.
        """

        def count(lane: Lane, source: str, dedup_id: str) -> None:
            self._lanes[lane] = self._lanes.get(lane, 0) + 1
            on_row(source, dedup_id)

        opened: Opened
        opened, self._usage = await self._run(lambda: (self._store.open(count), self._store.usage()))
        self._open = True
        self._upkeep_due = True
        self._pump()  # the first canary: that there is a file does not say that it can be written
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        return opened

    def append(self, entries: Sequence[Entry]) -> asyncio.Future[Sequence[int]]:
        """Keep them. They are in their lanes at once.

        The result is each row's seq, when all are durable; that of the row which is there already where one of the
        same `dedup_id` is. Fails with SpoolFull or SpoolFailed, and none of them is kept; they have left their lanes
        then. Whoever cancels it leaves the rows as they are.

        Raises:
            UnicodeEncodeError: a text is none.
        """
        rows = [encode(entry) for entry in entries]
        size = sum(row.size_bytes for row in rows)
        lanes = [lane_of(entry) for entry in entries]
        appending = Appending(rows, lanes, size, asyncio.get_running_loop().create_future())
        if error := self._refusal():
            _fail(appending.future, error)
            return appending.future
        for lane in lanes:
            self._lanes[lane] = self._lanes.get(lane, 0) + 1
        self._pending_bytes += size
        self._next.appends.append(appending)
        self._pump()
        return appending.future

    async def read(self, lane: Lane, limit: int, *, after: int = 0) -> list[Row]:
        """The oldest rows of a lane behind that seq; fewer than `limit` where they are large, but one if there is any.

        Raises:
            SpoolError: the disk has failed, or the spool is not open.
        """
        if error := self._unusable():
            raise error
        reading = Reading(lane, limit, after, asyncio.get_running_loop().create_future())
        self._next.reads.append(reading)
        self._pump()
        return await reading.future

    def delete(self, rows: Sequence[Row]) -> asyncio.Future[None]:
        """Let go of rows, which leave their lanes at once; done when that is durable.

        Each row once. On a full disk it is tried again until there is room.
        """
        deleting = Deleting(rows, asyncio.get_running_loop().create_future())
        if error := self._unusable():
            _fail(deleting.future, error)
            return deleting.future
        self._leave([lane_of(row.entry) for row in rows])
        self._next.deletes.append(deleting)
        self._pump()
        return deleting.future

    def state(self) -> SpoolState:
        """The spool now; no I/O."""
        error = self._refusal()
        used = self._usage.bytes
        warning = None
        if error is None and used >= _ALARM * self._max_bytes:
            warning = f"the spool is {used * 100 // self._max_bytes} % full; at {_REFUSE:.0%} nothing more is taken"
        oldest = self._usage.oldest_at
        return SpoolState(
            accepting=error is None,
            reason=None if error is None else str(error),
            warning=warning,
            rows=self._store.totals.rows,
            bytes=used,
            max_bytes=self._max_bytes,
            oldest_at=None if oldest is None else _EPOCH + timedelta(microseconds=oldest),
            canary_age_s=None if self._durable_at is None else self._now() - self._durable_at,
            totals=self._store.totals,
        )

    async def close(self) -> None:
        """Finish what was handed over, and let go of the directory. Idempotent."""
        if self._closed:
            return
        self._closed = True
        was_open, self._open = self._open, False
        if self._timer is not None:
            self._timer.cancel()
        if was_open and not self.failed.done():
            self._drained = asyncio.Event()
            self._pump()
            await self._drained.wait()
        for future in self._next.futures():
            _fail(future, SpoolError("the spool is closed"))
        await self._run(self._store.close)
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    # ---- jobs

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        self._upkeep_due = True
        self._pump()

    def _pump(self) -> None:
        """Start the next job, if none runs and there is something to do."""
        if self._job is not None or self.failed.done():
            return
        batch = self._next.take(_GROUP_ROWS, deletes=not self._stuck or self._upkeep_due)
        upkeep = self._upkeep(quiet=not batch)
        if not batch and upkeep is None:
            if self._drained is not None:
                self._drained.set()
            return
        self._batch = batch
        self._job = asyncio.ensure_future(self._run(lambda: run_batch(self._store, batch, upkeep)))
        self._job.add_done_callback(self._finished)

    def _upkeep(self, *, quiet: bool) -> Upkeep | None:
        unmerged = self._usage.unmerged_pages
        # not where it has just found no room: it would try without a pause
        overdue = unmerged * PAGE_BYTES >= LOG_BYTES and self._now() >= self._disk_full_until
        if not (self._upkeep_due or overdue):
            return None
        idle, self._idle = self._idle and quiet, quiet
        self._upkeep_due = False
        # After a write that found no room nothing is appended, so nothing else would begin the log anew and cut it.
        found_no_room = self._now() < self._disk_full_until + _TICK_S
        canary = found_no_room or self._durable_at is None or self._now() - self._durable_at >= _CANARY_S
        return Upkeep(merge=overdue or (idle and unmerged > 0), canary=canary)

    def _finished(self, job: "asyncio.Future[Done]") -> None:
        self._job = None
        batch, self._batch = self._batch, Batch()
        self._pending_bytes -= sum(appending.size_bytes for appending in batch.appends)
        try:
            done = job.result()
        except BaseException as error:  # noqa: BLE001 -- whatever it is, what is durable is unknown
            self._fail_all(batch, error)
            return
        self._usage = done.usage
        if done.full is not None:
            self._disk_full_until = self._now() + _TICK_S
        self._stuck = bool(batch.deletes) and done.deleted is None
        if done.durable:
            self._durable_at = self._now()
        self._settle_appends(batch, done)
        self._settle_deletes(batch, done)
        for reading, rows in zip(batch.reads, done.rows, strict=False):
            _succeed(reading.future, rows)
        self._next.reads[:0] = batch.reads[len(done.rows) :]
        self._pump()

    def _settle_appends(self, batch: Batch, done: Done) -> None:
        if done.appended is None:
            for appending in batch.appends:
                self._leave(appending.lanes)
                _fail(appending.future, done.full or SpoolFull("no room"))
            return
        known = set(done.appended.known)
        first = 0
        for appending in batch.appends:
            end = first + len(appending.rows)
            if known:
                self._leave([lane for index, lane in enumerate(appending.lanes, first) if index in known])
            _succeed(appending.future, done.appended.seqs[first:end])
            first = end

    def _settle_deletes(self, batch: Batch, done: Done) -> None:
        if done.deleted is None:
            self._next.deletes[:0] = batch.deletes
            return
        for deleting in batch.deletes:
            _succeed(deleting.future, None)

    def _fail_all(self, batch: Batch, cause: BaseException) -> None:
        error = cause if isinstance(cause, SpoolFailed) else SpoolFailed(f"{type(cause).__name__}: {cause}")
        error.__cause__ = cause if cause is not error else cause.__cause__
        for appending in (*batch.appends, *self._next.appends):
            self._leave(appending.lanes)
        for future in (*batch.futures(), *self._next.futures()):
            _fail(future, error)
        self._next = Batch()
        self._pending_bytes = 0
        if not self.failed.done():
            self.failed.set_result(error)
        if self._drained is not None:
            self._drained.set()

    # ---- whether it takes anything

    def _unusable(self) -> SpoolError | None:
        if self.failed.done():
            return self.failed.result()
        return None if self._open else SpoolError("the spool is not open")

    def _refusal(self) -> SpoolError | None:
        if error := self._unusable():
            return error
        used = self._usage.bytes + self._pending_bytes
        if used >= _REFUSE * self._max_bytes:
            return SpoolFull(f"the spool is full: {used} bytes of {self._max_bytes}, {_REFUSE:.0%} are used")
        if self._usage.free_bytes < self._min_free_bytes:
            free = self._usage.free_bytes
            return SpoolFull(
                f"the spool's disk is full: {free} bytes are free, {self._min_free_bytes} are to stay free"
            )
        if self._now() < self._disk_full_until:
            return SpoolFull("the spool's disk is full: a write found no room")
        return None

    # ---- small

    def _leave(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            left = self._lanes[lane] - 1
            if left:
                self._lanes[lane] = left
            else:
                del self._lanes[lane]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _succeed(future: "asyncio.Future[_T]", result: _T) -> None:
    if not future.done():  # cancelled: nobody waits any more
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen: whoever called may have gone
