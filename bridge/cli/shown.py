"""A record as `tail` shows it, and whether it is wanted. In either mode of CloudEvents, from either broker."""

import re
from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import msgspec

from bridge.cli.console import PersonConsole
from bridge.cli.masking import TOO_DEEP, masked, plain, pretty
from bridge.events.reading import read_event
from bridge.providers import PROVIDERS
from bridge.publishers.base import Received

__all__ = ["Shown", "Wanted", "line_of", "show"]

_TYPE = re.compile(r"[^.]+\.(?P<name>.+)\.v[0-9]+")  # domain.name.vN
_SOURCE = re.compile(r"/(?P<source>[^/]+)/devices/(?P<device>.+)")
_SENSITIVE = frozenset(
    event_type.name for provider in PROVIDERS.values() for event_type in provider.event_types if event_type.sensitive
)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One record, and `--json`'s line of it.

    Attributes:
        topic: Kafka topic or NATS subject.
        key: the record's; on NATS the event's `partitionkey`.
        seq: its place in the stream or partition.
        stored: when the broker stored it.
        headers: as sent.
        event: as structured JSON has it, whichever mode it came in; null: the record holds none.
        error: why not.
    """

    topic: str
    key: str | None
    seq: int
    stored: datetime
    headers: Mapping[str, str]
    event: dict[str, Any] | None = None
    error: str | None = None

    @classmethod
    def of(cls, received: Received, *, show_credentials: bool) -> "Shown":
        """Decoded, and without credentials unless they are asked for."""
        event, error = None, None
        try:
            event = read_event(received.value, received.headers)
            if not show_credentials:
                event = {**event, "data": masked(event.get("data"), hide=_name_of(event) in _SENSITIVE)}
        except ValueError as found:
            error = str(found)
        except RecursionError:
            event, error = None, f"{len(received.value)} bytes {TOO_DEEP}"
        return cls(
            topic=received.topic,
            key=received.key if received.key is not None or event is None else event.get("partitionkey"),
            seq=received.seq,
            stored=received.time,
            headers=received.headers,
            event=event,
            error=error,
        )

    @property
    def name(self) -> str:
        """The type without domain and version: `message.received`; empty if there is no event."""
        return "" if self.event is None else _name_of(self.event)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are shown.

    Attributes:
        pattern: a glob on the topic, its end after `events.<source>.`, or the event's type, with or without domain and
            version.
        source: a source's name.
        device: a device's id.
        key: the record's key.
    """

    pattern: str = "*"
    source: str | None = None
    device: str | None = None
    key: str | None = None

    def __call__(self, shown: Shown) -> bool:
        """Whether this one is."""
        event = shown.event or {}
        if not self.is_named(shown.topic, str(event.get("type", "")), shown.name):
            return False
        from_where = _SOURCE.fullmatch(str(event.get("source", "")))
        source, device = (from_where["source"], unquote(from_where["device"])) if from_where else (None, None)
        return self.source in (None, source) and self.device in (None, device) and self.key in (None, shown.key)

    def is_named(self, topic: str, ce_type: str, name: str) -> bool:
        """Whether the pattern is about events of this type on this topic."""
        return any(fnmatchcase(text, self.pattern) for text in (topic, topic.split(".", 2)[-1], ce_type, name))


def _name_of(event: Mapping[str, Any]) -> str:
    match = _TYPE.fullmatch(str(event.get("type", "")))
    return match["name"] if match else ""


def line_of(shown: Shown) -> str:
    """One line of JSON."""
    try:
        return msgspec.json.encode(shown).decode()
    except RecursionError:
        return msgspec.json.encode(msgspec.structs.replace(shown, event=None, error=TOO_DEEP)).decode()


def show(shown: Shown, console: PersonConsole) -> None:
    """A head line, then the data."""
    time = shown.stored.astimezone().strftime("%H:%M:%S")
    head = f"[dim]{time}[/dim] [bold]{plain(shown.topic)}[/bold]"
    if shown.event is None:
        console.print(f"{head} [red]{plain(shown.error)}[/red]")
        return
    if shown.name and not shown.topic.endswith(shown.name):
        head += f" [cyan]{plain(shown.name)}[/cyan]"
    console.print(f"{head} key {plain(shown.key)} [dim]{plain(shown.event.get('id'))}[/dim]")
    console.print(pretty(shown.event.get("data")), markup=False)
