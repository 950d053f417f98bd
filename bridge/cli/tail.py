"""`tail`: follow the topics and show the events as they come."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from datetime import datetime

import click

from bridge.broker import make_reader
from bridge.cli.command import Command
from bridge.cli.console import PersonConsole
from bridge.cli.shown import Shown, Wanted, line_of, show
from bridge.cli.since import SINCE
from bridge.config import load, make_tables
from bridge.errors import BrokerUnavailable
from bridge.providers import PROVIDERS
from bridge.publishers.base import Since
from bridge.routing import Table

__all__ = ["tail"]


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge tail", "what comes from now on, on all topics"),
        (
            "webhook-bridge tail 'message.*' --since 15m",
            "the messages of the last quarter of an hour, and further ones",
        ),
        ("webhook-bridge tail 'messaging.*' --device 480213", "one device's, by the events' type whatever their topic"),
        ("webhook-bridge tail --all --count 100 --json | jq -r .event.id", "the ids of the oldest hundred events"),
    ],
)
@click.argument("pattern", required=False, default="*")
@click.option("--all", "from_start", is_flag=True, help="Begin with the oldest event kept, not with the next one.")
@click.option("--since", type=SINCE, help="Begin with the events stored since then: 15m, 2h, 7d, or a time (UTC).")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--source", help="Only the events of this source.")
@click.option("--device", help="Only the events of this device.")
@click.option("--key", help="Only the records with this key.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: topic, key, headers and event.")
@click.option(
    "--show-credentials", is_flag=True, help="Show QR and pairing codes, which let others take a device over."
)
def tail(
    *,
    pattern: str,
    from_start: bool,
    since: datetime | None,
    count: int | None,
    source: str | None,
    device: str | None,
    key: str | None,
    as_json: bool,
    show_credentials: bool,
) -> None:
    """Follow the topics and show each event, readable.

    PATTERN is a glob on topics (`events.chatlevel.call`, or what comes after the source: `message.*`) and on the
    types of events (`messaging.*`). Without it all topics of the configured sources are followed. Ctrl-C ends.

    Exit code 0: ended by Ctrl-C, --count or the reader of the pipe. 1: the broker cannot be read.
    """
    if from_start and since is not None:
        raise click.UsageError("--all begins with the oldest event, --since with a later one: one of the two")
    config = load(os.environ)
    tables = make_tables(config, PROVIDERS)
    if source is not None and source not in tables:
        raise click.BadParameter(
            f"{source!r} is not a source; BRIDGE_SOURCES has {', '.join(tables)}", param_hint="--source"
        )
    reader = make_reader(config, tables if source is None else {source: tables[source]})
    wanted = Wanted(pattern=pattern, source=source, device=device, key=key)
    if not any(_has(table, wanted) for name, table in tables.items() if source in (None, name)):
        letters = config.dead_letter_topic is not None and wanted.is_named(config.dead_letter_topic, "", "")
        instead = (
            "dead letters are shown by `webhook-bridge replay --dry-run`" if letters else "see `webhook-bridge routes`"
        )
        click.echo(f"No topic or type of these settings is named {pattern!r}: {instead}.", err=True)
    start: Since = since or ("all" if from_start else "new")
    console = PersonConsole(for_reader=True)

    async def follow() -> None:
        told = 0
        async with contextlib.aclosing(reader(start)) as records:
            async for received in records:
                shown = Shown.of(received, show_credentials=show_credentials)
                if not wanted(shown):
                    continue
                if as_json:
                    console.out(line_of(shown), highlight=False)
                else:
                    show(shown, console)
                told += 1
                if told == count:
                    return

    try:
        asyncio.run(_until_signalled(follow()))
    except BrokerUnavailable as error:
        embedded = "the embedded broker, which runs while `webhook-bridge serve` does"
        broker = embedded if config.broker.kind == "embedded" else config.broker
        click.echo(f"Cannot follow {broker}: {error}.", err=True)
        sys.exit(1)


def _has(table: Table, wanted: Wanted) -> bool:
    """Whether events of the pattern may come: where payloads name the types, any may."""
    return table.source.open_types or any(
        wanted.is_named(route.topic, event_type.ce_type, event_type.name)
        for event_type in table.source.types
        for route in table.find(event_type.name).routes
    )


async def _until_signalled(following: Coroutine[None, None, None]) -> None:
    """Ctrl-C is how one ends it, so it is no error."""
    task = asyncio.ensure_future(following)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
