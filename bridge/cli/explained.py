"""What `explain` found out, as JSON and for people."""

from datetime import datetime
from typing import Any, Self

import msgspec
from rich.markup import escape

from bridge.broker import as_sent, largest_record_bytes
from bridge.cli.console import PersonConsole
from bridge.cli.masking import TOO_DEEP, masked, plain, pretty
from bridge.config import Config, SourceConfig
from bridge.errors import RecordRefused
from bridge.ingest.outcomes import ACCEPTED, DEAD_LETTERED, RECORD_REFUSED, Outcome
from bridge.ingest.pipeline import Prepared
from bridge.publishers.base import Record

__all__ = ["Explained", "ExplainedEvent", "ExplainedRecord", "ExplainedStep", "show"]


class ExplainedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record.

    Attributes:
        topic, key: where it goes.
        headers: as the configured broker gets them.
        dedup_id: what a copy is recognised by.
        size_bytes: what counts against the broker's limit.
        value: as JSON.
    """

    topic: str
    key: str
    headers: dict[str, str]
    dedup_id: str
    size_bytes: int
    value: Any


class ExplainedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the proof of the sender depends on: what, whether it is right, and what was found; no secret."""

    name: str
    right: bool
    found: str


class ExplainedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event and its records; none: it is dropped."""

    type: str
    ce_type: str
    id: str
    device: str
    subject: str | None
    time: datetime
    expirytime: datetime | None
    dataschema: str
    sensitive: bool
    drift: tuple[str, ...]
    records: tuple[ExplainedRecord, ...]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What `explain --json` prints.

    Attributes:
        source, provider: whose payload it is.
        status: the answer's, if the broker takes the records.
        error: why it is refused, as in the answer; `dead_lettered`: it is taken, and is no event yet; empty: neither.
        detail: in words, with the place.
        body_bytes, max_body_bytes: its size and the source's limit.
        max_record_bytes: the most that a record of this source is reckoned with; `check --connect` compares it with
            the broker's limit.
        proof: of a whole request, what its proof depends on; empty where none is asked for, or for a body alone.
        reply: of a request that is a provider's question and no event, the answer's body; else empty.
        events: in their order; of a request that is not proven, what they would be.
    """

    source: str
    provider: str
    status: int
    error: str
    detail: str
    body_bytes: int
    max_body_bytes: int
    max_record_bytes: int
    proof: tuple[ExplainedStep, ...] = ()
    reply: str = ""
    events: tuple[ExplainedEvent, ...]

    @classmethod
    def of(
        cls,
        config: Config,
        source: SourceConfig,
        body_bytes: int,
        prepared: list[Prepared],
        refusal: tuple[Outcome, str] | None,
        *,
        proof: tuple[ExplainedStep, ...] = (),
    ) -> Self:
        """From what the pipeline made, or why it did not."""
        try:
            events = tuple(_event(config, item) for item in prepared)
        except RecordRefused as error:
            events, refusal = (), refusal or (RECORD_REFUSED, str(error))
        outcome, detail = refusal or (ACCEPTED, "")
        return cls(
            source=source.name,
            provider=source.provider,
            status=source.success_status if outcome in (ACCEPTED, DEAD_LETTERED) else outcome.status,
            error="" if outcome is ACCEPTED else outcome.code,
            detail=detail,
            body_bytes=body_bytes,
            max_body_bytes=source.max_body_bytes,
            max_record_bytes=largest_record_bytes(source),
            proof=proof,
            events=events,
        )

    def without_credentials(self, config: Config) -> Self:
        """As it may be shown; the configuration says whether values are whole events."""
        whole = config.event_format == "structured"
        events = tuple(
            msgspec.structs.replace(
                event, records=tuple(_masked(record, event, whole=whole) for record in event.records)
            )
            for event in self.events
        )
        return msgspec.structs.replace(self, events=events)

    def as_json(self) -> bytes:
        """For a program; indented where the values are not nested too deeply for that."""
        encoded = msgspec.json.encode(self)
        try:
            return msgspec.json.format(encoded, indent=2)
        except RecursionError:
            return encoded


