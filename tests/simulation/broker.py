"""A broker that answers as it is told: rightly, falsely, late, twice or never."""

import asyncio
from collections import Counter, defaultdict, deque
from typing import Literal, NamedTuple

from bridge.errors import BrokerUnavailable, RecordRefused
from bridge.publishers.base import Record

__all__ = ["OUTCOMES", "Broker", "Mood"]

Mood = Literal["well", "down", "frozen", "mute", "refusing"]


class _Outcome(NamedTuple):
    """Stored after so many seconds, or not at all; answered after so many, or never."""

    stored_s: float | None
    answer: Literal["ack", "nack", "doubt", "refused"] | None
    after_s: float = 0.002
    copies: int = 1


OUTCOMES = {
    "acked": _Outcome(0.001, "ack"),
    "acked slowly": _Outcome(0.001, "ack", 2.0),
    "acked at the deadline": _Outcome(0.001, "ack", 2.5),
    "acked late": _Outcome(0.001, "ack", 10.0),
    "stored and acked late": _Outcome(9.0, "ack", 10.0),
    "acked after all patience": _Outcome(0.001, "ack", 90.0),
    "stored twice": _Outcome(0.001, "ack", copies=2),
    "nacked": _Outcome(None, "nack"),
    "nacked late": _Outcome(None, "nack", 10.0),
    "stored, in doubt": _Outcome(0.001, "doubt", 1.0),
    "lost, in doubt": _Outcome(None, "doubt", 1.0),
    "stored, in doubt, late": _Outcome(0.001, "doubt", 10.0),
    "lost, in doubt, late": _Outcome(None, "doubt", 10.0),
    "stored without an answer": _Outcome(0.001, None),
    "lost without an answer": _Outcome(None, None),
    "stored when nobody waits any more": _Outcome(80.0, None),
    "refused": _Outcome(None, "refused"),
    "down": _Outcome(None, "nack", 0.0),
}
_WHEN = {"well": "acked", "down": "down", "mute": "lost without an answer", "refusing": "refused"}


class Broker:
    """What is stored stays, in order.

    Attributes:
        log: dedup ids as stored.
        copies: how many of each.
        doubts: publishes that ended without it being known whether they stored.
        own_copies: copies that the broker made of one publish.
        at_once: pairs of one lane, the second handed over in the moment of the first, before that was answered.
        mood: what becomes of publishes for which nothing else was foreseen.
        foreseen: what becomes of the next ones.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.log: list[str] = []
        self.copies: Counter[str] = Counter()
        self.doubts: Counter[str] = Counter()
        self.own_copies: Counter[str] = Counter()
        self.at_once: set[tuple[str, str]] = set()
        self._under_way: defaultdict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
        self.mood: Mood = "well"
        self.foreseen: deque[str] = deque()
        self._frozen: list[tuple[Record, asyncio.Future[None]]] = []
        self._stored_until: dict[tuple[str, str], float] = {}

    def set_mood(self, mood: Mood) -> None:
        """From now on; a frozen one that goes on stores what it was sent, for whoever is still there."""
        self.mood = mood
        if mood != "frozen":
            frozen, self._frozen = self._frozen, []
            for record, answered in frozen:
                self._store(record)
                if not answered.done():
                    answered.set_result(None)

    async def publish(self, record: Record) -> None:
        """As the contract of a publisher has it."""
        under_way, this = self._under_way[record.topic, record.key], (record.dedup_id, self._loop.time())
        self.at_once |= {(other, record.dedup_id) for other, began in under_way if began == this[1]}
        under_way.append(this)
        try:
            if self.mood == "frozen":
                self._frozen.append((record, self._loop.create_future()))
                await self._frozen[-1][1]
                return
            await self._answer(record, OUTCOMES[self.foreseen.popleft() if self.foreseen else _WHEN[self.mood]])
        except asyncio.CancelledError:
            self.doubts[record.dedup_id] += 1
            raise
        finally:
            under_way.remove(this)

    async def _answer(self, record: Record, outcome: _Outcome) -> None:
        if outcome.stored_s is not None:
            # records of one key are stored in the order in which they were handed over
            lane = (record.topic, record.key)
            at = max(self._loop.time() + outcome.stored_s, self._stored_until.get(lane, 0.0) + 1e-6)
            if outcome.answer is not None:
                self._stored_until[lane] = at
            self._loop.call_at(at, self._store, record, outcome.copies)
            if outcome.answer == "ack":
                await asyncio.sleep(at - self._loop.time())
        if outcome.answer is None:
            await self._loop.create_future()
        if outcome.after_s:
            await asyncio.sleep(outcome.after_s)
        match outcome.answer:
            case "nack":
                raise BrokerUnavailable("not now")
            case "doubt":
                self.doubts[record.dedup_id] += 1
                raise BrokerUnavailable("the link broke", maybe_stored=True)
            case "refused":
                raise RecordRefused("never")

    def _store(self, record: Record, copies: int = 1) -> None:
        for _ in range(copies):
            self.log.append(record.dedup_id)
        self.copies[record.dedup_id] += copies
        self.own_copies[record.dedup_id] += copies - 1
