"""The rows on disk: SQLite, synchronous, for one thread at a time.

Each write is one transaction and one fsync. What SQLite cannot see by itself is found by checksums of our own and by
totals that are kept outside of its file too: a write-ahead log that is damaged in the middle ends there for SQLite,
without a word.

A failed COMMIT, fsync or read is the end of this store (`SpoolFailed`): the system may have marked pages as written
that are not, so a second try would prove nothing. Only a full disk is not: SQLite rolls back, and all is as before.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bridge.errors import SpoolError, SpoolFailed
from bridge.spool.faults import Damaged, opening, using
from bridge.spool.files import lock, make_directory, refuse_unfit, reserve
from bridge.spool.model import Lane, Opened, Row, Totals
from bridge.spool.opening import (
    Kept,
    Repaired,
    begin_repair,
    configure,
    create,
    expects_file,
    inspect,
    read_kept,
    repair,
    write_kept,
)
from bridge.spool.sql import (
    INSERT,
    PAGE_BYTES,
    SELECT_IDS,
    SELECT_LANE,
    SQLITE,
    Connection,
    Driver,
    Encoded,
    crc_of,
    decode,
    one,
    totals_crc,
)

__all__ = ["Store", "Usage", "Written"]

_MAX_READ_BYTES = 4_194_304
# More than merging a log of 4 MiB and a group on top may take: without it a disk that somebody else has
# filled would leave no way to take rows out, for that needs room, too.
_RESERVE_BYTES = 8_388_608


class Usage(msgspec.Struct, frozen=True):
    """How much room there is.

    Attributes:
        bytes: of pages in use.
        free_bytes: of the file system, for us.
        oldest_at: when the oldest row's event was received, unix microseconds; None without rows.
        unmerged_pages: about how many the write-ahead log holds.
    """

    bytes: int = 0
    free_bytes: int = 0
    oldest_at: int | None = None
    unmerged_pages: int = 0


class Written(msgspec.Struct, frozen=True):
    """What a transaction did.

    Attributes:
        seqs: of each appended entry's row, in their order.
        known: indexes of those whose row was there before: its `dedup_id` is the same.
        missing: of the rows to delete, those that were not there.
        usage: afterwards.
    """

    seqs: tuple[int, ...]
    known: tuple[int, ...]
    missing: tuple[int, ...]
    usage: Usage


class Store:
    """One directory's rows.

    Attributes:
        totals: as of the last transaction.
    """

    def __init__(
        self,
        directory: Path,
        *,
        driver: Driver = SQLITE,
        max_bytes: int = 1_073_741_824,
        refuse: Callable[[Path], None] = refuse_unfit,
    ) -> None:
        """Nothing happens yet.

        Args:
            directory: of this store alone.
            driver: the way to SQLite.
            max_bytes: the largest file.
            refuse: raises ConfigError where the file system is unfit.
        """
        self._directory = directory
        self._path = directory / "spool.db"
        self._sidecar = directory / "totals.json"
        self._reserve = directory / "reserve"
        self._driver = driver
        self._max_bytes = max_bytes
        self._refuse = refuse
        self._db: Connection | None = None
        self._lock: int | None = None
        self._last_seq = 0
        self._unmerged = 0
        self._saved: Kept | None = None
        self.totals = Totals()

    def open(self, on_row: Callable[[Lane, str, str], None]) -> Opened:
        """Look at everything, and take over what is good.

        Args:
            on_row: told lane, source and dedup id of each row, the oldest first.

        Raises:
            ConfigError: the directory cannot be used, or another bridge uses it.
            SpoolFailed: the disk fails.
        """
        make_directory(self._directory)
        self._refuse(self._directory)
        try:
            with opening(self._path, self._driver):
                self._lock = lock(self._directory / "lock")
                repaired = repair(self._path, self._driver, read_kept(self._sidecar), needed=False)
            reason = None if repaired is None else "its repair was cut off"
            try:
                self._look()
            except Damaged as damaged:
                reason = str(damaged)
                repaired = self._repair(reason)
            with using(self._path, self._driver):
                for topic, key, source, dedup_id in self._execute(SELECT_IDS):
                    on_row((sys.intern(topic), key), source, dedup_id)
        except BaseException:
            self._let_go()  # what was not looked at has no totals that could be saved
            raise
        if repaired is None:
            return Opened(self.totals.rows)
        self.save_totals()
        lost = self.totals.lost if repaired.lost is None else repaired.lost
        return Opened(self.totals.rows, lost, self.totals.rows, repaired.quarantined, reason)

    def write(self, appends: Sequence[Encoded], deletes: Sequence[int] = ()) -> Written:
        """All or nothing, durable when it returns.

        With nothing to do it writes all the same, and uses up a seq for it: SQLite writes no page that stays as it is.

        Args:
            appends: to be kept; of one `dedup_id` one row is.
            deletes: rows by their seq.

        Raises:
            SpoolFull: no room; nothing has changed.
            SpoolFailed: it is unknown what has changed.
        """
        first, totals, last_seq = self._last_seq + 1, self.totals, self._last_seq
        try:
            with using(self._path, self._driver):
                self._execute("BEGIN IMMEDIATE")
                missing = self._delete(deletes)
                seqs, known = self._insert(first, appends)
                self.totals = msgspec.structs.replace(
                    totals,
                    accepted=totals.accepted + len(appends) - len(known),
                    deleted=totals.deleted + len(deletes) - len(missing),
                )
                self._last_seq += len(appends) if appends or deletes else 1
                self._save_totals()
                self._execute("COMMIT")
        except BaseException:
            self.totals, self._last_seq = totals, last_seq
            with contextlib.suppress(self._driver.error):
                self._execute("ROLLBACK")
            raise
        self._unmerged += 8 + 4 * (len(appends) + len(deletes)) + sum(e.size_bytes for e in appends) // PAGE_BYTES
        return Written(seqs, known, missing, self.usage())

    def read(self, lane: Lane, limit: int, after: int = 0) -> list[Row]:
        """The oldest rows of a lane behind a seq, at least one if there is any, not much more than 4 MiB.

        Raises:
            SpoolFailed: a row is not what was written.
        """
        rows: list[Row] = []
        size = 0
        with using(self._path, self._driver):
            for columns in self._execute(SELECT_LANE, (*lane, after, limit)):
                row = decode(columns)
                if row is None:
                    raise SpoolFailed(f"row {columns[0]} of {self._path} is damaged: its checksum differs")
                rows.append(row)
                size += len(row.entry.record.value)
                if size >= _MAX_READ_BYTES:
                    break
        return rows

    def usage(self) -> Usage:
        """How much room there is; a few look-ups."""
        with using(self._path, self._driver):
            pages, unused = one(self._opened, "PRAGMA page_count"), one(self._opened, "PRAGMA freelist_count")
            oldest = next(self._execute("SELECT received_at FROM rows ORDER BY seq LIMIT 1"), None)
            file_system = os.statvfs(self._directory)
        return Usage(
            bytes=(pages - unused) * PAGE_BYTES if self.totals.rows else 0,
            free_bytes=file_system.f_bavail * file_system.f_frsize,
            oldest_at=None if oldest is None else oldest[0],
            unmerged_pages=self._unmerged,
        )

    def checkpoint(self) -> None:
        """Merge the write-ahead log into the file, so that it begins anew.

        Raises:
            SpoolFull: no room; it can be done later.
            SpoolFailed: it is unknown what is on the disk.
        """
        with using(self._path, self._driver):
            for _result in self._execute("PRAGMA wal_checkpoint(PASSIVE)"):
                self._unmerged = 0

    def give_reserve(self) -> None:
        """Make room on a full disk: merge the log, for which there is a reserve, so that it begins anew in its place.

        Raises:
            SpoolFull: there is no room all the same.
            SpoolFailed: it is unknown what is on the disk.
        """
        with using(self._path, self._driver):
            self._reserve.unlink(missing_ok=True)
        self.checkpoint()

    def take_reserve(self) -> None:
        """Have the reserve again where there is room for two."""
        with contextlib.suppress(OSError):  # it is there for others' sake
            if not self._reserve.exists() and self.usage().free_bytes > 2 * _RESERVE_BYTES:
                reserve(self._reserve, _RESERVE_BYTES)

    def save_totals(self) -> None:
        """Keep the totals outside of the file too, if they have changed."""
        kept = Kept(self.totals, self._last_seq)
        if self._saved != kept:
            with using(self._path, self._driver):
                write_kept(self._sidecar, kept)
            self._saved = kept

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        if self._db is not None:
            with contextlib.suppress(SpoolError):
                self.save_totals()
        self._let_go()

    def _let_go(self) -> None:
        self._close()
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)

    # ---- opening

    def _look(self) -> None:
        """Open the file, if there is nothing wrong with it.

        Raises:
            Damaged: it is not what was written.
        """
        kept = read_kept(self._sidecar)
        with opening(self._path, self._driver):
            expects_file(self._path, kept)
            create(self._path)
            self._db = self._driver.connect(str(self._path))
            configure(self._db, self._max_bytes)
            found = inspect(self._db, kept)
        self.totals, self._last_seq = found.totals, found.last_seq

    def _repair(self, reason: str) -> Repaired | None:
        """Take over what is good into a new file, and set the damaged one aside."""
        try:
            with opening(self._path, self._driver):
                begin_repair(self._path)
                self._close()
                repaired = repair(self._path, self._driver, read_kept(self._sidecar), needed=True)
            self._look()
        except Damaged as again:
            raise SpoolFailed(f"{self._path} is damaged ({reason}), and so is what was made of it: {again}") from again
        return repaired

    # ---- writing

    def _insert(self, first: int, appends: Sequence[Encoded]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not appends:
            return (), ()
        rows = [(seq, *e.columns, crc_of(seq, e.crc)) for seq, e in enumerate(appends, first)]
        self._opened.executemany(INSERT, rows)
        new = {seq for (seq,) in self._execute("SELECT seq FROM rows WHERE seq >= ?", (first,))}
        if len(new) == len(rows):
            return tuple(range(first, first + len(rows))), ()
        seqs = [
            row[0] if row[0] in new else one(self._opened, "SELECT seq FROM rows WHERE dedup_id = ?", (row[4],))
            for row in rows
        ]
        return tuple(seqs), tuple(index for index, row in enumerate(rows) if row[0] not in new)

    def _delete(self, seqs: Sequence[int]) -> tuple[int, ...]:
        missing = tuple(
            seq for seq in seqs if next(self._execute("SELECT 1 FROM rows WHERE seq = ?", (seq,)), None) is None
        )
        if seqs:
            self._opened.executemany("DELETE FROM rows WHERE seq = ?", [(seq,) for seq in seqs])
        return missing

    def _save_totals(self) -> None:
        totals = self.totals
        columns = (totals.accepted, totals.deleted, totals.lost, totals.quarantined, self._last_seq)
        self._execute(
            "UPDATE totals SET accepted = ?, deleted = ?, lost = ?, quarantined = ?, last_seq = ?, crc = ?",
            (*columns, totals_crc(columns)),
        )

    # ---- SQLite

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401 -- a cursor of either driver
        return iter(self._opened.execute(sql, parameters))

    @property
    def _opened(self) -> Connection:
        if self._db is None:
            raise SpoolFailed("the spool's store is not open")
        return self._db

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(self._driver.error):
                db.close()
