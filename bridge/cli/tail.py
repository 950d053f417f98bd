"""`tail`: follow the topics and show the events as they come."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from bridge.broker import make_reader
from bridge.cli.console import PersonConsole
from bridge.config import load, make_tables
from bridge.errors import BrokerUnavailable
from bridge.providers import PROVIDERS
from bridge.publishers.base import Received

__all__ = ["tail"]

_HIDDEN = "(hidden: a credential; --show-credentials shows it)"
_CREDENTIAL = re.compile(r"qr|pair", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@click.command()
@click.argument("pattern", required=False, default="*")
@click.option("--all", "from_start", is_flag=True, help="Begin with the oldest event kept, not with the next one.")
@click.option("--since", type=click.DateTime(), help="Begin with the events stored since then (UTC).")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option(
    "--show-credentials", is_flag=True, help="Show QR and pairing codes, which let others take a device over."
)
def tail(
    pattern: str,
    from_start: bool,  # noqa: FBT001 -- click
    since: datetime | None,
    count: int | None,
    show_credentials: bool,  # noqa: FBT001 -- click
) -> None:
    """Follow the topics and show each event, readable.

    PATTERN is a glob on topics or event types: `message.*`, `connection.*`, `events.chatlevel.call`.
    Without it all topics of the configured sources are followed. Ctrl-C ends.
    """
    config = load(os.environ)
    start: Literal["new", "all"] | datetime = "all" if from_start else "new"
    if since is not None:
        start = since.replace(tzinfo=UTC)
    reader = make_reader(config, make_tables(config, PROVIDERS))
    printer = _Printer(PersonConsole(), show_credentials=show_credentials)
    wanted = _matcher(pattern)

    async def follow() -> None:
        seen = 0
        async for received in reader(start):
            if wanted(received.topic):
                printer.show(received)
                seen += 1
                if seen == count:
                    return

    try:
        asyncio.run(_until_signalled(follow()))
    except BrokerUnavailable as error:
        click.echo(f"Cannot follow {config.broker}: {error}.", err=True)
        sys.exit(1)


async def _until_signalled(following: Coroutine[None, None, None]) -> None:
    """Ctrl-C is how one ends it, so it is no error."""
    task = asyncio.ensure_future(following)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Globs match the whole topic or its end after `events.<source>.`."""

    def matches(topic: str) -> bool:
        tail_of_topic = topic.split(".", 2)[-1]
        return fnmatchcase(topic, pattern) or fnmatchcase(tail_of_topic, pattern)

    return matches


class _Printer:
    def __init__(self, console: Console, *, show_credentials: bool) -> None:
        self._console = console
        self._show_credentials = show_credentials

    def show(self, received: Received) -> None:
        """Print one event: a head line, then its data."""
        try:
            event = msgspec.json.decode(received.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._console.print(
                f"[bold]{escape(received.topic)}[/bold] [red]{len(received.value)} bytes, not JSON[/red]"
            )
            return
        time = received.time.astimezone().strftime("%H:%M:%S")
        data = event.pop("data", None)
        if not self._show_credentials:
            data = _masked(data, hide=received.topic.endswith(".connection.auth"))
        head = f"[dim]{time}[/dim] [bold]{escape(received.topic)}[/bold]"
        key = event.get("partitionkey")
        self._console.print(f"{head} key {_plain(key)} [dim]{_plain(event.get('id'))}[/dim]")
        text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
        self._console.print(_CONTROL.sub("�", text), markup=False)


def _plain(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    return escape(_CONTROL.sub("�", str(value)))


def _masked(data: Any, *, hide: bool = False) -> Any:  # noqa: ANN401 -- any JSON value
    """Without credentials, also where a provider calls them by another name."""
    if isinstance(data, dict):
        return {
            name: value if name == "device_id" else _masked(value, hide=hide or bool(_CREDENTIAL.search(name)))
            for name, value in data.items()
        }
    if isinstance(data, list):
        return [_masked(item, hide=hide) for item in data]
    return _HIDDEN if hide and data is not None else data
