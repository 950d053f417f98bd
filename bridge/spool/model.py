"""What the spool takes, gives back and says of itself."""

from datetime import datetime
from pathlib import Path

import msgspec

from bridge.publishers.base import Record

__all__ = ["Entry", "Lane", "Opened", "Row", "SpoolState", "Totals", "lane_of"]

Lane = tuple[str, str]
"""Topic and key: what keeps its order."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is to be kept.

    Attributes:
        source: the source's name.
        record: what the broker shall get.
        received_at: when it came here, UTC: its delivery's deadline after the request at most.
    """

    source: str
    record: Record
    received_at: datetime


class Row(msgspec.Struct, frozen=True, gc=False):
    """What is kept.

    Attributes:
        seq: its place; ascending, never used twice.
        entry: as appended.
    """

    seq: int
    entry: Entry


class Totals(msgspec.Struct, frozen=True):
    """How many rows there ever were, over restarts.

    Attributes:
        accepted: taken in.
        deleted: taken out, since the broker has them.
        lost: gone without that; at most, for some of them may have been published.
        quarantined: files found damaged and set aside.
    """

    accepted: int = 0
    deleted: int = 0
    lost: int = 0
    quarantined: int = 0

    @property
    def rows(self) -> int:
        """How many there must be now."""
        return self.accepted - self.deleted - self.lost


class Opened(msgspec.Struct, frozen=True):
    """What was found at the start.

    Attributes:
        rows: kept rows, in order of their lanes' oldest.
        lost: rows that were there at the last run and are not now; at most.
        salvaged: rows taken over from a damaged file.
        quarantined: where that file is now; None where there was none.
        reason: what was wrong with it.
    """

    rows: int
    lost: int = 0
    salvaged: int = 0
    quarantined: Path | None = None
    reason: str | None = None


class SpoolState(msgspec.Struct, frozen=True):
    """The spool now.

    Attributes:
        accepting: an append would be taken, as far as is known.
        reason: why not.
        warning: it is accepting, and will not be for long.
        rows: on disk.
        bytes: used by them.
        max_bytes: the bound.
        oldest_at: when the oldest row's event was received.
        canary_age_s: since something was last seen to be written durably; None before the first time.
        totals: over restarts.
    """

    accepting: bool
    reason: str | None
    warning: str | None
    rows: int
    bytes: int
    max_bytes: int
    oldest_at: datetime | None
    canary_age_s: float | None
    totals: Totals


def lane_of(entry: Entry) -> Lane:
    """The lane an entry belongs to."""
    return entry.record.topic, entry.record.key
