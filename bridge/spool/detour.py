"""The way around a broker that does not take records: into the spool, and from there to the broker by the drain.

What the entrance asks of the spool, in one place: does this record queue behind others, write these, and what became
of a publish that was late.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from bridge.publishers.base import Record
from bridge.spool.model import Entry, Lane
from bridge.spool.spool import Spool

__all__ = ["Detour", "Holds"]


class Holds:
    """Records in the spool whose first publish is still on its way.

    The drain leaves them alone until it is known what became of that publish: stored, and the row is deleted without
    another publish, or not, and it is published. Bounded by the deliveries that may be late at once.
    """

    def __init__(self) -> None:
        self._stored: dict[str, bool | None] = {}
        self._topics: Counter[str] = Counter()

    def __contains__(self, record: Record) -> bool:
        """Whether a publish of it is on its way, or has ended and the drain does not know yet."""
        return record.dedup_id in self._stored

    def __len__(self) -> int:
        return len(self._stored)

    def begin(self, record: Record) -> None:
        """Its publish goes on; only one that is not held."""
        if record.dedup_id not in self._stored:
            self._stored[record.dedup_id] = None
            self._topics[record.topic] += 1

    def end(self, record: Record, *, stored: bool) -> None:
        """Its publish has ended."""
        if self._stored.get(record.dedup_id, True) is None:
            self._stored[record.dedup_id] = stored
            self._topics[record.topic] -= 1
            if not self._topics[record.topic]:
                del self._topics[record.topic]

    def forget(self, record: Record) -> bool:
        """Its row is dealt with, or was never written; whether the publish had stored it."""
        self.end(record, stored=False)
        return bool(self._stored.pop(record.dedup_id, False))

    def waits(self, record: Record) -> bool:
        """Whether it is not known yet."""
        return self._stored.get(record.dedup_id, True) is None

    def late(self, topic: str) -> bool:
        """Whether any publish to this topic is late: then nothing else needs to wait to find out."""
        return topic in self._topics


class Detour:
    """One, for all sources."""

    def __init__(self, spool: Spool, holds: Holds, *, wake: Callable[[Iterable[Lane]], None]) -> None:
        """Wire.

        Args:
            spool: open.
            holds: shared with the drain.
            wake: told of lanes that have rows to drain.
        """
        self._spool = spool
        self._lanes: Mapping[Lane, int] = spool.lanes
        self.holds = holds
        self._wake = wake

    def takes(self, record: Record) -> bool:
        """Whether the record must queue behind others of its key, or its topic is known to be late."""
        return bool(self._lanes or len(self.holds)) and (
            (record.topic, record.key) in self._lanes or self.holds.late(record.topic)
        )

    def append(self, source: str, records: Collection[Record]) -> asyncio.Future[Sequence[int]]:
        """Write records; from this moment on newer ones of their keys queue behind them.

        Returns:
            Done once they are durable. Fails with SpoolError; then none of them is there.
        """
        now = datetime.now(UTC)
        entries = [Entry(source, record, now) for record in records]
        written = self._spool.append(entries)
        written.add_done_callback(partial(self._written, [(record.topic, record.key) for record in records]))
        return written

    def _written(self, lanes: Iterable[Lane], written: asyncio.Future[Sequence[int]]) -> None:
        if not written.cancelled() and written.exception() is None:
            self._wake(lanes)

    def ended(self, record: Record, *, stored: bool) -> None:
        """A late publish has ended, whichever way."""
        self.holds.end(record, stored=stored)
        self._wake([(record.topic, record.key)])
