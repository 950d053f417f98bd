"""What keeps a retry from being published again, and an answer of success true.

A record, known by its `dedup_id`, is in one of three states:

- absent: it is published. So is one whose publish failed or ended without an answer: that one may be stored, and to
  take it for stored would lose it if it is not. JetStream then drops the copy by its id; Kafka keeps it, and consumers
  drop it by the event's id. Each such publish is counted as ambiguous.
- in flight: an equal record waits for that publish and shares its result, within its own deadline. The deadline of
  whoever began it does not end it: it is late then, and a late acknowledgement makes the record durable.
- durable: acknowledged by the broker, or in the spool, within the window. Nothing is published; the answer is success.

Each record for itself, so that the retry of a batch or of a fan-out that went through in part publishes what is
missing, in the order of the delivery.

With a spool, what the broker does not take goes there: at once where records of its key are there already, or where its
topic is known to be late or the broker away; and when the deadline comes, by `spool_missing`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import islice

from bridge.errors import BrokerUnavailable, PublishError, RecordRefused, SpoolError
from bridge.ingest.deadline import Deadline
from bridge.ingest.letters import Kept
from bridge.ingest.pipeline import Prepared
from bridge.ingest.seen import SeenIds
from bridge.publishers.base import Record
from bridge.spool.detour import Detour
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
        source: str = "",
        detour: Detour | None = None,
        on_published: Callable[[Sequence[Prepared]], None] | None = None,
    ) -> None:
        """Wire.

        Args:
            publish: the publisher's.
            seen: the ids of durable records.
            facts: told what becomes of each record and event.
            source: whose records these are, for the spool.
            detour: into the spool; None: there is none.
            on_published: called with events that have become durable, for a person who watches; None costs nothing.
        """
        self._publish = publish
        self._seen = seen
        self._facts = facts
        self._source = source
        self._detour = detour
        self._on_published = on_published
        self._in_flight: set[bytes] = set()
        self._awaited: dict[bytes, asyncio.Future[None]] = {}  # by others; few have one
        self._writing: dict[bytes, asyncio.Future[Sequence[int]]] = {}  # into the spool

    def remember(self, dedup_ids: Iterable[str]) -> None:
        """These records are durable: they were in the spool at the start."""
        for dedup_id in dedup_ids:
            key = _key(dedup_id)
            if not self._seen.see(key):
                self._seen.add(key)

    async def publish_all(self, prepared: Sequence[Prepared | Kept], deadline: Deadline) -> None:
        """Return when all records of a delivery are durable.

        Args:
            prepared: its events and letters; their records are handed to the publisher in this order.
            deadline: the delivery's, inside which the caller is.

        Raises:
            PublishError: of the first record that was not taken, but one that may be taken later before one that was
                refused for good. The others are durable or failed, too.
            SpoolError: it was not taken by the spool either.
        """
        if len(prepared) == 1 and len(prepared[0].records) == 1:
            if await self._publish_one(prepared[0].records[0], deadline):
                self._tell_published(prepared[0], deadline)
            return
        records = [record for item in prepared for record in item.records]
        new = deadline.new = [None] * len(records)

        async def publish_quietly(index: int) -> PublishError | SpoolError | None:
            """One failed record must not cancel the others."""
            try:
                new[index] = await self._publish_one(records[index], deadline)
            except (PublishError, SpoolError) as error:
                return error
            return None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(publish_quietly(index)) for index in range(len(records))]
        finally:
            self._tell_several(prepared, new, deadline)
        if errors := [error for task in tasks if (error := task.result())]:
            raise next((error for error in errors if not isinstance(error, RecordRefused)), errors[0])
        for item in prepared:
            if not item.records and isinstance(item, Prepared):
                self._facts.dropped(item.event, item.label)

    async def spool_missing(self, prepared: Sequence[Prepared | Kept], deadline: Deadline) -> None:
        """The deadline has come: return when what is not durable yet is in the spool. The caller owns the time.

        Raises:
            SpoolError: it is not.
        """
        assert self._detour is not None  # noqa: S101 -- asked for only where there is one
        records = [(_key(record.dedup_id), record) for item in prepared for record in item.records]
        missing = {key: record for key, record in records if not self._seen.see(key)}
        for key, record in missing.items():
            if key in self._in_flight and key not in self._writing:
                self._detour.holds.begin(record)
        written = {self._writing[key] for key in missing if key in self._writing}
        if fresh := {key: record for key, record in missing.items() if key not in self._writing}:
            written.add(self._write(fresh))
        if written:
            await asyncio.wait(written)
            for future in written:
                future.result()
        new = deadline.new + [None] * (len(records) - len(deadline.new))  # a letter may have come last, or all alone
        in_spool = [True if key in missing else done for (key, _record), done in zip(records, new, strict=True)]
        self._tell_several(prepared, in_spool, deadline)

    async def _publish_one(self, record: Record, deadline: Deadline) -> bool:
        """Return when the record is durable; whether it was not before."""
        key = _key(record.dedup_id)
        detour = self._detour
        if self._seen.see(key) or (key in self._in_flight and await self._joined(key)):
            self._facts.duplicate()
            return False
        self._in_flight.add(key)
        if detour is not None and detour.takes(record):
            return await self._around(key, record)
        try:
            deadline.publishing += 1
            try:
                await self._publish(record)
            finally:
                deadline.publishing -= 1
        except PublishError as error:
            if error.maybe_stored:
                self._facts.ambiguous()
            if isinstance(error, RecordRefused):
                error.topic, error.dedup_id = record.topic, record.dedup_id
            if detour is not None and error.retriable and not deadline.missed:
                return await self._around(key, record)
            self._fail(key, record, error)
            raise
        except BaseException:
            self._facts.ambiguous()
            reason = "an equal delivery got no acknowledgement in time"
            self._fail(key, record, BrokerUnavailable(reason, maybe_stored=True))
            raise
        new = True
        if detour is not None and len(detour.holds):  # some are late, and in the spool: perhaps this one
            new = not self._seen.see(key)
            detour.ended(record, stored=True)
        if new:
            self._seen.add(key)
        self._settle(key)
        self._facts.stored(record.topic)
        return new

    async def _around(self, key: bytes, record: Record) -> bool:
        """The broker does not take it: into the spool. Whether that was ours to do."""
        assert self._detour is not None  # noqa: S101 -- as in `spool_missing`
        ours = False
        try:
            if not self._seen.see(key):  # else an equal delivery's deadline has come before, and it is there
                written = self._writing.get(key)  # or will be
                ours = written is None
                await asyncio.shield(self._write({key: record}) if written is None else written)
        except BaseException as error:
            shared = error if isinstance(error, SpoolError) else BrokerUnavailable("an equal delivery was not taken")
            self._fail(key, record, shared)
            raise
        self._settle(key)
        if len(self._detour.holds):
            self._detour.ended(record, stored=False)  # it may have been held for our publish
        return ours

    def _write(self, records: dict[bytes, Record]) -> asyncio.Future[Sequence[int]]:
        """Into the spool, whoever goes on waiting for it."""
        assert self._detour is not None  # noqa: S101 -- as in `spool_missing`
        written = self._detour.append(self._source, records.values())
        self._writing.update(dict.fromkeys(records, written))
        written.add_done_callback(lambda _: self._written(records, written))
        return written

    def _written(self, records: dict[bytes, Record], written: asyncio.Future[Sequence[int]]) -> None:
        assert self._detour is not None  # noqa: S101 -- as in `spool_missing`
        failed = written.cancelled() or written.exception() is not None
        for key, record in records.items():
            self._writing.pop(key, None)
            if failed:
                self._detour.holds.forget(record)
            else:
                self._facts.spooled(record.topic)
                if not self._seen.see(key):
                    self._seen.add(key)

    async def _joined(self, key: bytes) -> bool:
        """Whether somebody else has made the record durable; not: nobody is at it any more."""
        while key in self._in_flight:
            if await self._shared(key):
                return True
        return self._seen.see(key)

    async def _shared(self, key: bytes) -> bool:
        """True when another delivery has made the record durable; False: it has not, and there is a spool."""
        result = self._awaited.get(key)
        if result is None:
            result = self._awaited[key] = asyncio.get_running_loop().create_future()
        await asyncio.wait([result])
        try:
            result.result()
        except PublishError as error:
            if self._detour is None or not error.retriable:
                raise
            return self._seen.see(key)  # in the spool by the other's deadline; or else it is ours to bring there
        return True

    def _fail(self, key: bytes, record: Record, error: PublishError | SpoolError) -> None:
        """The publish has ended, and the record is not durable by it."""
        self._settle(key, error)
        if self._detour is not None and len(self._detour.holds):
            self._detour.ended(record, stored=False)

    def _settle(self, key: bytes, error: PublishError | SpoolError | None = None) -> None:
        """The record is no longer in flight: tell those who wait for it."""
        self._in_flight.discard(key)
        result = self._awaited.pop(key, None) if self._awaited else None
        if result is None:
            return
        if error is None:
            result.set_result(None)
        else:
            result.set_exception(error)
            result.exception()  # seen: those who waited may have gone

    def _tell_several(
        self, prepared: Sequence[Prepared | Kept], new: Sequence[bool | None], deadline: Deadline
    ) -> None:
        """Whatever becomes of the delivery: an event that is on all its topics now is not published again."""
        rest = iter(new)
        for item in prepared:
            own = list(islice(rest, len(item.records)))
            if True in own and None not in own:
                self._tell_published(item, deadline)

    def _tell_published(self, item: Prepared | Kept, deadline: Deadline) -> None:
        """Once, whether its publish or the spool has made it durable, or one after the other."""
        if id(item) in deadline.told:
            return
        deadline.told[id(item)] = item
        if isinstance(item, Kept):
            self._facts.kept(item.letter.id, item.letter.reason, item.letter.detail)
            return
        self._facts.published(item.event, item.label)
        if self._on_published is not None:
            self._on_published((item,))


def _key(dedup_id: str) -> bytes:
    digest = _new_digest()
    digest.update(dedup_id.encode())
    return digest.digest()
