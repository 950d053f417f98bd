"""The order of records across links: what is on its way, what waits, and what is given up. No I/O.

A record has a token, its place in the order of acceptance. It is in a lane, which is one partition on the link of now,
or it waits: for a link, or for its topic to be looked up. When a link is replaced, what its lanes still had goes over
the next one in the order of the tokens.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from aiokafka.partitioner import murmur2

from bridge.errors import BrokerUnavailable, RecordRefused, RecordTooLarge
from bridge.publishers.kafka.faults import Verdict, judge, said
from bridge.publishers.kafka.lane import Lane
from bridge.publishers.kafka.link import Link
from bridge.publishers.kafka.records import Entry
from bridge.publishers.kafka.status import KafkaStatus
from bridge.publishers.kafka.topics import Inspection
from bridge.telemetry import broker_facts

__all__ = ["Outbox"]

_DEFAULT_LIMIT_BYTES = 1_048_588  # Kafka's default of max.message.bytes
# A record that has seen two producers fail may be what fails them.
_MAX_LOSSES = 2
# A batch that is not answered for so long: its topic takes nothing just now, and whoever comes is told at once.
_STALL_S = 2.0
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 8.0  # before the status forgets what was wrong
_MAX_KEYS = 10_000
# So many batches of a topic in a row that failed for good are the broker's trouble and no single record's.
_MAX_FAILURES = 3


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
        acknowledged_at: when a batch was last acknowledged, by the loop's clock.
    """

    def __init__(self, status: KafkaStatus, on_unknown: Callable[[str], None], *, linger_s: float) -> None:
        """Nothing under way.

        Args:
            status: is told of publishes that fail and succeed.
            on_unknown: called with a topic that must be looked up.
            linger_s: how long a record may wait for company.
        """
        self.link: Link | None = None
        self.acknowledged_at = 0.0
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
        self._failures: Counter[str] = Counter()
        self._singly: dict[str, int] = {}
        self._settling = False
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
            raise RecordTooLarge(entry.size_bytes, self._limit(topic))
        if lanes is None or self._settling:
            entry.put(self._waiting)
            if self.link is not None and not self._settling:
                self._on_unknown(topic)
            return
        partition = self._partition(entry.key, len(lanes))
        lane = lanes[partition] or self._open(topic, partition)
        if lane.stalled:
            self._status.publish_failed(_stalled(topic), asyncio.get_running_loop().time(), about=topic)
            raise BrokerUnavailable(_stalled(topic))
        lane.put(entry)

    def _check(self, topic: str) -> None:
        if self.link is None and self._refusal is not None:
            raise BrokerUnavailable(self._refusal)
        if topic in self._missing:
            raise BrokerUnavailable(self._missing[topic])
        ban = self._bans.get(topic)
        now = asyncio.get_running_loop().time()
        if ban is not None and now < ban.until:
            self._status.publish_failed(ban.reason, now, about=topic)
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
        return 0 if topic in self._singly else self._limit(topic)

    def acknowledged(self, lane: Lane) -> None:
        """A batch is stored."""
        self.acknowledged_at = asyncio.get_running_loop().time()
        topic = lane.topic
        if self._bans or self._failures or self._singly:
            self._bans.pop(topic, None)
            self._failures.pop(topic, None)
            self._went_alone(topic)
        if lane.stalled or self._status.doubt is not None:
            lane.stalled = False
            self._status.publish_succeeded()
            self._status.publish_succeeded(about=topic)

    def failed(self, lane: Lane, error: Exception) -> None:
        """A batch failed for good. Its records are refused, or tried on the next link, which is asked for."""
        topic, why, verdict = lane.topic, said(error), judge(error)
        alone = lane.batch_count == 1
        if verdict is Verdict.DENIED:
            self._deny(lane)
        elif verdict is Verdict.AGAIN:
            self._lose(lane.batch.values(), f"the brokers failed its batch twice ({why})")
        elif alone:
            self._refuse(lane, verdict, why)
            self._went_alone(topic)
        else:
            self._singly[topic] = lane.batch_count  # to find out which one it is
        if verdict in (Verdict.AGAIN, Verdict.REFUSED):
            self._count_failure(topic, why)
        if self.link is not None:
            self.link.spoil(f"a batch for {topic!r} failed for good: {why}")

    def _deny(self, lane: Lane) -> None:
        topic, now = lane.topic, asyncio.get_running_loop().time()
        reason = f"our user may not write to the topic {topic!r}: allow Write on it"
        if (ban := self._bans.get(topic)) is not None:
            ban.again(now)
        else:
            self._bans[topic] = _Ban(reason, now)
        self._status.publish_failed(reason, now, about=topic)
        for entry in [*lane.batch.values(), *lane.queue.values()]:
            entry.fail(BrokerUnavailable(reason))

    def _refuse(self, lane: Lane, verdict: Verdict, why: str) -> None:
        """The one record of this batch will never be taken."""
        for entry in list(lane.batch.values()):
            if verdict is Verdict.TOO_LARGE:
                limit = self._limits[lane.topic] = min(self._limit(lane.topic), entry.size_bytes - 1)
                entry.fail(RecordTooLarge(entry.size_bytes, limit))
            else:
                entry.fail(RecordRefused(f"the broker refuses the record: {why}"))

    def _count_failure(self, topic: str, why: str) -> None:
        self._failures[topic] += 1
        if self._failures[topic] >= _MAX_FAILURES:
            reason = f"the brokers fail batches of the topic {topic!r} for good ({why}): see their log"
            self._status.publish_failed(reason, asyncio.get_running_loop().time(), about=topic)

    def _went_alone(self, topic: str) -> None:
        if topic in self._singly:
            self._singly[topic] -= 1
            if self._singly[topic] <= 0:
                del self._singly[topic]

    def _limit(self, topic: str) -> int:
        return self._limits.get(topic, _DEFAULT_LIMIT_BYTES)

    def _lose(self, entries: Iterable[Entry], reason: str) -> None:
        for entry in list(entries):
            entry.losses += 1
            if entry.losses >= _MAX_LOSSES:
                entry.fail(BrokerUnavailable(reason))

    # ---- what the supervisor sees and tells

    def attach(self, link: Link, found: Inspection) -> None:
        """A link is up and was looked at: send what waits, in order."""
        if self._shut:
            return
        self.link, self._refusal = link, None
        self._topics, self._limits, self._settling = {}, {}, False
        self.refresh(found)

    def refresh(self, found: Inspection) -> None:
        """The topics were looked at: take over what was seen, and send what waited for it."""
        self._limits.update(found.limits)
        self._missing = found.missing
        if self.link is None or self._settling:
            return
        for topic in found.present:
            count, lanes = self.link.partitions(topic), self._topics.get(topic, [])
            if not count or count == len(lanes):
                continue
            if lanes:
                broker_facts.partitions_changed(topic, before=len(lanes), now=count)
            if count < len(lanes):  # it was deleted, and made again with fewer
                self.link.spoil(f"the topic {topic!r} has fewer partitions than before")
                continue
            self._topics[topic] = [*lanes, *[None] * (count - len(lanes))]
        for topic in self._missing:
            self._drop(topic, self._missing[topic])
        for token in sorted(self._waiting):
            entry = self._waiting[token]
            try:
                self.submit(entry)
            except (BrokerUnavailable, RecordTooLarge) as error:
                entry.fail(error)

    def _drop(self, topic: str, reason: str) -> None:
        """The topic has gone, and its records with it."""
        for lane in self._topics.pop(topic, ()):
            if lane is not None:
                lane.task.cancel()
                on_its_way = lane.sent_at is not None
                for entry in list(lane.batch.values()):
                    entry.fail(BrokerUnavailable(reason, maybe_stored=on_its_way))
                for entry in list(lane.queue.values()):
                    entry.fail(BrokerUnavailable(reason))
                if on_its_way and self.link is not None:
                    self.link.spoil(f"the topic {topic!r} has gone while a batch was on its way")

    def check(self, now: float) -> tuple[float, str]:
        """Look at what is not answered; gives back the age of the oldest batch on its way, seconds, and its topic."""
        oldest = (0.0, "")
        for lane in self._lanes():
            since = lane.failed_at if lane.sent_at is None else lane.sent_at
            if since is None:
                continue
            if lane.sent_at is not None:
                oldest = max(oldest, (now - since, lane.topic))
            if now - since > _STALL_S and not lane.stalled:
                lane.stalled = True
                self._status.publish_failed(_stalled(lane.topic), now, about=lane.topic)
                for entry in list(lane.queue.values()):
                    entry.fail(BrokerUnavailable(_stalled(lane.topic)))
        return oldest

    async def settle(self, timeout_s: float) -> None:
        """Send no further batch on this link, and wait a moment for those that are on their way."""
        self._settling = True
        lanes = self._lanes()
        for lane in lanes:
            lane.finish()
        tasks = [lane.task for lane in lanes if not lane.stalled and not lane.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    def detach(self) -> None:
        """The link is gone: what was under way waits for the next one."""
        self.link, self._settling = None, False
        sent_again = 0
        for lane in self._ending:
            lane.task.cancel()
        for lane in self._lanes():
            lane.task.cancel()
            if lane.sent_at is not None:  # else its batch failed, and was judged
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


def _stalled(topic: str) -> str:
    return f"the brokers do not acknowledge records of the topic {topic!r} in time"
