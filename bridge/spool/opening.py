"""Whether a file of the spool is what was written, and a new one with what is good of it.

A repair may be cut off at any point of it and loses nothing: first the damaged file gets another name, from which the
next start knows that its rows are still to be taken over; then the new file is made under a name of its own and put in
the place; then the damaged one gets its last name. Nothing of it is ever deleted.
"""

import os
from itertools import islice
from pathlib import Path
from zlib import crc32

import msgspec

from bridge.errors import ConfigError, Problem, SpoolFailed
from bridge.spool.carve import Carver
from bridge.spool.faults import Damaged
from bridge.spool.files import replace_file, sync_directory
from bridge.spool.model import Totals
from bridge.spool.sql import (
    INSERT_FOUND,
    LOG_BYTES,
    PAGE_BYTES,
    SCHEMA,
    SELECT,
    VERSION,
    Connection,
    Driver,
    decode,
    one,
    totals_crc,
)

__all__ = [
    "Kept",
    "Repaired",
    "begin_repair",
    "configure",
    "create",
    "expects_file",
    "inspect",
    "log_of",
    "read_kept",
    "repair",
    "write_kept",
]

_PRAGMAS = (
    ("locking_mode", "EXCLUSIVE", "exclusive"),  # no other process, and no shared memory
    ("page_size", str(PAGE_BYTES), PAGE_BYTES),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),  # of a connection, never stored
    ("wal_autocheckpoint", "0", 0),  # SQLite keeps its failures for itself; we do it (`Store.checkpoint`)
    ("journal_size_limit", str(LOG_BYTES), LOG_BYTES),  # it grows while a full disk lets none be merged
    ("secure_delete", "ON", 1),  # whose phone number it was is no longer in the file, and salvage finds no old rows
    ("cell_size_check", "ON", None),
    ("trusted_schema", "OFF", None),
    ("temp_store", "MEMORY", None),
    ("fullfsync", "ON", None),  # macOS
    ("checkpoint_fullfsync", "ON", None),
)
_GROUP_ROWS = 512


class Kept(msgspec.Struct, frozen=True):
    """What is kept outside of the file, so that it cannot get lost with it."""

    totals: Totals
    last_seq: int


class Repaired(msgspec.Struct, frozen=True):
    """A new file is in the place of a damaged one.

    Attributes:
        lost: rows that are gone, at most; None: a repair that was cut off has counted them in the totals.
        quarantined: where the damaged one is; None if there was none.
    """

    lost: int | None
    quarantined: Path | None


def log_of(path: Path) -> Path:
    """Where the write-ahead log of a file is."""
    return path.with_name(f"{path.name}-wal")


def read_kept(path: Path) -> Kept | None:
    """None where there is none, or garbage: a power cut may leave that."""
    try:
        checksum, _, content = path.read_bytes().partition(b" ")
        return msgspec.json.decode(content, type=Kept) if checksum == b"%08x" % crc32(content) else None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_kept(path: Path, kept: Kept) -> None:
    """Whole or not at all; not synced, for after a crash it may be behind, and never ahead."""
    content = msgspec.json.encode(kept)
    replace_file(path, b"%08x %s" % (crc32(content), content))


def expects_file(path: Path, kept: Kept | None) -> None:
    """Whether there may be nothing yet, before SQLite makes it so: it deletes a log beside an empty file.

    Raises:
        Damaged: there was something.
    """
    if path.exists() and path.stat().st_size:
        return
    if log_of(path).exists() and log_of(path).stat().st_size:
        raise Damaged("it is empty, and there is a write-ahead log beside it")
    if kept is not None and kept.totals.accepted:
        raise Damaged("it is empty or gone")


