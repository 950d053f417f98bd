"""What keeps a retry from being published again.

A record, known by its `dedup_id`, is in one of three states:

- absent: it is published. So is one whose publish failed, and one whose publish was cancelled at the deadline: that
  one may be stored, and to take it for stored would lose it if it is not. JetStream then drops the copy by its id;
  Kafka keeps it, and consumers drop it by the event's id. Each such publish is counted as ambiguous.
- in flight: an equal record waits for that publish and shares its result, within its own deadline.
- durable: acknowledged within the window. Nothing is published; the answer is success.

Only an acknowledgement makes a record durable. Each record for itself, so that the retry of a batch or of a fan-out
that went through in part publishes what is missing, in the order of the delivery.
"""

import asyncio
import enum
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

from bridge.errors import BrokerUnavailable, PublishError
from bridge.ingest.deadline import Deadline
from bridge.ingest.seen import SeenIds
from bridge.publishers.base import Record
from bridge.telemetry.facts import SourceFacts

__all__ = ["DedupTable", "Fate"]

# Whatever the length of an id; one byte more and CPython would take 64 bytes for each instead of 48.
_DIGEST_BYTES = 15


class Fate(enum.Enum):
    """What became of a record."""

    UNKNOWN = "unknown"  # failed, or not answered
    PUBLISHED = "published"
    DUPLICATE = "duplicate"  # durable before


class _InFlight:
    """A publish under way.

    Attributes:
        deadline: of the delivery that publishes.
        result: what the others wait for; made by the first of them.
    """

    __slots__ = ("deadline", "result")

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.result: asyncio.Future[None] | None = None

    def succeed(self) -> None:
        if self.result is not None:
            self.result.set_result(None)

    def fail(self, error: PublishError) -> None:
        if self.result is not None:
            self.result.set_exception(error)
            self.result.exception()  # seen: those who waited may have gone


class DedupTable:
    """The records of one source."""

    def __init__(self, publish: Callable[[Record], Awaitable[None]], seen: SeenIds, facts: SourceFacts) -> None:
        """Wire.

        Args:
            publish: the publisher's.
            seen: the ids of durable records.
            facts: told what becomes of each record.
        """
        self._publish = publish
        self._seen = seen
        self._facts = facts
        self._in_flight: dict[bytes, _InFlight] = {}

    async def publish_all(self, records: Sequence[Record], deadline: Deadline, fates: list[Fate]) -> None:
        """Return when all records are durable.

        Args:
            records: of one delivery, handed to the publisher in this order.
            deadline: the delivery's, which is running; the caller is cancelled by it.
            fates: one for each record, UNKNOWN; filled also where it raises.

        Raises:
            PublishError: of the first record that was not taken. The others are durable or failed, too.
        """
        if len(records) == 1:
            fates[0] = await self._publish_one(records[0], deadline)
            return

        async def publish_quietly(index: int) -> PublishError | None:
            """One failed record must not cancel the others."""
            try:
                fates[index] = await self._publish_one(records[index], deadline)
            except PublishError as error:
                return error
            return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(publish_quietly(index)) for index in range(len(records))]
        for task in tasks:
            if error := task.result():
                raise error

    async def _publish_one(self, record: Record, deadline: Deadline) -> Fate:
        """Return when the record is durable."""
        key = blake2b(record.dedup_id.encode(), digest_size=_DIGEST_BYTES).digest()
        if not self._seen.see(key):
            running = self._in_flight.get(key)
            if running is None:
                await self._publish_new(key, record, deadline)
                return Fate.PUBLISHED
            await _wait_for(running, deadline)
        self._facts.duplicate()
        return Fate.DUPLICATE

    async def _publish_new(self, key: bytes, record: Record, deadline: Deadline) -> None:
        running = self._in_flight[key] = _InFlight(deadline)
        try:
            await self._publish(record)
        except PublishError as error:
            if error.maybe_stored:
                self._facts.ambiguous()
            running.fail(error)
            raise
        except BaseException:
            self._facts.ambiguous()
            running.fail(BrokerUnavailable("an equal delivery got no acknowledgement in time", maybe_stored=True))
            raise
        else:
            self._seen.add(key)
            self._facts.stored(record.topic)
            running.succeed()
        finally:
            del self._in_flight[key]


async def _wait_for(running: _InFlight, deadline: Deadline) -> None:
    """Return when the other delivery's record is durable."""
    # a delivery may have one event twice: that lends nothing to itself
    if running.deadline is not deadline and not running.deadline.lend(deadline.at):
        raise BrokerUnavailable("an equal delivery gets no acknowledgement", maybe_stored=True)
    if running.result is None:
        running.result = asyncio.get_running_loop().create_future()
    await asyncio.wait([running.result])
    running.result.result()
