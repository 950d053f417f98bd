"""What the store asks of SQLite, and how a row looks there."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zlib import crc32

import msgspec

from bridge.publishers.base import Record
from bridge.spool.model import Entry, Row

__all__ = [
    "COLUMNS",
    "INSERT",
    "INSERT_FOUND",
    "LOG_BYTES",
    "PAGE_BYTES",
    "SCHEMA",
    "SELECT",
    "SELECT_IDS",
    "SELECT_LANE",
    "SQLITE",
    "VERSION",
    "Connection",
    "Driver",
    "Encoded",
    "body_of",
    "crc_of",
    "decode",
    "encode",
    "one",
    "totals_crc",
]

VERSION = 2
"""Of the layout below, kept as `user_version`. A change of the layout is another version, and never 0."""

PAGE_BYTES = 4096
LOG_BYTES = 4_194_304  # of the write-ahead log: merged when it has as much, and cut to it when it begins anew

COLUMNS = ("seq", "source", "topic", "key", "dedup_id", "value", "headers", "ttl_s", "received_at", "crc")
SCHEMA = (
    (
        "CREATE TABLE rows (seq INTEGER PRIMARY KEY, source TEXT NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL, "
        "dedup_id TEXT NOT NULL UNIQUE, value BLOB NOT NULL, headers TEXT NOT NULL, ttl_s INTEGER, "
        "received_at INTEGER NOT NULL, crc INTEGER NOT NULL)"
    ),
    "CREATE INDEX lanes ON rows (topic, key)",
    (
        "CREATE TABLE totals (accepted INTEGER NOT NULL, deleted INTEGER NOT NULL, lost INTEGER NOT NULL, "
        "quarantined INTEGER NOT NULL, last_seq INTEGER NOT NULL, crc INTEGER NOT NULL)"
    ),
)
"""`received_at` in microseconds of unix time; `headers` a JSON object."""

_VALUES = f"({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
INSERT = f"INSERT INTO rows {_VALUES} ON CONFLICT (dedup_id) DO NOTHING"
INSERT_FOUND = f"INSERT OR IGNORE INTO rows {_VALUES}"
"""Salvaged rows, some of which are found twice."""

SELECT = f"SELECT {', '.join(COLUMNS)} FROM rows"  # noqa: S608 -- constants
SELECT_LANE = f"{SELECT} WHERE topic = ? AND key = ? AND seq > ? ORDER BY seq LIMIT ?"
SELECT_IDS = "SELECT topic, key, source, dedup_id FROM rows ORDER BY seq"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_headers = msgspec.json.Decoder(dict[str, str])
_packed = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class Connection(Protocol):
    """As sqlite3's and apsw's, which need not commit by themselves."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Iterator[Any]:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        """Run one statement for each."""
        ...

    def close(self) -> None:
        """Checkpoint and close."""
        ...


class Driver(msgspec.Struct, frozen=True):
    """A way to SQLite.

    Attributes:
        connect: opens a file, in autocommit mode and without waiting for locks.
        error: what it raises.
        code: SQLite's extended result code of such an error; 0 where it has none.
    """

    connect: Callable[[str], Connection]
    error: type[Exception]
    code: Callable[[Exception], int]


def _connect(path: str) -> Connection:
    # one thread at a time uses it, but the pool may replace that thread
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)


SQLITE = Driver(_connect, sqlite3.Error, lambda error: int(getattr(error, "sqlite_errorcode", None) or 0))


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """An entry as its columns from `source` to `received_at`, and their checksum."""

    columns: tuple[str, str, str, str, bytes, str, int | None, int]
    crc: int

    @property
    def size_bytes(self) -> int:
        """About what the row takes, in two indexes too."""
        _source, topic, key, dedup_id, value, headers, _ttl_s, _at = self.columns
        return len(value) + len(headers) + 2 * (len(topic) + len(key) + len(dedup_id)) + 64


def encode(entry: Entry) -> Encoded:
    """As columns.

    Raises:
        UnicodeEncodeError: a text is none.
    """
    record = entry.record
    columns = (
        entry.source,
        record.topic,
        record.key,
        record.dedup_id,
        record.value,
        _json(record.headers).decode(),
        record.ttl_s,
        (entry.received_at - _EPOCH) // _US,
    )
    return Encoded(columns, crc32(_packed(columns)))


def crc_of(seq: int, body: int) -> int:
    """A row's checksum, over every column; `body`: that of all but the seq, which is known later than they are.

    CRC-32, of the standard library. CRC-32C differs in its polynomial and in being fast where the processor has it;
    both find each burst of up to 32 bits and one of 4 billion other changes.
    """
    return crc32(_packed(seq), body)


def body_of(columns: Sequence[object]) -> int:
    """The checksum of the columns from `source` to `received_at` as they were read, whatever they hold."""
    return crc32(_packed(tuple(columns)))


def decode(columns: Sequence[Any]) -> Row | None:
    """A row as it was written; None where its checksum says that it is not."""
    seq, source, topic, key, dedup_id, value, headers, ttl_s, received_at, crc = columns
    if crc != crc_of(seq, body_of(columns[1:9])):
        return None
    record = Record(topic, key, value, _headers.decode(headers), dedup_id, ttl_s)
    return Row(seq, Entry(source, record, _EPOCH + received_at * _US))


def totals_crc(columns: Sequence[object]) -> int:
    """The checksum of the row of totals."""
    return crc32(_packed(tuple(columns)))


def one(db: Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401 -- whatever the column holds
    """The first column of the first row; None without any."""
    row = next(iter(db.execute(sql, parameters)), None)
    return None if row is None else row[0]
