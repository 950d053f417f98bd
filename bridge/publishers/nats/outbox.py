"""The order of records across links: what is on its way, what waits, and what is given up. No I/O, no tasks.

A record has a token, its place in the order of acceptance. It is in one of three places: on a link, in the queue for
the next link, or in a lane: the records of a topic that no server takes just now (no stream, or a leader election).
Newer records queue behind older ones in the same place, and all leave it in order.
"""

import asyncio
from collections.abc import Callable

from bridge.errors import BrokerUnavailable
from bridge.publishers.nats.link import Entry, Link

__all__ = ["Outbox"]

_RETRY_S = 0.25  # as the Go client's
# A record that has seen two links end may be what ends them.
_MAX_LOSSES = 2


class Outbox:
    """All records under way.

    Attributes:
        link: where records go; None while there is none.
    """

    def __init__(self, on_stalled: Callable[[], None]) -> None:
        """Nothing under way.

        Args:
            on_stalled: called when nobody takes the records of some topic.
        """
        self.link: Link | None = None
        self._on_stalled = on_stalled
        self._refusal: str | None = "the publisher was not started"
        self._shut = False
        self._waiting: dict[int, Entry] = {}
        self._lanes: dict[str, dict[int, Entry]] = {}
        self._heads: dict[str, Entry] = {}
        self._timer: asyncio.TimerHandle | None = None

    def hold(self) -> None:
        """A link is to be expected soon: records wait for it."""
        self._refusal = None

    def submit(self, entry: Entry) -> None:
        """Take a new record, or one that is to be tried again.

        Raises:
            BrokerUnavailable: there is no link, and has not been for longer than a moment.
        """
        link = self.link
        if link is None:
            if self._refusal is not None:
                raise BrokerUnavailable(self._refusal)
            entry.put(self._waiting)
        elif self._lanes and entry.topic in self._lanes:
            entry.put(self._lanes[entry.topic])
        else:
            link.send(entry)

    def stall(self, entry: Entry) -> None:
        """Nobody took this record just now: it is tried again soon, and before the newer ones of its topic."""
        if self.link is None:  # it ended before the answer was looked at: its lanes are gone
            if self._refusal is None:
                entry.put(self._waiting)
            else:
                entry.fail(BrokerUnavailable(self._refusal))
            return
        if entry.topic not in self._lanes:
            self._lanes[entry.topic] = {}
        entry.put(self._lanes[entry.topic])
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_RETRY_S, self._retry)
        self._on_stalled()

    def answered(self, topic: str) -> None:
        """The stream takes or refuses records of this topic: those behind it may follow."""
        lane = self._lanes.pop(topic, None)
        self._heads.pop(topic, None)
        if lane and self.link is not None:
            for token in sorted(lane):
                self.link.send(lane[token])

    @property
    def stalled(self) -> bool:
        """Whether any topic has a lane; asked per record, so that `answered` is not called in vain."""
        return bool(self._lanes)

    def attach(self, link: Link) -> None:
        """A link is up: send what waits, in order."""
        if self._shut:
            return
        self.link, self._refusal = link, None
        for token in sorted(self._waiting):
            link.send(self._waiting[token])

    def detach(self) -> None:
        """The link is gone: what was under way waits for the next one, and is sent again with its id."""
        link, self.link = self.link, None
        if link is None:
            return
        for entry in list(link.pending.values()):
            entry.losses += 1
            if entry.losses >= _MAX_LOSSES:
                entry.fail(BrokerUnavailable("two links to the broker ended while the record was under way"))
            else:
                entry.put(self._waiting)
        for lane in self._lanes.values():
            for entry in list(lane.values()):
                entry.put(self._waiting)
        self._drop_lanes()

    def give_up(self, reason: str) -> None:
        """The outage is no moment any more: fail what waits, and refuse at once until the next link."""
        self._refusal = reason
        for entry in list(self._waiting.values()):
            entry.fail(BrokerUnavailable(reason))

    def fail_stalled(self, reason: str) -> None:
        """The lanes wait in vain: their stream is known to be missing."""
        for lane in self._lanes.values():
            for entry in list(lane.values()):
                entry.fail(BrokerUnavailable(reason))
        self._drop_lanes()

    def shut(self, reason: str) -> list[Entry]:
        """Take nothing more and fail what waits; gives back what is on the link and may still be answered."""
        self._shut = True
        link, self.link = self.link, None
        self.fail_stalled(reason)
        self.give_up(reason)
        return [] if link is None else list(link.pending.values())

    def _drop_lanes(self) -> None:
        self._lanes.clear()
        self._heads.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _retry(self) -> None:
        """Send the oldest record of each lane, as a probe for the others."""
        self._timer = None
        if self.link is None:
            return
        for topic, lane in list(self._lanes.items()):
            head = self._heads.get(topic)
            if head is not None and head.home is self.link.pending and not head.future.done():
                continue  # not answered yet
            if lane:
                head = self._heads[topic] = lane[min(lane)]
                self.link.send(head)
            else:
                del self._lanes[topic]  # all its callers have given up
                self._heads.pop(topic, None)
        if self._lanes:
            self._timer = asyncio.get_running_loop().call_later(_RETRY_S, self._retry)
