"""`explain`: what one payload becomes, by the code that the entrance runs, offline."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from bridge.broker import dialect_of
from bridge.cli.command import Command
from bridge.cli.explained import Explained, show
from bridge.cli.settings import Surveyed, surveyed, tell_ignored
from bridge.config import SourceConfig, make_tables
from bridge.errors import DeviceNotAllowed, UndecodableBody
from bridge.ingest import outcomes
from bridge.ingest.compiled import make_pipeline
from bridge.ingest.outcomes import Outcome
from bridge.ingest.pipeline import Prepared
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery

__all__ = ["explain"]


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge explain body.json --source chatlevel", "what this payload becomes, and on which topics"),
        ("webhook-bridge explain body.json --json | jq '.events[].records[].topic'", "the topics alone"),
    ],
)
@click.argument("file", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--source", help="Whose payload it is; the first one of BRIDGE_SOURCES if not given.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--show-credentials", is_flag=True, help="Show QR and pairing codes, which let others take a device over."
)
def explain(*, file: Path, source: str | None, as_json: bool, show_credentials: bool) -> None:
    """Show what a payload becomes: ids, types, topics, keys, headers and values, or why it is refused.

    Nothing is sent, no broker is asked, no token is needed. Settings that are wrong are named and prevent nothing:
    it is explained as if they were not set.

    Exit code 0: it would be published, or dropped as the rules say. 1: it would be refused.
    """
    found = surveyed()
    tell_ignored(found.problems)
    found, chosen = _choose(found, source)
    body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    explained = _explained(found, chosen, body)
    if not show_credentials:
        explained = explained.without_credentials(found.config)
    if as_json:
        click.echo(explained.as_json())
    else:
        show(explained)
    sys.exit(1 if explained.error else 0)


def _choose(found: Surveyed, name: str | None) -> tuple[Surveyed, SourceConfig]:
    """The source; where the sources cannot be read, one named as its provider is."""
    by_name = {source.name: source for source in found.config.sources}
    if name is None and by_name:
        name = next(iter(by_name))
    if name in by_name:
        return found, by_name[name]
    if name is not None and name in PROVIDERS:
        source = SourceConfig(name=name, provider=name)
        config = msgspec.structs.replace(found.config, sources=(source,), routes=None)
        click.echo(f"not configured: source {name}; explained as if BRIDGE_SOURCES={name} were all there is", err=True)
        return Surveyed(config, make_tables(config, PROVIDERS), found.problems), source
    known = ", ".join(by_name) or f"none that can be read; the name of a provider will do: {', '.join(PROVIDERS)}"
    if name is None:
        raise click.UsageError(f"name the --source; BRIDGE_SOURCES has {known}")
    raise click.BadParameter(f"{name!r} is not a source; BRIDGE_SOURCES has {known}", param_hint="--source")


def _explained(found: Surveyed, source: SourceConfig, body: bytes) -> Explained:
    config, table = found.config, found.tables[source.name]
    pipeline = make_pipeline(
        config, source, provider=PROVIDERS[source.provider], table=table, dialect=dialect_of(config)
    )
    prepared: list[Prepared] = []
    refusal: tuple[Outcome, str] | None = None
    if len(body) > source.max_body_bytes:
        detail = f"the body has {len(body)} bytes, {source.variable('max_body_bytes')} is {source.max_body_bytes}"
        refusal = (outcomes.BODY_TOO_LARGE, detail)
    headers = {b"content-type": b"application/json"}
    try:
        prepared = pipeline.prepare(Delivery(body, headers, datetime.now(UTC)))
    except UndecodableBody as error:
        refusal = refusal or (outcomes.UNDECODABLE, str(error))
    except DeviceNotAllowed as error:
        refusal = refusal or (outcomes.DEVICE_NOT_ALLOWED, f"{error} ({source.variable('devices')})")
    return Explained.of(config, source, len(body), prepared, refusal)
