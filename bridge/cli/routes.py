"""`routes`: where the events of each source and type go, from the configuration alone."""

from collections.abc import Iterator

import click
import msgspec
from rich.markup import escape
from rich.table import Table as Grid

from bridge.cli.command import Command
from bridge.cli.console import PersonConsole
from bridge.cli.settings import ROUTING, surveyed, tell_ignored
from bridge.config import Config
from bridge.errors import ConfigError
from bridge.events.model import EventType
from bridge.routing import Found, Table

__all__ = ["Row", "routes"]


class Row(msgspec.Struct, frozen=True):
    """One event type of one source, as `--json` prints it.

    Attributes:
        source: the source's name; `*`: a topic of the bridge's own, of all sources.
        type: the type's name; with `*` in it: others that payloads name, as far as no row before takes them. Of the
            bridge's own topics `dead-letter` or `raw`: deliveries as they came.
        topics: where its events go, with `*` where the type's name will be; none: they are dropped.
        key: what of the event becomes the record's key.
        by: what decides: `rule 2`, `template`, `UNKNOWN=drop`, or the variable.
        dataschema: the schema of the data.
        schema: its path below `schemas/`.
        sensitive: the data are credentials.
    """

    source: str
    type: str
    topics: tuple[str, ...]
    key: str
    by: str
    dataschema: str
    schema: str
    sensitive: bool


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge routes", "a table of sources, types and their topics"),
        ("webhook-bridge routes --json | jq -r '.[].topics[]' | sort -u", "the topics that a broker must have"),
    ],
)
@click.option("--source", help="Only this source.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array instead of a table.")
def routes(*, source: str | None, as_json: bool) -> None:
    """Show which topics the events of each source and type go to.

    From the configuration alone: no broker is asked, no token is needed, and settings of other things that are wrong
    are named and prevent nothing.
    """
    found = surveyed()
    if concerned := [problem for problem in found.problems if problem.variable in ROUTING]:
        raise ConfigError(concerned)
    tell_ignored(found.problems)
    if source is not None and source not in found.tables:
        raise click.BadParameter(
            f"{source!r} is not a source; BRIDGE_SOURCES has {', '.join(found.tables)}", param_hint="--source"
        )
    tables = [table for name, table in found.tables.items() if source in (None, name)]
    rows = [row for table in tables for row in _rows(table, found.config.dead_letter_topic)] + [*_own(found.config)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    else:
        _show(rows)


def _rows(table: Table, dead_letter_topic: str | None) -> Iterator[Row]:
    source = table.source
    types = {event_type.name: event_type for event_type in source.types}
    for name, found in table.known.items():
        row = _row(source.name, name, types.get(name, source.fallback), found)
        if found.unknown and source.unknown == "dead-letter" and dead_letter_topic is not None:
            row = msgspec.structs.replace(row, topics=(dead_letter_topic,), key="source")
        yield row
    for name, found in table.open_ways():
        yield _row(source.name, name, source.fallback, found)


def _own(config: Config) -> Iterator[Row]:
    """The bridge's own topics: deliveries as they came, whatever they hold."""
    own = {"dead-letter": config.dead_letter_topic, "raw": config.raw_topic}
    for name, topic in own.items():
        if topic is not None:
            by = f"BRIDGE_{name.upper().replace('-', '_')}_TOPIC"
            yield Row(
                source="*", type=name, topics=(topic,), key="source", by=by, dataschema="", schema="", sensitive=True
            )


def _row(source: str, name: str, event_type: EventType, found: Found) -> Row:
    return Row(
        source=source,
        type=name,
        topics=tuple(route.topic for route in found.routes),
        key=found.routes[0].key if found.routes else "",
        by=found.by,
        dataschema=event_type.dataschema,
        schema=event_type.schema_path,
        sensitive=event_type.sensitive,
    )


def _show(rows: list[Row]) -> None:
    grid = Grid("source", "type", "topics", "key", "by", "schema", box=None, pad_edge=False, header_style="dim")
    for row in rows:
        topics = ", ".join(row.topics) if row.topics else "[yellow]dropped[/yellow]"
        kind = escape(row.type) + (" [red](credentials)[/red]" if row.sensitive else "")
        grid.add_row(escape(row.source), kind, topics, row.key, row.by, row.schema.removesuffix(".json"))
    PersonConsole().print_table(grid)
