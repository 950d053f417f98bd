"""Which ids were durable lately: bounded in time and in number, and nothing is ever searched for what is old.

Ids live in generations. A new id, or an old one seen again, goes into the youngest; it is closed when its slice of the
window is over or its share of the ids is full; a whole generation is dropped at once when the window has passed since
it was closed, or when there are too many ids. So an id is remembered for at least the window from its last sight, and
for at most two slices more.

Dicts and not sets: the garbage collector does not look into a dict of plain bytes, but walks through every set.
Measured with 500,000 ids of 15 bytes: 100 bytes an id, a full collection in 2 ms (sets: 60), dropping a generation in
2 ms. An OrderedDict, exact and with one lookup, takes 223 bytes an id and 40 ms a collection.

In memory. What shall outlive the process is collected on the way, for `kept_ids` to write and to give back.
"""

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple

__all__ = ["Generation", "SeenIds", "Unsaved"]

# More slices cost a lookup each; fewer make the pause longer in which one is dropped (125,000 ids: 3 ms).
_SLICES = 4


class Generation(NamedTuple):
    """Ids that are forgotten together.

    Attributes:
        number: ascending, the same over restarts.
        closed_at: by the clock; none of them was seen after it.
        ids: the keys of the dict.
    """

    number: int
    closed_at: float
    ids: dict[bytes, None]


class Unsaved(NamedTuple):
    """What is to be written.

    Attributes:
        ids: by number of generation what has come into it, ids end to end.
        oldest: the lowest number of a generation that is not forgotten.
    """

    ids: list[tuple[int, bytearray]]
    oldest: int


class SeenIds:
    """A set of ids that forgets."""

    def __init__(
        self,
        *,
        window_s: float,
        max_ids: int,
        on_forgotten: Callable[[int], None] = lambda _count: None,
        clock: Callable[[], float] = monotonic,
        collect: bool = False,
    ) -> None:
        """Empty.

        Args:
            window_s: how long an id is remembered after its last sight, at least.
            max_ids: how many are remembered at most; the oldest give way.
            on_forgotten: told how many were forgotten before their time.
            clock: seconds, never going back.
            collect: what comes is to be asked for with `unsaved`, about once a second.
        """
        self._window_s = window_s
        self._slice_s = window_s / _SLICES
        self._slice_ids = max(1, max_ids // _SLICES)
        self._max_ids = max_ids
        self._on_forgotten = on_forgotten
        self._clock = clock
        self._count = 0
        self._young: dict[bytes, None] = {}
        self._closes_at = clock() + self._slice_s
        self._old: deque[Generation] = deque()  # the youngest first
        self._number = 0  # of the youngest
        self._collected = bytearray() if collect else None
        self._closed: list[tuple[int, bytearray]] = []

    def __len__(self) -> int:
        return self._count

    def see(self, key: bytes) -> bool:
        """Whether the id is remembered; if so, from now on for the whole window again."""
        now = self._clock()
        if now >= self._closes_at:
            self._turn(now)
        if key in self._young:
            return True
        for _number, _closed_at, ids in self._old:
            if key in ids:
                del ids[key]
                self._put(key)
                return True
        return False

    def add(self, key: bytes) -> None:
        """Remember an id that is not. Only one whose record is durable: what is remembered is not published again."""
        self._put(key)
        self._count += 1
        while self._count > self._max_ids:
            if forgotten := self._drop_oldest():
                self._on_forgotten(forgotten)

    def unsaved(self) -> Unsaved:
        """What came since it was last asked for."""
        ids, self._closed = self._closed, []
        if self._collected:
            ids.append((self._number, self._collected))
            self._collected = bytearray()
        return Unsaved(ids, self._old[-1].number if self._old else self._number)

    def restore(self, generations: Iterable[Generation]) -> None:
        """Remember what another process did; the youngest first, before anything else is asked or added.

        Its number is that of a generation which exists no more, so those to come have higher ones.
        """
        known: set[bytes] = set()
        for number, closed_at, ids in generations:
            fresh = dict.fromkeys(key for key in ids if key not in known)
            known.update(fresh)
            self._number = max(self._number, number + 1)
            if not fresh or closed_at + self._window_s <= self._clock():
                continue
            if self._count + len(fresh) > self._max_ids:  # there may be fewer than in the other process
                self._on_forgotten(len(fresh))
                continue
            self._count += len(fresh)
            self._old.append(Generation(number, closed_at, fresh))

    def _put(self, key: bytes) -> None:
        if len(self._young) >= self._slice_ids:
            self._turn(self._clock())
        self._young[key] = None
        if self._collected is not None:
            self._collected += key

    def _turn(self, now: float) -> None:
        """Close the youngest generation, and drop those whose time is over."""
        if self._young:
            # However late this is noticed: but for those that were asked for before and came a moment after its end,
            # which a slice more covers, nobody was seen in it after its end.
            self._old.appendleft(Generation(self._number, min(now, self._closes_at + self._slice_s), self._young))
            self._young = {}
            if self._collected:
                self._closed.append((self._number, self._collected))
                self._collected = bytearray()
            self._number += 1
        self._closes_at = now + self._slice_s
        while self._old and self._old[-1].closed_at + self._window_s <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> int:
        forgotten = len(self._old.pop().ids)
        self._count -= forgotten
        return forgotten
