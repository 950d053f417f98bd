"""The rows on disk: SQLite, synchronous, for one thread at a time.

Each write is one transaction and one fsync. What SQLite cannot see by itself is found by checksums of our own and by
totals that are kept outside of its file too: a write-ahead log that is damaged in the middle ends there for SQLite,
without a word.

A failed COMMIT, fsync or read is the end of this store (`SpoolFailed`): the system may have marked pages as written
that are not, so a second try would prove nothing. Only a full disk is not: SQLite rolls back, and all is as before.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bridge.errors import ConfigError, Problem, SpoolFailed, SpoolFull
from bridge.spool.files import lock, make_directory, refuse_unfit, replace_file
from bridge.spool.model import Lane, Opened, Row, Totals
from bridge.spool.sql import (
    BUSY,
    CANTOPEN,
    COLUMNS,
    FULL,
    INSERT,
    PERM,
    READONLY,
    SCHEMA,
    SQLITE,
    VERSION,
    Connection,
    Driver,
    Encoded,
    crc_of,
    decode,
    encode,
    totals_crc,
)

__all__ = ["Store", "Usage", "Written"]

_MAX_READ_BYTES = 4_194_304
_PRAGMAS = (
    ("locking_mode", "EXCLUSIVE", "exclusive"),  # no other process, and no shared memory
    ("page_size", "4096", None),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),  # of a connection, never stored
    ("wal_autocheckpoint", "0", 0),  # SQLite keeps its failures for itself; we do it (`checkpoint`)
    ("secure_delete", "ON", 1),  # whom a phone number belongs to is no longer in the file; nor may salvage find it
    ("cell_size_check", "ON", None),
    ("trusted_schema", "OFF", None),
    ("temp_store", "MEMORY", None),
    ("fullfsync", "ON", None),  # macOS
    ("checkpoint_fullfsync", "ON", None),
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM rows"  # noqa: S608 -- constants


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
        self._driver = driver
        self._max_bytes = max_bytes
        self._refuse = refuse
        self._db: Connection | None = None
        self._lock: int | None = None
        self._last_seq = 0
        self._unmerged = 0
        self._saved: Totals | None = None
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
        self._lock = lock(self._directory / "lock")
        try:
            with self._translated():
                self._connect()
                rows = self._scan(on_row)
        except BaseException:
            self.close()
            raise
        return Opened(rows)

    def write(self, appends: Sequence[Encoded], deletes: Sequence[int] = (), tried: Sequence[Row] = ()) -> Written:
        """All or nothing, durable when it returns.

        Args:
            appends: to be kept; of one `dedup_id` one row is.
            deletes: rows by their seq.
            tried: rows with their new `attempts`.

        Raises:
            SpoolFull: no room; nothing has changed.
            SpoolFailed: it is unknown what has changed.
        """
        first, totals, last_seq = self._last_seq + 1, self.totals, self._last_seq
        try:
            with self._translated():
                self._execute("BEGIN IMMEDIATE")
                missing = self._delete(deletes)
                self._update(tried)
                seqs, known = self._insert(first, appends)
                self.totals = msgspec.structs.replace(
                    totals,
                    accepted=totals.accepted + len(appends) - len(known),
                    deleted=totals.deleted + len(deletes) - len(missing),
                )
                self._last_seq += len(appends)
                self._save_totals()
                self._execute("COMMIT")
        except BaseException:
            self.totals, self._last_seq = totals, last_seq
            with contextlib.suppress(self._driver.error):
                self._execute("ROLLBACK")
            raise
        self._unmerged += (
            8 + 4 * (len(appends) + len(deletes) + len(tried)) + sum(e.size_bytes for e in appends) // 4096
        )
        return Written(seqs, known, missing, self.usage())

    def read(self, lane: Lane, limit: int) -> list[Row]:
        """The oldest rows of a lane, at least one if there is any, not much more than 4 MiB.

        Raises:
            SpoolFailed: a row is not what was written.
        """
        rows: list[Row] = []
        size = 0
        with self._translated():
            for columns in self._execute(f"{_SELECT} WHERE topic = ? AND key = ? ORDER BY seq LIMIT ?", (*lane, limit)):
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
        with self._translated():
            pages, unused = self._one("PRAGMA page_count"), self._one("PRAGMA freelist_count")
            oldest = next(self._execute("SELECT received_at FROM rows ORDER BY seq LIMIT 1"), None)
            file_system = os.statvfs(self._directory)
        return Usage(
            bytes=(pages - unused) * 4096 if self.totals.rows else 0,
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
        with self._translated():
            for _result in self._execute("PRAGMA wal_checkpoint(PASSIVE)"):
                self._unmerged = 0

    def save_totals(self) -> None:
        """Keep the totals outside of the file too, if they have changed."""
        if self._saved != self.totals:
            replace_file(self._sidecar, msgspec.json.encode({"last_seq": self._last_seq, "totals": self.totals}))
            self._saved = self.totals

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(self._driver.error, OSError):
                self.save_totals()
                db.close()
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)

    # ---- opening

    def _connect(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)  # before SQLite opens it: closing it afterwards would drop SQLite's lock
        self._db = self._driver.connect(str(self._path))
        for name, value, expected in _PRAGMAS:
            found = next(self._execute(f"PRAGMA {name} = {value}"), None)
            if expected is not None:
                found = found or next(self._execute(f"PRAGMA {name}"), None)
                if found is None or found[0] != expected:
                    raise SpoolFailed(f"SQLite has {name} {found and found[0]!r} for {self._path}, not {expected!r}")
        self._execute("BEGIN IMMEDIATE")
        if not self._one("SELECT count(*) FROM sqlite_master"):
            for statement in SCHEMA:
                self._execute(statement)
            self._execute("INSERT INTO totals VALUES (0, 0, 0, 0, 0, ?)", (totals_crc((0, 0, 0, 0, 0)),))
            self._execute(f"PRAGMA user_version = {VERSION}")
        self._execute("COMMIT")
        self._execute(f"PRAGMA max_page_count = {max(self._max_bytes // 4096, self._one('PRAGMA page_count'))}")

    def _scan(self, on_row: Callable[[Lane, str, str], None]) -> int:
        accepted, deleted, lost, quarantined, self._last_seq, _crc = next(self._execute("SELECT * FROM totals"))
        self.totals = Totals(accepted, deleted, lost, quarantined)
        rows = 0
        topics: dict[str, str] = {}  # few; without it each row would hold a copy
        for columns in self._execute(f"{_SELECT} ORDER BY seq"):
            row = decode(columns)
            if row is None:
                raise SpoolFailed(f"row {columns[0]} of {self._path} is damaged: its checksum differs")
            record = row.entry.record
            on_row((topics.setdefault(record.topic, record.topic), record.key), row.entry.source, record.dedup_id)
            rows += 1
        return rows

    # ---- writing

    def _insert(self, first: int, appends: Sequence[Encoded]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not appends:
            return (), ()
        assert self._db is not None  # noqa: S101 -- `write` has used it
        rows = [(seq, *e.columns, 0, crc_of(seq, 0, e.crc)) for seq, e in enumerate(appends, first)]
        self._db.executemany(INSERT, rows)
        new = {seq for (seq,) in self._execute("SELECT seq FROM rows WHERE seq >= ?", (first,))}
        if len(new) == len(rows):
            return tuple(range(first, first + len(rows))), ()
        seqs = [
            row[0] if row[0] in new else self._one("SELECT seq FROM rows WHERE dedup_id = ?", (row[4],)) for row in rows
        ]
        return tuple(seqs), tuple(index for index, row in enumerate(rows) if row[0] not in new)

    def _delete(self, seqs: Sequence[int]) -> tuple[int, ...]:
        missing = tuple(
            seq for seq in seqs if next(self._execute("SELECT 1 FROM rows WHERE seq = ?", (seq,)), None) is None
        )
        if seqs:
            assert self._db is not None  # noqa: S101 -- `write` has used it
            self._db.executemany("DELETE FROM rows WHERE seq = ?", [(seq,) for seq in seqs])
        return missing

    def _update(self, tried: Sequence[Row]) -> None:
        for row in tried:
            crc = crc_of(row.seq, row.attempts, encode(row.entry).crc)
            self._execute("UPDATE rows SET attempts = ?, crc = ? WHERE seq = ?", (row.attempts, crc, row.seq))

    def _save_totals(self) -> None:
        totals = self.totals
        columns = (totals.accepted, totals.deleted, totals.lost, totals.quarantined, self._last_seq)
        self._execute(
            "UPDATE totals SET accepted = ?, deleted = ?, lost = ?, quarantined = ?, last_seq = ?, crc = ?",
            (*columns, totals_crc(columns)),
        )

    # ---- SQLite

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401 -- a cursor of either driver
        if self._db is None:
            raise SpoolFailed("the spool's store is not open")
        return iter(self._db.execute(sql, parameters))

    def _one(self, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401 -- whatever the column holds
        return next(self._execute(sql, parameters))[0]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._driver.error as error:
            code = self._driver.code(error)
            if code & 0xFF == FULL:
                raise SpoolFull(f"no room for {self._path}: {error}") from error
            if code & 0xFF == BUSY:
                found = f"{self._directory} is in use by another process, which holds {self._path}"
                raise ConfigError([Problem("BRIDGE_DATA_DIR", found, "a directory of this bridge alone")]) from error
            if code & 0xFF in (PERM, READONLY, CANTOPEN) and self._db is None:
                found = f"{self._path} cannot be used: {error}"
                raise ConfigError([Problem("BRIDGE_DATA_DIR", found, "a directory that can be written")]) from error
            raise SpoolFailed(f"{self._path}: {error} (SQLite's code {code})") from error
        except OSError as error:
            raise SpoolFailed(f"{self._directory}: {error.strerror}") from error
