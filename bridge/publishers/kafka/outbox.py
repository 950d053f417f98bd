"""The order of records across links: what is on its way, what waits, and what is given up. No I/O.

A record has a token, its place in the order of acceptance. It is in a lane, which is one partition on the link of now,
or it waits: for a link, or for its topic to be looked up. When a link is replaced, what its lanes still had goes over
the next one in the order of the tokens.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from aiokafka.partitioner import murmur2

from bridge.errors import BrokerUnavailable, RecordRefused, RecordTooLarge
from bridge.publishers.kafka.faults import Verdict, judge, said
from bridge.publishers.kafka.lane import Lane
from bridge.publishers.kafka.link import Link
from bridge.publishers.kafka.records import Entry
from bridge.publishers.kafka.status import KafkaStatus
from bridge.telemetry import broker_facts

__all__ = ["Outbox"]

_DEFAULT_LIMIT_BYTES = 1_048_588  # Kafka's default of max.message.bytes
# A record that has seen two producers fail may be what fails them.
_MAX_LOSSES = 2
# A batch that is not answered for so long: its topic takes nothing just now, and whoever comes is told at once.
_STALL_S = 2.0
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 15.0
_MAX_KEYS = 10_000


class _Ban:
    """A topic that our user may not write to: tried again now and then, since each try costs a producer (K3)."""

    def __init__(self, reason: str, now: float) -> None:
        self.reason = reason
        self.pause_s = _FIRST_PAUSE_S
        self.until = now + self.pause_s

    def again(self, now: float) -> None:
        self.pause_s = min(self.pause_s * 2, _LONGEST_PAUSE_S)
        self.until = now + self.pause_s


class Outbox:
    """All records under way.

    Attributes:
        link: where records go; None while there is none.
    """

    def __init__(self, status: KafkaStatus, on_unknown: Callable[[str], None], *, linger_s: float) -> None:
        """Nothing under way.

        Args:
            status: is told of publishes that fail and succeed.
            on_unknown: called with a topic that must be looked up.
            linger_s: how long a record may wait for company.
        """
        self.link: Link | None = None
        self._status = status
        self._on_unknown = on_unknown
        self._linger_s = linger_s
        self._refusal: str | None = "the publisher was not started"
        self._shut = False
        self._waiting: dict[int, Entry] = {}
        self._topics: dict[str, list[Lane | None]] = {}
        self._limits: dict[str, int] = {}
        self._missing: Mapping[str, str] = {}
        self._bans: dict[str, _Ban] = {}
        self._singly: set[str] = set()
        self._hashes: dict[bytes, int] = {}
        self._ending: list[Lane] = []

    # ---- records

    def hold(self) -> None:
        """A link is to be expected soon: records wait for it."""
        self._refusal = None

    def submit(self, entry: Entry) -> None:
        """Take a record.

        Raises:
            BrokerUnavailable: not taken now.
            RecordTooLarge: over the topic's limit.
        """
        topic = entry.topic
        lanes = self._topics.get(topic)
        if lanes is None or self._bans:
            self._check(topic)
        if entry.size_bytes > self._limits.get(topic, _DEFAULT_LIMIT_BYTES):
            raise RecordTooLarge(entry.size_bytes, self._limits.get(topic, _DEFAULT_LIMIT_BYTES))
        if lanes is None:
            entry.put(self._waiting)
            if self.link is not None:
                self._on_unknown(topic)
            return
        partition = self._partition(entry.key, len(lanes))
        lane = lanes[partition] or self._open(topic, partition)
        if lane.stalled:
            raise BrokerUnavailable(_stalled(topic))
        lane.put(entry)

    def _check(self, topic: str) -> None:
        if self.link is None and self._refusal is not None:
            raise BrokerUnavailable(self._refusal)
        if topic in self._missing:
            raise BrokerUnavailable(self._missing[topic])
        ban = self._bans.get(topic)
        if ban is not None and asyncio.get_running_loop().time() < ban.until:
            raise BrokerUnavailable(ban.reason)

    def _partition(self, key: bytes, count: int) -> int:
        """As the Java client's default partitioner, so that a key has one partition whoever writes."""
        found = self._hashes.get(key)
        if found is None:
            if len(self._hashes) >= _MAX_KEYS:
                self._hashes.clear()
            found = self._hashes[key] = murmur2(key) & 0x7FFF_FFFF
        return found % count

    def _open(self, topic: str, partition: int) -> Lane:
        assert self.link is not None  # noqa: S101 -- lanes are of a link
        lane = Lane(self.link, topic, partition, self, linger_s=self._linger_s)
        self._topics[topic][partition] = lane
        return lane

    # ---- what the lanes tell

    def batch_limit(self, topic: str) -> int:
        """How many bytes a batch may have; 0: one record each."""
        return 0 if topic in self._singly else self._limits.get(topic, _DEFAULT_LIMIT_BYTES)

    def acknowledged(self, lane: Lane) -> None:
        """A batch is stored."""
        if lane.stalled or self._status.doubt is not None:
            lane.stalled = False
            self._bans.pop(lane.topic, None)
            self._status.publish_succeeded()
            self._status.publish_succeeded(about=lane.topic)

    def failed(self, lane: Lane, error: Exception) -> None:
        """A batch failed for good. Its records are refused, or tried on the next link, which is asked for."""
        loop = asyncio.get_running_loop()
        topic, why = lane.topic, said(error)
        verdict = judge(error)
        alone = lane.batch_count == 1
        if verdict is Verdict.DENIED:
            reason = f"our user may not write to the topic {topic!r}: allow Write on it"
            if (ban := self._bans.get(topic)) is not None:
                ban.again(loop.time())
            else:
                self._bans[topic] = _Ban(reason, loop.time())
            self._status.publish_failed(reason, loop.time(), about=topic)
            for entry in [*lane.batch.values(), *lane.queue.values()]:
                entry.fail(BrokerUnavailable(reason))
        elif verdict is Verdict.AGAIN:
            self._lose(lane.batch.values(), f"the brokers failed its batch twice ({why})")
        elif alone:
            self._singly.discard(topic)
        else:
            self._singly.add(topic)  # to find out which one it is, unless a look at the topic tells
        for entry in list(lane.batch.values()):
            if verdict is Verdict.TOO_LARGE and alone:
                limit = min(self._limits.get(topic, _DEFAULT_LIMIT_BYTES), entry.size_bytes - 1)
                self._limits[topic] = limit
                entry.fail(RecordTooLarge(entry.size_bytes, limit))
            elif verdict is Verdict.REFUSED and alone:
                entry.fail(RecordRefused(f"the broker refuses the record: {why}"))
        if self.link is not None:
            self.link.spoil(f"a batch for {topic!r} failed for good: {why}")

    def _lose(self, entries: Iterable[Entry], reason: str) -> None:
        for entry in list(entries):
            entry.losses += 1
            if entry.losses >= _MAX_LOSSES:
                entry.fail(BrokerUnavailable(reason))

    # ---- what the supervisor sees and tells

    def attach(self, link: Link, limits: Mapping[str, int], missing: Mapping[str, str]) -> None:
        """A link is up: send what waits, in order. The rest is as for `refresh`."""
        if self._shut:
            return
        self.link, self._refusal = link, None
        self._topics, self._limits = {}, {}
        self.refresh(limits, missing)

    def refresh(self, limits: Mapping[str, int], missing: Mapping[str, str]) -> None:
        """The topics were looked at: take over what was seen, and send what waited for it.

        Args:
            limits: max.message.bytes by topic, where it could be read.
            missing: topics known to take nothing, and why that is so.
        """
        self._limits.update(limits)
        self._singly -= limits.keys()
        self._missing = missing
        if self.link is None:
            return
        for topic in self.link.producer.client.cluster.topics():
            count, lanes = self.link.partitions(topic), self._topics.setdefault(topic, [])
            if lanes and len(lanes) != count:
                broker_facts.partitions_changed(topic, before=len(lanes), now=count)
            lanes += [None] * (count - len(lanes))
        for topic in self._missing:
            self._drop(topic, self._missing[topic])
        self._submit_again(self._waiting)

    def _drop(self, topic: str, reason: str) -> None:
        """The topic has gone, and its records with it."""
        for lane in self._topics.pop(topic, ()):
            if lane is not None:
                lane.task.cancel()
                for entry in [*lane.batch.values(), *lane.queue.values()]:
                    entry.fail(BrokerUnavailable(reason))
                if lane.sent_at is not None and self.link is not None:
                    self.link.spoil(f"the topic {topic!r} has gone while a batch was on its way")

    def check(self, now: float) -> float:
        """Look at what is not answered; gives back the age of the oldest batch on its way, seconds."""
        oldest = 0.0
        for lane in self._lanes():
            if lane.sent_at is None:
                continue
            age = now - lane.sent_at
            oldest = max(oldest, age)
            if age > _STALL_S and not lane.stalled:
                lane.stalled = True
                self._status.publish_failed(_stalled(lane.topic), now, about=lane.topic)
                for entry in list(lane.queue.values()):
                    entry.fail(BrokerUnavailable(_stalled(lane.topic)))
        return oldest

    async def settle(self, timeout_s: float) -> None:
        """Send no further batch on this link, and wait a moment for those that are on their way."""
        lanes = list(self._lanes())
        for lane in lanes:
            lane.finish()
        tasks = [lane.task for lane in lanes if not lane.stalled and not lane.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    def detach(self) -> None:
        """The link is gone: what was under way waits for the next one."""
        self.link = None
        sent_again = 0
        for lane in self._ending:
            lane.task.cancel()
        for lane in self._lanes():
            lane.task.cancel()
            self._lose(lane.batch.values(), "two links to the broker ended while the record was under way")
            sent_again += len(lane.batch)
            for entry in [*lane.batch.values(), *lane.queue.values()]:
                entry.put(self._waiting)
        self._topics = {}
        if sent_again:
            broker_facts.sent_again(sent_again)

    def give_up(self, reason: str) -> None:
        """The outage is no moment any more: fail what waits, and refuse at once until the next link."""
        self._refusal = reason
        for entry in list(self._waiting.values()):
            entry.fail(BrokerUnavailable(reason))

    def shut(self, reason: str) -> list[Entry]:
        """Take nothing more and fail what waits; gives back what is on its way and may still be answered."""
        self._shut = True
        self._ending = self._lanes()
        under_way = [entry for lane in self._ending for entry in lane.batch.values()]
        for lane in self._ending:
            lane.finish()
            for entry in list(lane.queue.values()):
                entry.fail(BrokerUnavailable(reason))
        self.link = None
        self._topics = {}
        self.give_up(reason)
        return under_way

    def _lanes(self) -> list[Lane]:
        return [lane for lanes in self._topics.values() for lane in lanes if lane is not None]

    def _submit_again(self, entries: Mapping[int, Entry]) -> None:
        for token in sorted(entries):
            entry = entries[token]
            try:
                self.submit(entry)
            except (BrokerUnavailable, RecordTooLarge) as error:
                entry.fail(error)


def _stalled(topic: str) -> str:
    return f"the brokers do not acknowledge records of the topic {topic!r} in time"
