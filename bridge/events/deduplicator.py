"""Which events a consumer has handled: the copies that at-least-once delivery brings are told by it.

In memory, so it forgets with the process. What must not happen twice even then keeps `source` and `id` where it keeps
its effect: a unique column, an idempotency key.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from hashlib import blake2b
from time import monotonic
from typing import Protocol

__all__ = ["Deduplicator", "Identified"]

_DIGEST_BYTES = 16


class Identified(Protocol):
    """What `parse` returns, or anything else that says which event it is."""

    @property
    def source(self) -> str:
        """The event's `source`."""
        ...

    @property
    def id(self) -> str:
        """The event's `id`, unique within its source."""
        ...


class Deduplicator:
    """A set of events that forgets.

    ```
    handled = Deduplicator()
    …
    if event not in handled:
        handle(event)
        handled.add(event)  # after it worked: what failed shall be handled when it comes again
    ```

    An event is its source and id together: two sources may use one id, and the copies of an event on several topics
    are one event. Not for several threads at once.
    """

    def __init__(
        self,
        *,
        max_ids: int = 100_000,
        window: timedelta = timedelta(hours=2),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Empty.

        Args:
            max_ids: how many events are remembered; with one more the oldest is forgotten. About 200 bytes each.
            window: how long each is remembered. The default is longer than Chatlevel goes on with its retries.
            clock: seconds, never going back.
        """
        if max_ids < 1 or window <= timedelta(0):
            raise ValueError(f"max_ids={max_ids}, window={window}: both must be above 0")
        self._max_ids = max_ids
        self._window_s = window.total_seconds()
        self._clock = clock
        self._added_at: OrderedDict[bytes, float] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        """How many are remembered; some of them may be past their time."""
        return len(self._added_at)

    def __contains__(self, event: Identified) -> bool:
        """Whether it was added within the window and is not forgotten. Asking changes nothing."""
        added_at = self._added_at.get(_digest(event))
        return added_at is not None and self._clock() - added_at < self._window_s

    def add(self, event: Identified) -> None:
        """Remember it from now on for the whole window."""
        now, key = self._clock(), _digest(event)
        self._added_at[key] = now
        self._added_at.move_to_end(key)
        while len(self._added_at) > self._max_ids or now - next(iter(self._added_at.values())) >= self._window_s:
            self._added_at.popitem(last=False)


def _digest(event: Identified) -> bytes:
    """Of one length whatever the id's is, so that memory is bounded by the number."""
    source = event.source.encode(errors="surrogatepass")
    identity = b"%d:%b%b" % (len(source), source, event.id.encode(errors="surrogatepass"))
    return blake2b(identity, digest_size=_DIGEST_BYTES).digest()
