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
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from itertools import islice

from bridge.errors import BrokerUnavailable, PublishError, RecordRefused
from bridge.ingest.deadline import Deadline
from bridge.ingest.letters import Kept
from bridge.ingest.pipeline import Prepared
from bridge.ingest.seen import SeenIds
from bridge.publishers.base import Record
from bridge.telemetry.facts import SourceFacts

__all__ = ["DedupTable"]

# Short, whatever the length of an id; one byte more and CPython would take 64 bytes for each instead of 48.
_new_digest = blake2b(digest_size=15).copy


class DedupTable:
    """The records of one source."""

    def __init__(
        self,
        publish: Callable[[Record], Awaitable[None]],
        seen: SeenIds,
        facts: SourceFacts,
        *,
        on_published: Callable[[Sequence[Prepared]], None] | None = None,
    ) -> None:
        """Wire.

        Args:
            publish: the publisher's.
            seen: the ids of durable records.
            facts: told what becomes of each record and event.
            on_published: called with events that have become durable, for a person who watches; None costs nothing.
        """
        self._publish = publish
        self._seen = seen
        self._facts = facts
        self._on_published = on_published
        self._in_flight: dict[bytes, Deadline] = {}  # of the deliveries that publish
        self._awaited: dict[bytes, asyncio.Future[None]] = {}  # by others; few have one

    async def publish_all(self, prepared: Sequence[Prepared | Kept], deadline: Deadline) -> None:
        """Return when all records of a delivery are durable.

        Args:
            prepared: its events and letters; their records are handed to the publisher in this order.
            deadline: the delivery's, inside which the caller is.

        Raises:
            PublishError: of the first record that was not taken, but one that may be taken later before one that was
                refused for good. The others are durable or failed, too.
        """
        if len(prepared) == 1 and len(prepared[0].records) == 1:
            if await self._publish_one(prepared[0].records[0], deadline):
                self._tell_published(prepared[0])
            return
        records = [record for item in prepared for record in item.records]
        new: list[bool | None] = [None] * len(records)  # None: it may be missing

        async def publish_quietly(index: int) -> PublishError | None:
            """One failed record must not cancel the others."""
            try:
                new[index] = await self._publish_one(records[index], deadline)
            except PublishError as error:
                return error
            return None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(publish_quietly(index)) for index in range(len(records))]
        finally:
            self._tell_several(prepared, new)
        if errors := [error for task in tasks if (error := task.result())]:
            raise next((error for error in errors if error.retriable), errors[0])
        for item in prepared:
            if not item.records and isinstance(item, Prepared):
                self._facts.dropped(item.event, item.label)

    async def _publish_one(self, record: Record, deadline: Deadline) -> bool:
        """Return when the record is durable; whether it was not before."""
        digest = _new_digest()
        digest.update(record.dedup_id.encode())
        key = digest.digest()
        if self._seen.see(key) or (key in self._in_flight and await self._shared(key, deadline)):
            self._facts.duplicate()
            return False
        self._in_flight[key] = deadline
        try:
            await self._publish(record)
        except PublishError as error:
            if error.maybe_stored:
                self._facts.ambiguous()
            if isinstance(error, RecordRefused):
                error.topic, error.dedup_id = record.topic, record.dedup_id
            self._settle(key, error)
            raise
        except BaseException:
            self._facts.ambiguous()
            self._settle(key, BrokerUnavailable("an equal delivery got no acknowledgement in time", maybe_stored=True))
            raise
        self._seen.add(key)
        self._settle(key)
        self._facts.stored(record.topic)
        return True

    async def _shared(self, key: bytes, deadline: Deadline) -> bool:
        """True when another delivery's publish has made the record durable."""
        if not self._in_flight[key].lend(deadline.at):
            raise BrokerUnavailable("an equal delivery gets no acknowledgement", maybe_stored=True)
        result = self._awaited.get(key)
        if result is None:
            result = self._awaited[key] = asyncio.get_running_loop().create_future()
        await asyncio.wait([result])
        result.result()
        return True

    def _settle(self, key: bytes, error: PublishError | None = None) -> None:
        """The record is no longer in flight: tell those who wait for it."""
        del self._in_flight[key]
        result = self._awaited.pop(key, None) if self._awaited else None
        if result is None:
            return
        if error is None:
            result.set_result(None)
        else:
            result.set_exception(error)
            result.exception()  # seen: those who waited may have gone

    def _tell_several(self, prepared: Sequence[Prepared | Kept], new: Sequence[bool | None]) -> None:
        """Whatever becomes of the delivery: an event that is on all its topics now is not published again."""
        rest = iter(new)
        for item in prepared:
            own = list(islice(rest, len(item.records)))
            if True in own and None not in own:
                self._tell_published(item)

    def _tell_published(self, item: Prepared | Kept) -> None:
        if isinstance(item, Kept):
            self._facts.kept(item.letter.id, item.letter.reason, item.letter.detail)
            return
        self._facts.published(item.event, item.label)
        if self._on_published is not None:
            self._on_published((item,))