def _event(config: Config, item: Prepared) -> ExplainedEvent:
    event = item.event
    return ExplainedEvent(
        type=event.type.name,
        ce_type=event.type.ce_type,
        id=event.id,
        device=event.device,
        subject=event.subject,
        time=event.time,
        expirytime=event.expirytime,
        dataschema=event.type.dataschema,
        sensitive=event.type.sensitive,
        drift=event.drift,
        records=tuple(_record(config, record) for record in item.records),
    )


def _record(config: Config, record: Record) -> ExplainedRecord:
    headers, size_bytes = as_sent(config, record)
    return ExplainedRecord(
        topic=record.topic,
        key=record.key,
        headers=headers,
        dedup_id=record.dedup_id,
        size_bytes=size_bytes,
        value=msgspec.Raw(record.value),
    )


def _masked(record: ExplainedRecord, event: ExplainedEvent, *, whole: bool) -> ExplainedRecord:
    try:
        value = msgspec.json.decode(record.value)
        if whole:
            value["data"] = masked(value.get("data"), hide=event.sensitive)
        else:
            value = masked(value, hide=event.sensitive)
    except RecursionError:
        value = TOO_DEEP
    return msgspec.structs.replace(record, value=value)


def show(explained: Explained) -> None:
    """For people: what is the answer, then each event with its records."""
    console = PersonConsole()
    size = f"(body: {explained.body_bytes} of at most {explained.max_body_bytes} bytes)"
    if explained.error:
        console.print(f"[red]{explained.status} {explained.error}[/red]: {plain(explained.detail)} [dim]{size}[/dim]")
    else:
        count = len(explained.events)
        events = f"{count} event{'' if count == 1 else 's'}"
        console.print(f"[green]{explained.status}[/green] {events} of {escape(explained.source)} [dim]{size}[/dim]")
    for step in explained.proof:
        colour, word = ("green", "right") if step.right else ("red", "wrong")
        console.print(f"  [{colour}]{word}[/{colour}] [dim]{plain(step.name):9}[/dim] {plain(step.found)}")
    if explained.reply:
        console.print(f"  [dim]a question of the provider, answered with[/dim] {plain(explained.reply)}")
    if explained.events and not all(step.right for step in explained.proof):
        console.print("\nwere it proven, it would become:")
    for event in explained.events:
        _show_event(console, explained, event)


def _show_event(console: PersonConsole, explained: Explained, event: ExplainedEvent) -> None:
    console.print(f"\n[bold]{plain(event.type)}[/bold] [dim]{plain(event.ce_type)}[/dim]")
    facts = {
        "id": event.id,
        "device": event.device,
        "subject": event.subject,
        "time": event.time.isoformat(),
        "expires": event.expirytime and event.expirytime.isoformat(),
        "unknown": ", ".join(event.drift),
    }
    for name, value in facts.items():
        if value:
            console.print(f"  [dim]{name:8}[/dim] {plain(value)}")
    if not event.records:
        how = "in the dead letter" if explained.error else "dropped"
        console.print(f"  [yellow]{how}[/yellow], as the rules say: answered with success, and published nowhere")
    for number, record in enumerate(event.records):
        console.print(f"  [dim]topic   [/dim] [bold]{plain(record.topic)}[/bold] [dim]key[/dim] {plain(record.key)}")
        for name, value in record.headers.items():
            console.print(f"           [dim]{plain(name)}:[/dim] {plain(value)}")
        most = explained.max_record_bytes
        console.print(f"  [dim]size    [/dim] {record.size_bytes} bytes with headers, of at most {most} reckoned with")
        following = event.records[number + 1 : number + 2]
        if not following or following[0].value != record.value:  # the value of several copies is shown once
            console.print(pretty(record.value), markup=False)
