"""`explain`: what one payload becomes, by the code that the entrance runs, offline."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from bridge.broker import dialect_of
from bridge.cli.command import Command
from bridge.cli.explained import Explained, show
from bridge.cli.proving import prove_request
from bridge.cli.settings import Surveyed, surveyed, tell_ignored
from bridge.config import Config, SourceConfig, make_tables
from bridge.errors import DeviceNotAllowed, UndecodableBody
from bridge.ingest import outcomes
from bridge.ingest.compiled import make_pipeline
from bridge.ingest.dead_letters import unknown_detail
from bridge.ingest.outcomes import Outcome
from bridge.ingest.pipeline import Prepared
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.captured import read_captured
from bridge.providers.request import Reply, Request, is_encoded
from bridge.routing import Table

__all__ = ["explain"]

_REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/[0-9]")
_REFUSED = 400  # and above, of statuses


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge explain body.json --source chatlevel", "what this payload becomes, and on which topics"),
        ("webhook-bridge explain --request captured.http --source github", "whether this request verifies, or why not"),
        ("webhook-bridge explain body.json --json | jq '.events[].records[].topic'", "the topics alone"),
    ],
)
@click.argument("file", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--source",
    help="Whose payload it is; if not given, the one that the request calls, or the first of BRIDGE_SOURCES.",
)
@click.option("--request", "whole", is_flag=True, help="The file is a whole HTTP request: also prove its sender.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--show-credentials", is_flag=True, help="Show QR and pairing codes, which let others take a device over."
)
def explain(*, file: Path, source: str | None, whole: bool, as_json: bool, show_credentials: bool) -> None:
    """Show what a payload becomes: ids, types, topics, keys, headers and values, or why it is refused.

    Nothing is sent, no broker is asked, no token is needed. Settings that are wrong are named and prevent nothing:
    it is explained as if they were not set.

    With --request the file is a request as a proxy or tunnel captured it: request line, headers, a blank line, the body
    byte for byte. Then it is also said, step by step, whether its sender is proven with the source's token or secret,
    and if not, why; no secret is shown.

    Exit code 0: it would be published, or dropped as the rules say. 1: it would be refused, or
    become a dead letter.
    """
    found = surveyed()
    tell_ignored(found.problems)
    content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    if not whole and _REQUEST_LINE.match(content):
        click.echo("it begins as a whole HTTP request does: --request explains those", err=True)
    request = _request(content) if whole else None
    found, chosen = _choose(found, source or _called(request, found.config))
    explained = _explained(found, chosen, request or _of_body(chosen, content), prove=whole)
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


def _called(request: Request | None, config: Config) -> str | None:
    """The source whose entrance the request calls, if it is one of ours, or named as its provider."""
    if request is None:
        return None
    below = request.path.decode(errors="replace").partition("/webhooks/")[2]  # whatever a proxy has before it
    name = below.partition("/")[0]
    if name in PROVIDERS or name in {source.name for source in config.sources}:
        return name
    if name:
        click.echo(f"it calls {name[:40]!r}, which is no source here: the answer would be 404; see --source", err=True)
    return None


def _request(content: bytes) -> Request:
    try:
        return read_captured(content)
    except ValueError as error:
        raise click.BadParameter(f"it is no HTTP request: {error}", param_hint="FILE") from None


def _of_body(source: SourceConfig, body: bytes) -> Request:
    headers = [(b"content-type", b"application/json")]
    return Request("POST", f"/webhooks/{source.name}".encode(), b"", headers, body)


def _explained(found: Surveyed, source: SourceConfig, request: Request, *, prove: bool) -> Explained:
    if prove and request.method != "POST":
        return _question(found.config, source, request)
    config, body, provider = found.config, request.body, PROVIDERS[source.provider]
    refusal: tuple[Outcome, str] | None = None
    if is_encoded(dict(request.headers)):
        refusal = (outcomes.UNSUPPORTED_ENCODING, "its Content-Encoding says that the body is not what it stands for")
    elif len(body) > source.max_body_bytes:
        detail = f"the body has {len(body)} bytes, {source.variable('max_body_bytes')} is {source.max_body_bytes}"
        refusal = (outcomes.BODY_TOO_LARGE, detail)
    proof = prove_request(config, source, request) if prove else ()
    if not all(step.right for step in proof):
        refusal = refusal or (outcomes.UNAUTHORIZED, "its sender is not proven")
    if prove and (reply := _greeted(source, request)) is not None:
        explained = Explained.of(config, source, len(body), [], refusal, proof=proof)
        status = explained.status if refusal else reply.status
        return msgspec.structs.replace(explained, status=status, reply=reply.body.decode(errors="replace"))
    pipeline = make_pipeline(
        config, source, provider=provider, table=found.tables[source.name], dialect=dialect_of(config)
    )
    prepared: list[Prepared] = []
    try:
        prepared = pipeline.prepare(Delivery(body, dict(request.headers), datetime.now(UTC)))
        refusal = refusal or _unknown(source, found.tables[source.name], prepared)
    except UndecodableBody as error:
        dead_letters = config.dead_letter_topic is not None
        refusal = refusal or (outcomes.DEAD_LETTERED if dead_letters else outcomes.UNDECODABLE, str(error))
    except DeviceNotAllowed as error:
        refusal = refusal or (outcomes.DEVICE_NOT_ALLOWED, f"{error} ({source.variable('devices')})")
    return Explained.of(config, source, len(body), prepared, refusal, proof=proof)


def _question(config: Config, source: SourceConfig, request: Request) -> Explained:
    """What is no POST: no event, and asked for no proof but what the handshake itself sees to."""
    reply = _greeted(source, request)
    if reply is None:
        refusal = (outcomes.METHOD_NOT_ALLOWED, f"{request.method} is no event, nor a question of {source.provider}")
        return Explained.of(config, source, len(request.body), [], refusal)
    refused = (outcomes.HANDSHAKE, "a question that is not answered as hoped") if reply.status >= _REFUSED else None
    explained = Explained.of(config, source, len(request.body), [], refused)
    return msgspec.structs.replace(explained, status=reply.status, reply=reply.body.decode(errors="replace"))


def _greeted(source: SourceConfig, request: Request) -> Reply | None:
    greeting = PROVIDERS[source.provider].configured(source.own).handshakes().get(request.method)
    return None if greeting is None else greeting(request)


def _unknown(source: SourceConfig, table: Table, prepared: list[Prepared]) -> tuple[Outcome, str] | None:
    count = sum(item.event.type.name == table.source.fallback.name for item in prepared)
    if source.unknown != "dead-letter" or not count:
        return None
    return outcomes.DEAD_LETTERED, unknown_detail(count, len(prepared))
