"""What a delivery becomes besides events: a dead letter where it cannot be one, and a copy on the raw topic.

A provider gives up after a few tries, and a 4xx burns them all: what is proven genuine and cannot be decoded, or what
the broker refuses for good, is kept whole on a topic of its own and answered with success. `webhook-bridge replay` runs
it through a later version. Letters are published as any record is, so deduplication, deadline and spool hold for them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from bridge.errors import RecordRefused, UndecodableBody
from bridge.events.model import EventType
from bridge.ingest.deadline import Deadline
from bridge.ingest.dedup import DedupTable
from bridge.ingest.letters import (
    Kept,
    Letter,
    Reason,
    letter_id,
    letter_of_refused,
    reason_of,
    record_of,
    wanted_headers,
)
from bridge.ingest.pipeline import Pipeline, Prepared
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect, Record
from bridge.spool.model import Row
from bridge.telemetry.facts import SourceFacts

__all__ = ["Keeper", "RefusedRecords", "unknown_detail"]


class Keeper:
    """A source's deliveries: what each becomes, and that all of it is durable."""

    def __init__(
        self,
        pipeline: Pipeline,
        dedup: DedupTable,
        *,
        source: str,
        dialect: HeaderDialect,
        decoded_headers: Sequence[str],
        dead_letter_topic: str | None,
        raw_topic: str | None,
        unknown: EventType | None,
    ) -> None:
        """Wire.

        Args:
            pipeline: bytes to events and their records.
            dedup: takes the records.
            source: the source's name.
            dialect: of the broker's records.
            decoded_headers: those that the provider's decoder reads, in lower case.
            dead_letter_topic: None: there are no dead letters.
            raw_topic: None: no copies either.
            unknown: the type whose events become dead letters (UNKNOWN=dead-letter), or None.
        """
        self._pipeline = pipeline
        self._dedup = dedup
        self._source = source
        self._dialect = dialect
        self._wanted = wanted_headers(decoded_headers)
        self._decoded = tuple(name for name in self._wanted if name.decode() in decoded_headers)
        self._dead_letter_topic = dead_letter_topic
        self._raw_topic = raw_topic
        self._unknown = unknown

    def prepare(self, delivery: Delivery, traceparent: str | None = None) -> list[Prepared | Kept]:
        """The delivery's events in order, each with its records; in the place of what is none, its letter.

        Raises:
            UndecodableBody: as the pipeline's, where there are no dead letters.
            DeviceNotAllowed: as the pipeline's.
        """
        items: list[Prepared | Kept]
        try:
            prepared = self._pipeline.prepare(delivery, traceparent)
        except UndecodableBody as error:
            if self._dead_letter_topic is None:
                raise
            items = [self._kept(self._dead_letter_topic, delivery, "undecodable", str(error))]
        else:
            items = [*prepared] if self._unknown is None else self._without_unknown(prepared, delivery)
        if self._raw_topic is not None:
            items.append(self._kept(self._raw_topic, delivery))
        return items

    async def publish(
        self, items: Sequence[Prepared | Kept], delivery: Delivery, deadline: Deadline
    ) -> Sequence[Prepared | Kept]:
        """Return when all of it is durable; in the place of what the broker refuses for good, its letter.

        Returns:
            What was published, the letter the last.

        Raises:
            PublishError: as `DedupTable.publish_all`; a refusal only where its letter is refused, too, or not wanted.
        """
        try:
            await self._dedup.publish_all(items, deadline)
        except RecordRefused as refusal:
            if self._dead_letter_topic is None:
                raise
            letter = self._refused(self._dead_letter_topic, delivery, refusal)
            try:
                await self._dedup.publish_all([letter], deadline)
            except RecordRefused:
                raise refusal from None
            return [*items, letter]
        return items

    async def spool_missing(self, items: Sequence[Prepared | Kept], deadline: Deadline) -> None:
        """See `DedupTable.spool_missing`."""
        await self._dedup.spool_missing(items, deadline)

    def _without_unknown(self, prepared: list[Prepared], delivery: Delivery) -> list[Prepared | Kept]:
        assert self._unknown is not None  # noqa: S101 -- the caller asked
        assert self._dead_letter_topic is not None  # noqa: S101 -- the configuration is refused else
        name = self._unknown.name
        known: list[Prepared | Kept] = [item for item in prepared if item.event.type.name != name]
        if unknown := len(prepared) - len(known):
            detail = unknown_detail(unknown, len(prepared))
            known.append(self._kept(self._dead_letter_topic, delivery, "unknown_type", detail))
        return known

    def _refused(self, topic: str, delivery: Delivery, refusal: RecordRefused) -> Kept:
        return self._kept(topic, delivery, reason_of(refusal), str(refusal), refused=refusal)

    def _kept(
        self,
        topic: str,
        delivery: Delivery,
        reason: Reason | None = None,
        detail: str = "",
        refused: RecordRefused | None = None,
    ) -> Kept:
        letter = Letter(
            id=letter_id(self._source, delivery, self._decoded),
            source=self._source,
            delivery=delivery,
            reason=reason,
            detail=detail,
            topic="" if refused is None else refused.topic,
            dedup_id="" if refused is None else refused.dedup_id,
        )
        record = record_of(letter, topic=topic, wanted=self._wanted, dialect=self._dialect)
        return Kept(letter, (record,))


class RefusedRecords:
    """What the broker refuses for good when the spool is drained: kept, so that its lane goes on."""

    def __init__(
        self,
        publish: Callable[[Record], Awaitable[None]],
        facts: Mapping[str, SourceFacts],
        *,
        topic: str,
        dialect: HeaderDialect,
    ) -> None:
        """Wire.

        Args:
            publish: the publisher's.
            facts: by source, as far as it is still configured.
            topic: of dead letters.
            dialect: of the broker's records.
        """
        self._publish = publish
        self._facts = facts
        self._topic = topic
        self._dialect = dialect

    async def keep(self, row: Row, refusal: RecordRefused) -> None:
        """Return when the row's letter is durable.

        Raises:
            PublishError: it is not: not now, or never.
        """
        letter = letter_of_refused(row.entry, refusal)
        await self._publish(record_of(letter, topic=self._topic, wanted=(), dialect=self._dialect))
        if (facts := self._facts.get(letter.source)) is not None:
            facts.kept(letter.id, letter.reason, letter.detail)


def unknown_detail(unknown: int, events: int) -> str:
    """For people: why a letter with the reason `unknown_type` is one."""
    which = "the event is" if events == 1 else f"{unknown} of the {events} events are"
    return f"{which} of a kind that this version does not know, and UNKNOWN=dead-letter"
