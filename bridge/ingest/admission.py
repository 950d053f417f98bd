"""Whether a delivery is let in: places under way that sources share fairly, and the rate a source may come at.

Both are a few comparisons at the moment a delivery asks: no timer, no task, nothing kept for one that is not let in.

A place is needed before a body is read, and so before most senders have proven anything: whoever opens many slow
connections to one source's URL takes places. That is why others' are kept from it. The rate is charged after the proof,
even where a body must be read for it: charged before, anybody who knows the URL could use it up for the genuine sender,
and what reading costs is bounded by body limit, deadline and places.
"""

from collections.abc import Callable
from time import monotonic_ns

import msgspec

__all__ = ["Pool", "RateLimit", "Room", "Share"]

_SECOND_NS = 1_000_000_000


class Pool:
    """So many places, half of them dealt out to the sources in equal parts, the others for whoever comes first.

    So a source finds its own part free whatever the others do, and one that is busy alone gets more than half of all.

    Attributes:
        own: places that each source has to itself.
        common: places for everybody.
        free: how many of these are free.
    """

    def __init__(self, size: int, sources: int) -> None:
        """All free.

        Args:
            size: places.
            sources: how many will have a share; not more than there are places, for each has one at least.
        """
        if sources > size:
            raise ValueError(f"{size} places are too few for {sources} sources")
        self.own = max(1, size // (2 * sources)) if sources else 0
        self.common = self.free = size - self.own * sources

    def share(self) -> "Share":
        """One more source's."""
        return Share(self)


class Share:
    """One source's places.

    Attributes:
        taken: how many.
    """

    __slots__ = ("_pool", "taken")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.taken = 0

    @property
    def most(self) -> int:
        """How many it can have while the others have no more than their own."""
        return self._pool.own + self._pool.common

    def take(self) -> bool:
        """Whether there was one, of its own or in common; it must be given back."""
        pool = self._pool
        if self.taken >= pool.own:
            if not pool.free:
                return False
            pool.free -= 1
        self.taken += 1
        return True

    def give_back(self) -> None:
        """One that was taken; those in common first."""
        self.taken -= 1
        if self.taken >= self._pool.own:
            self._pool.free += 1


class Room(msgspec.Struct, frozen=True):
    """What a source may have at once.

    Attributes:
        under_way: deliveries that are not answered.
        late: deliveries that are, and whose publish goes on.
    """

    under_way: Share
    late: Share


class RateLimit:
    """A token bucket: so many deliveries at once, and as many again in each period, evenly.

    Kept as the moment at which it will be full again, in whole nanoseconds: sums of fractions would not be exact.
    """

    def __init__(self, count: int, period_s: int, clock: Callable[[], int] = monotonic_ns) -> None:
        """Full.

        Args:
            count: deliveries in a period.
            period_s: its length.
            clock: nanoseconds, never going back.
        """
        self._clock = clock
        self._period_ns = period_s * _SECOND_NS
        self._token_ns = self._period_ns // count
        self._full_at = clock()

    def charge(self) -> int:
        """Take a token: 0; or, where there is none, in how many whole seconds there will be."""
        now = self._clock()
        full_at = max(self._full_at, now) + self._token_ns
        wait_ns = full_at - now - self._period_ns
        if wait_ns <= 0:
            self._full_at = full_at
            return 0
        return -(-wait_ns // _SECOND_NS)
