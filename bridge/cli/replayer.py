"""What `replay` does with each letter: through today's pipeline, to the topics, and then the position moves."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from bridge.cli.position import Place, Position
from bridge.errors import BrokerUnavailable, DeviceNotAllowed, RecordRefused, RecordTooLarge, UndecodableBody
from bridge.ingest import outcomes
from bridge.ingest.dead_letters import unknown_detail
from bridge.ingest.letters import Letter, letter_of
from bridge.ingest.pipeline import Pipeline
from bridge.ingest.traceparent import valid_traceparent
from bridge.publishers.base import Publisher, Received, Record

__all__ = ["Done", "DoneEvent", "Replayer", "Selection"]

_TOGETHER = 64  # letters published at once, and replayed again at most when killed; order per key is kept
_ACKNOWLEDGED_S = 30.0
_TRIES = 3


class DoneEvent(msgspec.Struct, frozen=True):
    """An event of a letter, and where it goes; no topic: it is dropped by a rule."""

    type: str
    id: str
    topics: tuple[str, ...]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a letter, as `--json` prints it.

    Attributes:
        letter: its id.
        source, received, reason: as it was kept.
        partition, seq: its place on the topic.
        outcome: `replayed`; `would_replay` in a dry run; `fails`.
        events: what it decodes into now.
        error, detail: why it still fails.
    """

    letter: str
    source: str
    received: datetime
    reason: str | None
    partition: int
    seq: int
    outcome: Literal["replayed", "would_replay", "fails"]
    events: tuple[DoneEvent, ...] = ()
    error: str = ""
    detail: str = ""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters; times are of receiving."""

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    reason: str | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether this one is meant, whenever it came."""
        return self.source in (None, letter.source) and self.reason in (None, letter.reason)

    def too_early(self, letter: Letter) -> bool:
        """Whether it came before the time."""
        return self.since is not None and letter.delivery.received_at < self.since

    def too_late(self, letter: Letter) -> bool:
        """Whether it came after the time."""
        return self.until is not None and letter.delivery.received_at >= self.until


class _Turn(msgspec.Struct, frozen=True):
    """A letter and what today's pipeline makes of it."""

    done: Done
    records: tuple[Record, ...] = ()


