"""Rows out of a damaged file, page by page, without SQLite: it opens nothing whose first page is gone.

Each row has a checksum of its own, so that whatever looks like one and proves right is one; where it was found does
not matter. Of a page the newest image counts; the one before it only where the newest has less than it should, since
it may hold rows that were deleted meanwhile. Nothing else that was deleted is found: SQLite overwrites it
(`secure_delete`).

The format is https://sqlite.org/fileformat2.html: what is read of it are leaf pages of tables (1.6), records (2.1),
overflow chains (1.6) and frames of the write-ahead log (4.1).
"""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bridge.spool.sql import COLUMNS, PAGE_BYTES, body_of, crc_of, totals_crc

__all__ = ["Carver"]

_LEAF = 0x0D
_WAL_HEADER, _FRAME_HEADER = 32, 24
_MAX_LOCAL = PAGE_BYTES - 35
_MIN_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
_MAX_PAYLOAD = 1 << 28
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_TOTALS_COLUMNS = 6
_UNREADABLE = (IndexError, ValueError, struct.error)

Columns = tuple[Any, ...]


class Carver:
    """Reads a file and its write-ahead log.

    Attributes:
        totals: the highest found so far, without their checksum; None before any.
        damaged: how many rows were seen that are not as they were written.
    """

    def __init__(self, database: Path, log: Path) -> None:
        self._database = database
        self._log = log
        self._frames: dict[int, list[int]] = {}  # page -> where its images are, the oldest first
        self._pages = 0  # of the file
        self._files: tuple[BinaryIO | None, BinaryIO | None] = (None, None)
        self.totals: tuple[int, ...] | None = None
        self.damaged = 0

    def rows(self) -> Iterator[Columns]:
        """Each row that proves right, as its columns; some perhaps twice."""
        self._files = _opened(self._database), _opened(self._log)
        try:
            database, log = self._files
            self._frames = _frames(log) if log is not None else {}
            self._pages = -(-_size(database) // PAGE_BYTES)  # a last page that is cut off is padded
            for page in sorted({*range(2, self._pages + 1), *self._frames}):
                yield from self._page(page)
        finally:
            for file in self._files:
                if file is not None:
                    file.close()

    def _page(self, page: int) -> Iterator[Columns]:
        for image in self._images(page):
            good = 0
            for columns in self._cells(image):
                good += 1
                if len(columns) == len(COLUMNS):
                    yield columns
                elif self.totals is None or columns > self.totals:
                    self.totals = columns
            expected = struct.unpack_from(">H", image, 3)[0]
            if image[0] != _LEAF or good >= expected:
                return
            self.damaged += min(expected - good, PAGE_BYTES // 8)

    def _cells(self, image: bytes) -> Iterator[Columns]:
        """The page's records that prove right.

        Neither its type nor its number of cells is believed: there are pointers up to where the first cell begins. A
        page that does not say it is a leaf is looked at while it proves to be one.
        """
        end, at = PAGE_BYTES, 8
        seen: set[int] = set()
        while at + 2 <= end:
            start = struct.unpack_from(">H", image, at)[0]
            at += 2
            columns = None
            if start not in seen and at <= start < PAGE_BYTES - 4:
                seen.add(start)
                with contextlib.suppress(*_UNREADABLE):
                    columns = self._record(image, start)
            if columns is not None:
                end = min(end, start)
                yield columns
            elif image[0] != _LEAF:
                return

    def _record(self, image: bytes, at: int) -> Columns | None:
        size, at = _varint(image, at)
        rowid, at = _varint(image, at)
        if size > _MAX_PAYLOAD:
            return None
        columns = _columns(self._payload(image, at, size))
        if len(columns) == len(COLUMNS):
            columns = (rowid, *columns[1:])  # it stands for the column that is its name
            good = columns[-1] == crc_of(rowid, body_of(columns[1:9]))
            return columns if good else None
        if len(columns) == _TOTALS_COLUMNS and columns[-1] == totals_crc(columns[:-1]):
            return columns[:-1]
        return None

    def _payload(self, image: bytes, at: int, size: int) -> bytes:
        if size <= _MAX_LOCAL:
            return image[at : at + size]
        local = _MIN_LOCAL + (size - _MIN_LOCAL) % (PAGE_BYTES - 4)
        local = local if local <= _MAX_LOCAL else _MIN_LOCAL
        parts = [image[at : at + local]]
        following, left = struct.unpack_from(">I", image, at + local)[0], size - local
        while left > 0:
            rest = next(self._images(following))
            following = struct.unpack_from(">I", rest)[0]
            parts.append(rest[4 : 4 + left])
            left -= PAGE_BYTES - 4
        return b"".join(parts)

    def _images(self, page: int) -> Iterator[bytes]:
        """What the page holds and held, the newest first.

        Raises:
            ValueError: there is no such page.
        """
        database, log = self._files
        found = False
        for offset in reversed(self._frames.get(page, ())):
            found = True
            yield _read(log, offset)
        if database is not None and 0 < page <= self._pages:
            found = True
            yield _read(database, (page - 1) * PAGE_BYTES)
        if not found:
            raise ValueError(page)


def _frames(log: BinaryIO) -> dict[int, list[int]]:
    """Where each page's images are, of the log's present generation; what is behind them is of earlier ones.

    Not stopped at a frame with a wrong checksum, as SQLite is: the rows have their own.
    """
    salts = {_read(log, 16, 8), _read(log, _WAL_HEADER + 8, 8)}  # one of the two may be damaged
    frames: dict[int, list[int]] = {}
    for offset in range(_WAL_HEADER, _size(log), _FRAME_HEADER + PAGE_BYTES):
        header = _read(log, offset, _FRAME_HEADER)
        if header[8:16] in salts:
            page = struct.unpack_from(">I", header)[0]
            if page < 1 << 28:  # of 1 TiB; a damaged number must not make us walk for ever
                frames.setdefault(page, []).append(offset + _FRAME_HEADER)
    return frames


def _columns(record: bytes) -> Columns:
    header_size, at = _varint(record, 0)
    types = []
    while at < header_size:
        kind, at = _varint(record, at)
        types.append(kind)
        if len(types) > len(COLUMNS):
            return ()
    columns: list[Any] = []
    for kind in types:
        value, at = _value(record, at, kind)
        columns.append(value)
    return tuple(columns)


def _value(record: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(record[at:end], signed=True), end
    if kind < 12:  # noqa: PLR2004 -- floats and reserved; we have none
        raise ValueError(kind)
    end = at + (kind - 12) // 2
    data = record[at:end]
    return (data.decode() if kind % 2 else data), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 -- the bit that says that more follows
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _opened(path: Path) -> BinaryIO | None:
    return path.open("rb") if path.exists() else None


def _size(file: BinaryIO | None) -> int:
    return 0 if file is None else file.seek(0, 2)


def _read(file: BinaryIO | None, offset: int, size: int = PAGE_BYTES) -> bytes:
    """So much from there; what is behind the end reads as zeros."""
    if file is None:
        return bytes(size)
    file.seek(offset)
    return file.read(size).ljust(size, b"\0")
