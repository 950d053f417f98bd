"""`replay`: dead letters, or raw deliveries, through today's code and onto their topics."""

import asyncio
import contextlib
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console

from bridge.broker import dialect_of, make_client, make_letter_reader
from bridge.cli.command import Command, broker_timeout
from bridge.cli.console import PersonConsole
from bridge.cli.masking import plain
from bridge.cli.position import Position, PositionError
from bridge.cli.progress import progressing
from bridge.cli.replayer import Done, Replayer, Selection
from bridge.cli.since import SINCE
from bridge.config import Config, load, make_tables
from bridge.errors import BrokerUnavailable
from bridge.ingest.compiled import make_pipeline
from bridge.ingest.letters import REASONS
from bridge.ingest.pipeline import Pipeline
from bridge.providers import PROVIDERS
from bridge.publishers.base import Publisher
from bridge.telemetry import logs

__all__ = ["replay"]

_TOPICS = {"dead-letter": "BRIDGE_DEAD_LETTER_TOPIC", "raw": "BRIDGE_RAW_TOPIC"}
_CLOCKS_DIFFER = timedelta(minutes=5)  # the broker's from the bridge's
_MOST_NAMED = 20
_COPIES = (
    "Ids are what they were. Of an event that was published before, JetStream drops the copy within its duplicate "
    "window, and no broker does after it, nor Kafka ever: consumers drop what they have seen by its id."
)


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge replay --dry-run", "what each dead letter would become now, or why it still fails"),
        ("webhook-bridge replay", "publish what decodes now; the next run goes on from there"),
        (
            "webhook-bridge replay --source chatlevel --reason undecodable --name chatlevel-fix",
            "some of them, with a position of their own",
        ),
        (
            "webhook-bridge replay --from raw --since 2h --until 1h --name second-hour",
            "every delivery of an hour once more, as it came",
        ),
    ],
)
@click.option(
    "--from",
    "from_topic",
    type=click.Choice(tuple(_TOPICS)),
    default="dead-letter",
    show_default=True,
    help="Which topic to read.",
)
@click.option("--since", type=SINCE, help="Only what came in since then: 15m, 2h, 7d, or a time (UTC).")
@click.option("--until", type=SINCE, help="Only what came in before then; later ones are left for another run.")
@click.option("--source", help="Only deliveries of this source.")
@click.option("--reason", type=click.Choice(REASONS), help="Only letters with this reason.")
@click.option("--dry-run", is_flag=True, help="Show what would happen; publish nothing and move no position.")
@click.option("--name", help="Of this replay: each has a position of its own in the data directory.  [default: --from]")
@click.option(
    "--position",
    "position_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the position in this file instead.",
)
@broker_timeout("How many seconds to wait for the broker at first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each letter.")
def replay(
    *,
    from_topic: str,
    since: datetime | None,
    until: datetime | None,
    source: str | None,
    reason: str | None,
    dry_run: bool,
    name: str | None,
    position_file: Path | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Run dead letters, or raw deliveries, through this version and publish what they become.

    A letter is published before the position moves, so an interrupted run goes on where it was and leaves nothing
    out. What still fails stays on its topic, is tried again by the next run, and is no new letter. Ids are those that
    the events would have had: equal on each run.

    Exit code 0: all of them were replayed, or would be. 1: some still fail, or the broker cannot be used. 2: wrong
    usage or configuration.
    """
    config = load(os.environ)
    topic = config.dead_letter_topic if from_topic == "dead-letter" else config.raw_topic
    if topic is None:
        raise click.UsageError(f"{_TOPICS[from_topic]} names no topic, so there is nothing to replay")
    if from_topic == "raw" and reason is not None:
        raise click.UsageError("--reason is about dead letters; on the raw topic nothing has one")
    if since is not None and until is not None and since >= until:
        raise click.UsageError(f"--since ({since:%Y-%m-%d %H:%M:%S}) is not before --until ({until:%Y-%m-%d %H:%M:%S})")
    if source is not None and source not in (known := [one.name for one in config.sources]):
        click.echo(f"{source!r} is no source now: BRIDGE_SOURCES has {', '.join(known)}", err=True)
    path = position_file or config.data_dir / "replay" / f"{_file_name(name or from_topic)}.json"
    selection = Selection(since=since, until=until, source=source, reason=reason)
    try:
        position = Position.load(path, topic=topic, source=source, reason=reason)
    except PositionError as error:
        raise click.UsageError(f"{error}: take another --name or --position for this one") from error
    told = _Told(as_json=as_json, dry_run=dry_run)
    run = _Run(config, selection, position, None if dry_run else path, told)
    logs.configure(format="console", level="error", stream=sys.stderr)
    try:
        replayer = asyncio.run(run(timeout_s))
    except BrokerUnavailable as error:
        click.echo(f"Stopped: {config.broker}: {error}. The next run goes on from there.", err=True)
        sys.exit(1)
    finally:
        logs.shutdown(timeout_s=1.0)
    told.summary(replayer, path)
    sys.exit(1 if replayer.failed else 0)


def _file_name(name: str) -> str:
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise click.BadParameter("letters, digits, - and _ alone, for it names a file", param_hint="--name")
    return name


class _Run:
    """One run, with all that it needs."""

    def __init__(
        self, config: Config, selection: Selection, position: Position, save_to: Path | None, told: "_Told"
    ) -> None:
        """`save_to` is None in a dry run."""
        self._config = config
        self._tables = make_tables(config, PROVIDERS)
        self._selection = selection
        self._position = position
        self._save_to = save_to
        self._told = told

    async def __call__(self, timeout_s: float) -> Replayer:
        """Replay.

        Raises:
            BrokerUnavailable: at the beginning, or in between.
        """
        if self._save_to is None:
            return await self._replay(None)
        publisher = make_client(self._config, self._tables)
        await publisher.start()
        try:
            await _ready(publisher, timeout_s)
            return await self._replay(publisher)
        finally:
            await publisher.close()

    async def _replay(self, publisher: Publisher | None) -> Replayer:
        replayer = Replayer(
            self._pipelines(),
            unknown={
                source.name: self._tables[source.name].source.fallback.name
                for source in self._config.sources
                if source.unknown == "dead-letter"
            },
            selection=self._selection,
            position=self._position,
            save_to=self._save_to,
            publisher=publisher,
            tell=self._told,
        )
        read = make_letter_reader(self._config, self._tables, self._position.topic)
        since = self._selection.since
        records = read("all" if since is None else since - _CLOCKS_DIFFER, self._position.begins())

        def state() -> tuple[float, float | None, str]:
            failing = f"[red]{replayer.failed} still fail[/red]" if replayer.failed else ""
            return replayer.read, replayer.read + replayer.left if replayer.read else None, failing

        with progressing("replaying", state, shown=publisher is not None and not self._told.as_json):
            async with contextlib.aclosing(records):
                await replayer.run(records)
        return replayer

    def _pipelines(self) -> dict[str, Pipeline]:
        config, dialect = self._config, dialect_of(self._config)
        return {
            source.name: make_pipeline(
                config,
                source,
                provider=PROVIDERS[source.provider],
                table=self._tables[source.name],
                dialect=dialect,
            )
            for source in config.sources
        }


async def _ready(publisher: Publisher, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await publisher.wait_ready()
    except TimeoutError as error:
        reasons = "; ".join(publisher.health().reasons) or "it does not answer"
        raise BrokerUnavailable(f"{reasons} ({timeout_s:g} s tried)") from error


class _Told:
    """What is said of each letter, and at the end."""

    def __init__(self, *, as_json: bool, dry_run: bool) -> None:
        self.as_json = as_json
        self._dry_run = dry_run
        self._console = PersonConsole()
        self._failing: list[Done] = []

    def __call__(self, done: Done) -> None:
        """Of one letter. Behind a progress bar, what fails waits for the end."""
        if self.as_json:
            click.echo(msgspec.json.encode(done))
        elif self._dry_run:
            self._console.print(_line(done))
        elif done.outcome == "fails" and len(self._failing) < _MOST_NAMED:
            self._failing.append(done)

    def summary(self, replayer: Replayer, path: Path) -> None:
        """Numbers, what still fails, and what is to be known of copies; on standard error beside `--json`."""
        console = Console(stderr=True, highlight=False, soft_wrap=True) if self.as_json else self._console
        for done in self._failing:
            console.print(_line(done))
        if (more := replayer.failed - len(self._failing)) > 0 and self._failing:
            console.print(f"… and {more} more: --dry-run or --json shows all")
        would = "would be replayed" if self._dry_run else "replayed"
        console.print(f"{replayer.replayed} {would}, {replayer.failed} still fail", end="")
        console.print(f"; {replayer.foreign} records are no letters" if replayer.foreign else "")
        if not self._dry_run:
            console.print(f"[dim]position: {plain(path)}[/dim]")
        if replayer.replayed and not self._dry_run:
            console.print(_COPIES)


def _line(done: Done) -> str:
    head = f"[dim]{done.received:%Y-%m-%d %H:%M:%S}[/dim] {plain(done.source)} [dim]{plain(done.letter)}[/dim]"
    if done.outcome == "fails":
        return f"{head} [red]still fails[/red] {plain(done.error)}: {plain(done.detail)}"
    events = "; ".join(
        f"{plain(event.type)} {plain(event.id)} on {plain(', '.join(event.topics)) or 'no topic (dropped)'}"
        for event in done.events
    )
    return f"{head} [green]{plain(done.reason or 'raw')}[/green] -> {events}"