class Replayer:
    """One run.

    Attributes:
        replayed, failed, foreign: how many letters so far; the last: records that are no letters.
        read, left: how many records were read, and are still to be.
    """

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        *,
        unknown: Mapping[str, str],
        selection: Selection,
        position: Position,
        save_to: Path | None,
        publisher: Publisher | None,
        tell: Callable[[Done], None],
    ) -> None:
        """Wire.

        Args:
            pipelines: by source, of those that are configured.
            unknown: source -> the type whose events stay dead letters (UNKNOWN=dead-letter).
            selection: which letters.
            position: where to begin; moves.
            save_to: where it is kept; None: nowhere.
            publisher: None: a dry run.
            tell: called for each letter once it is done.
        """
        self._pipelines = pipelines
        self._unknown = unknown
        self._selection = selection
        self._position = position
        self._save_to = save_to
        self._publisher = publisher
        self._tell = tell
        self._late: dict[int, set[int]] = {}
        self._begins = position.begins()
        self.replayed = self.failed = self.foreign = self.read = self.left = 0

    async def run(self, records: AsyncGenerator[Received, None]) -> None:
        """Replay them all.

        Raises:
            BrokerUnavailable: the position is where the last letter was acknowledged.
        """
        async for chunk in _chunks(records):
            turns = [turn for received in chunk if (turn := self._turn(received)) is not None]
            dones = [turn.done for turn in turns] if self._publisher is None else await self._publish(turns)
            for done in dones:
                failed = done.outcome == "fails"
                self._pass(done.partition, done.seq, failed=failed)
                self.failed += failed
                self.replayed += not failed
                self._tell(done)
            self.read, self.left = self.read + len(chunk), chunk[-1].left
            if self._save_to is not None and self._position.places:
                self._position.save(self._save_to)

    def _turn(self, received: Received) -> _Turn | None:
        """None: nothing is to be done about it."""
        if received.seq < self._begins.pop(received.partition, 0):  # the first one, before where we were
            del self._position.places[received.partition]  # the topic was made anew: that was another one's place
        if not self._position.wants(received.partition, received.seq):
            return None
        try:
            letter = letter_of(received)
        except ValueError:
            self.foreign += 1
            self._pass(received.partition, received.seq)
            return None
        if self._selection.too_late(letter):
            self._late.setdefault(received.partition, set()).add(received.seq)
            return None
        if self._selection.too_early(letter) or not self._selection.takes(letter):
            self._pass(received.partition, received.seq)
            return None
        return self._decoded(letter, received)

    def _pass(self, partition: int, seq: int, *, failed: bool = False) -> None:
        """The position moves; it may step over letters that came too late for this run, and remembers them."""
        if late := self._late.pop(partition, None):
            self._position.places.setdefault(partition, Place()).failed |= late
        self._position.passed(partition, seq, failed=failed)

    def _decoded(self, letter: Letter, received: Received) -> _Turn:
        done = Done(
            letter=letter.id,
            source=letter.source,
            received=letter.delivery.received_at.astimezone(UTC),
            reason=letter.reason,
            partition=received.partition,
            seq=received.seq,
            outcome="would_replay",
        )
        if letter.record is not None:
            return _Turn(msgspec.structs.replace(done, events=(_event_of(letter.record),)), (letter.record,))
        pipeline = self._pipelines.get(letter.source)
        if pipeline is None:
            return _failing(done, "no_source", "BRIDGE_SOURCES has no such source")
        trace = valid_traceparent(letter.delivery.headers.get(b"traceparent"))
        try:
            prepared = pipeline.prepare(letter.delivery, trace)
        except UndecodableBody as error:
            return _failing(done, outcomes.UNDECODABLE.code, str(error))
        except DeviceNotAllowed as error:
            return _failing(done, outcomes.DEVICE_NOT_ALLOWED.code, str(error))
        unknown = sum(item.event.type.name == self._unknown.get(letter.source) for item in prepared)
        if unknown and letter.reason is not None:
            return _failing(done, "unknown_type", unknown_detail(unknown, len(prepared)))
        events = tuple(
            DoneEvent(item.event.type.name, item.event.id, tuple(record.topic for record in item.records))
            for item in prepared
        )
        records = tuple(record for item in prepared for record in item.records)
        return _Turn(msgspec.structs.replace(done, events=events), records)

    async def _publish(self, turns: Sequence[_Turn]) -> list[Done]:
        """All of them, in order; again from the first one after an outage, for order is by key."""
        assert self._publisher is not None  # noqa: S101 -- no dry run
        for attempt in range(1, _TRIES + 1):
            try:
                async with asyncio.timeout(_ACKNOWLEDGED_S):
                    await self._publisher.wait_ready()
                    refused = await _refused(self._publisher, turns)
            except (BrokerUnavailable, TimeoutError) as error:
                if attempt == _TRIES:
                    raise BrokerUnavailable(str(error) or f"no answer within {_ACKNOWLEDGED_S:g} s") from error
            else:
                return [_settled(turn, refused.get(index)) for index, turn in enumerate(turns)]
        raise AssertionError


async def _refused(publisher: Publisher, turns: Sequence[_Turn]) -> dict[int, RecordRefused]:
    """Publish in order; which turns have a record that the broker refuses for good. Anything else is raised."""
    places = [(index, record) for index, turn in enumerate(turns) for record in turn.records]
    results = await asyncio.gather(*(publisher.publish(record) for _, record in places), return_exceptions=True)
    refused: dict[int, RecordRefused] = {}
    for (index, _), result in zip(places, results, strict=True):
        if isinstance(result, RecordRefused):
            refused[index] = result
        elif result is not None:
            raise result
    return refused


def _event_of(record: Record) -> DoneEvent:
    """By the headers that a record has in either mode and on either broker."""
    by_name = {name.replace("_", "-"): text for name, text in record.headers.items()}
    return DoneEvent(by_name.get("ce-type", ""), by_name.get("ce-id", ""), (record.topic,))


def _failing(done: Done, error: str, detail: str) -> _Turn:
    return _Turn(msgspec.structs.replace(done, outcome="fails", error=error, detail=detail))


def _settled(turn: _Turn, refusal: RecordRefused | None) -> Done:
    if turn.done.outcome == "fails":
        return turn.done
    if refusal is None:
        return msgspec.structs.replace(turn.done, outcome="replayed")
    outcome = outcomes.RECORD_TOO_LARGE if isinstance(refusal, RecordTooLarge) else outcomes.RECORD_REFUSED
    return _failing(turn.done, outcome.code, str(refusal)).done


async def _chunks(records: AsyncGenerator[Received, None]) -> AsyncIterator[list[Received]]:
    chunk: list[Received] = []
    async for received in records:
        chunk.append(received)
        if len(chunk) == _TOGETHER:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