def create(path: Path) -> None:
    """An empty file if there is none, for the owner alone; SQLite gives its log the same mode.

    Before SQLite opens it: closing a descriptor of a file gives up the process's locks on it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)


def configure(db: Connection, max_bytes: int) -> None:
    """Everything that durability rests on, asserted; and the tables, where there is nothing yet.

    Raises:
        SpoolFailed: this SQLite does not do as it is told.
    """
    for name, value, expected in _PRAGMAS:
        found = one(db, f"PRAGMA {name} = {value}")
        found = one(db, f"PRAGMA {name}") if found is None else found
        if expected is not None and found != expected:
            raise SpoolFailed(f"SQLite has {name} {found!r}, where it must have {expected!r}")
    db.execute("BEGIN IMMEDIATE")
    if not one(db, "SELECT count(*) FROM sqlite_master") and not one(db, "PRAGMA user_version"):
        _make_layout(db, Kept(Totals(), 0))
    db.execute("COMMIT")
    one(db, f"PRAGMA max_page_count = {max(max_bytes // PAGE_BYTES, one(db, 'PRAGMA page_count'))}")


def inspect(db: Connection, kept: Kept | None) -> Kept:
    """Its totals, when all is what was written.

    Raises:
        Damaged: it is not.
        ConfigError: another version of this program has left rows in it, which only that one reads.
    """
    version = one(db, "PRAGMA user_version")
    tables = tuple(sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY rowid"))
    if version not in (0, VERSION) and tables != SCHEMA and _is_whole_with_rows(db):
        other = (
            f"has a spool with events of another version of the bridge (its layout is {version}, this has {VERSION})"
        )
        raise ConfigError([Problem("BRIDGE_DATA_DIR", other, "that version, or its `webhook-bridge drain`, once more")])
    if version != VERSION:
        raise Damaged(f"it is of version {version}; this is {VERSION}")
    if tables != SCHEMA:
        raise Damaged("its tables are others")
    if (verdict := one(db, "PRAGMA integrity_check(1)")) != "ok":
        raise Damaged(f"SQLite finds: {verdict}")
    found = _totals(db)
    rows = last_seq = 0
    for columns in db.execute(f"{SELECT} ORDER BY seq"):
        if decode(columns) is None:
            raise Damaged(f"the checksum of row {columns[0]} is another")
        rows, last_seq = rows + 1, columns[0]
    if last_seq > found.last_seq:
        raise Damaged(f"row {last_seq} is beyond the last one given, {found.last_seq}")
    if rows != found.totals.rows:
        raise Damaged(f"it has {rows} rows where there must be {found.totals.rows}")
    if kept is not None and (
        kept.totals.accepted > found.totals.accepted or kept.totals.deleted > found.totals.deleted
    ):
        raise Damaged(
            f"it has taken {found.totals.accepted} rows in and {found.totals.deleted} out, where it had "
            f"{kept.totals.accepted} and {kept.totals.deleted} before: the end of its log is gone"
        )
    return found


def _is_whole_with_rows(db: Connection) -> bool:
    """Of a file with other tables than ours: whether they are what somebody wrote, and have something to lose."""
    has_rows = one(db, "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'rows')")
    return bool(
        has_rows and one(db, "PRAGMA integrity_check(1)") == "ok" and one(db, "SELECT EXISTS (SELECT 1 FROM rows)")
    )


def begin_repair(path: Path) -> None:
    """Take the damaged file out of the way. To be called while SQLite has it open, for only so closing changes nothing.

    SQLite would merge into the file what it believes of the log, and delete the log.
    """
    _move(path, _repairing(path))
    sync_directory(path.parent)


def repair(path: Path, driver: Driver, kept: Kept | None, *, needed: bool) -> Repaired | None:
    """Make a new file of what the damaged one still has, or go on with that; None where there is nothing to repair.

    Args:
        path: where the new one belongs.
        driver: the way to SQLite.
        kept: what is kept outside of it.
        needed: even if there is no file at all.
    """
    old = _repairing(path)
    if not (needed or old.exists() or log_of(old).exists()):
        return None
    lost = None
    if not path.exists():
        _move(path, old)  # its log, if that is all that is left to move
        lost = _build(path, Carver(old, log_of(old)), kept, driver)
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists() or log_of(aside).exists():
        number += 1
    moved = _move(old, aside)
    sync_directory(path.parent)
    return Repaired(lost, aside if moved else None)


def _repairing(path: Path) -> Path:
    return path.with_name(f"{path.name}.repairing")


def _move(old: Path, new: Path) -> bool:
    """The file first: as long as there is one, a log beside it is its own."""
    found = False
    for source, target in ((old, new), (log_of(old), log_of(new))):
        if source.exists():
            source.rename(target)
            found = True
    return found


def _build(path: Path, carver: Carver, kept: Kept | None, driver: Driver) -> int:
    """A new file, whole or not at all; returns how many rows are gone, at most."""
    draft = path.with_name(f"{path.name}.new")
    for leftover in (draft, draft.with_name(f"{draft.name}-journal")):
        leftover.unlink(missing_ok=True)  # of a repair that was cut off
    create(draft)
    db = driver.connect(str(draft))
    try:
        one(db, f"PRAGMA page_size = {PAGE_BYTES}")
        one(db, "PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        _make_layout(db, Kept(Totals(), 0))
        rows = carver.rows()
        while group := list(islice(rows, _GROUP_ROWS)):
            db.executemany(INSERT_FOUND, group)
        lost, now = _accounted(db, carver, kept, quarantined=_repairing(path).exists())
        db.execute("DELETE FROM totals")
        _insert_totals(db, now)
        db.execute("COMMIT")
    finally:
        db.close()
    draft.rename(path)
    sync_directory(path.parent)
    return lost


def _make_layout(db: Connection, kept: Kept) -> None:
    for statement in SCHEMA:
        db.execute(statement)
    _insert_totals(db, kept)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _insert_totals(db: Connection, kept: Kept) -> None:
    columns = (*msgspec.structs.astuple(kept.totals), kept.last_seq)
    db.execute("INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?)", (*columns, totals_crc(columns)))


def _totals(db: Connection) -> Kept:
    rows = list(db.execute("SELECT * FROM totals"))
    if len(rows) != 1 or rows[0][-1] != totals_crc(rows[0][:-1]):
        raise Damaged("the checksum of its totals is another")
    return Kept(Totals(*rows[0][:4]), rows[0][4])


def _accounted(db: Connection, carver: Carver, kept: Kept | None, *, quarantined: bool) -> tuple[int, Kept]:
    """How many rows are gone, and the totals of the new file: those of the damaged one and what became of it."""
    found = one(db, "SELECT count(*) FROM rows")
    known = [(*msgspec.structs.astuple(kept.totals), kept.last_seq)] if kept is not None else []
    if carver.totals is not None:
        known.append(carver.totals)
    accepted, deleted, lost, aside, last_seq = map(max, zip(*known, strict=True)) if known else (0,) * 5
    gone = max(0, accepted - deleted - lost - found) if known else carver.damaged
    now = Totals(
        accepted=found + deleted + lost + gone,
        deleted=deleted,
        lost=lost + gone,
        quarantined=aside + quarantined,
    )
    return gone, Kept(now, max(last_seq, one(db, "SELECT coalesce(max(seq), 0) FROM rows")))
