"""What the spool hands to its thread in one job, and what comes back."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from bridge.errors import SpoolFull
from bridge.spool.model import Lane, Row
from bridge.spool.sql import Encoded
from bridge.spool.store import Store, Usage, Written

__all__ = ["Appending", "Batch", "Deleting", "Done", "Reading", "Upkeep", "run_batch"]


class Appending(msgspec.Struct, frozen=True):
    """A call of `append`: its rows, their lanes and their size, and who waits for it."""

    rows: Sequence[Encoded]
    lanes: Sequence[Lane]
    size_bytes: int
    future: asyncio.Future[Sequence[int]]


class Deleting(msgspec.Struct, frozen=True):
    """A call of `delete`."""

    rows: Sequence[Row]
    future: asyncio.Future[None]


_GROUP_BYTES = 2_097_152  # of one transaction: the write-ahead log grows by it
_READ_BYTES = 4_194_304  # of one job
_Call = TypeVar("_Call", Appending, Deleting)


class Reading(msgspec.Struct, frozen=True):
    """A call of `read`."""

    lane: Lane
    limit: int
    after: int
    future: asyncio.Future[list[Row]]


class Upkeep(msgspec.Struct, frozen=True):
    """Housekeeping: whether to merge the write-ahead log, and to write for writing's sake."""

    merge: bool = False
    canary: bool = False


class Batch(msgspec.Struct):
    """Writes that make one transaction, and reads after them."""

    appends: list[Appending] = []
    deletes: list[Deleting] = []
    reads: list[Reading] = []

    def __bool__(self) -> bool:
        return bool(self.appends or self.deletes or self.reads)

    @property
    def writes(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.appends or self.deletes)

    def futures(self) -> Iterator["asyncio.Future[Any]"]:
        """Of all who wait."""
        yield from (appending.future for appending in self.appends)
        yield from (deleting.future for deleting in self.deletes)
        yield from (reading.future for reading in self.reads)

    def take(self, limit: int, *, deletes: bool) -> "Batch":
        """Split off the first calls that have `limit` rows together; one at least, however many it has."""
        appends = _first(self.appends, limit)
        taken = Batch(appends, _first(self.deletes, limit) if deletes else [], self.reads[:])
        del self.appends[: len(appends)]
        del self.deletes[: len(taken.deletes)]
        self.reads.clear()
        return taken


class Done(msgspec.Struct):
    """What became of a batch.

    Attributes:
        appended: None: there was no room, and nothing is kept.
        deleted: None: there was no room for that either.
        full: why.
        durable: something was written and synced.
        rows: what each of the first reads found; the others are for another job, for rows may be large.
        usage: afterwards.
    """

    usage: Usage
    appended: Written | None = None
    deleted: Written | None = None
    full: SpoolFull | None = None
    durable: bool = False
    rows: list[list[Row]] = []


def run_batch(store: Store, batch: Batch, upkeep: Upkeep | None) -> Done:
    """The job.

    Raises:
        SpoolFailed: the disk has failed; it is unknown what is durable.
    """
    done = Done(Usage())
    if batch.writes:
        _write(store, batch, done)
        done.durable = done.appended is not None or done.deleted is not None
    done.rows = _read(store, batch.reads)
    if upkeep is not None:
        try:
            if upkeep.canary:
                store.write(())
                done.durable = True
            if upkeep.merge:
                store.checkpoint()
            store.save_totals()
            store.take_reserve()
        except SpoolFull as full:
            done.full = full
    done.usage = store.usage()
    return done


def _write(store: Store, batch: Batch, done: Done) -> None:
    seqs = [row.seq for deleting in batch.deletes for row in deleting.rows]
    try:
        written = store.write([row for appending in batch.appends for row in appending.rows], seqs)
        done.appended = done.deleted = written
    except SpoolFull as full:
        done.full = full
        if seqs:
            try:
                store.give_reserve()
                done.deleted = store.write((), seqs)
            except SpoolFull as still_full:
                done.full = still_full


def _read(store: Store, reads: Sequence[Reading]) -> list[list[Row]]:
    found: list[list[Row]] = []
    size = 0
    for reading in reads:
        found.append(store.read(reading.lane, reading.limit, reading.after))
        size += sum(len(row.entry.record.value) for row in found[-1])
        if size >= _READ_BYTES:
            break
    return found


def _first(calls: list[_Call], limit: int) -> list[_Call]:
    rows = size = 0
    for index, call in enumerate(calls):
        rows += len(call.rows)
        size += call.size_bytes if isinstance(call, Appending) else 0
        if (rows > limit or size > _GROUP_BYTES) and index:
            return calls[:index]
    return calls[:]
