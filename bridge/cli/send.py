"""`send`: play the provider. Posts one event, or a file, to the configured webhook."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import httpx
from rich.markup import escape

from bridge.cli.console import PersonConsole
from bridge.cli.urls import local_url
from bridge.config import Config, SourceConfig, ensure_tokens, load
from bridge.providers import PROVIDERS

__all__ = ["send"]

_TIMEOUT_S = 30.0


@click.command()
@click.argument("what", required=False, metavar="[EVENT|FILE]")
@click.option("--source", help="The source to post to; the first one of BRIDGE_SOURCES if not given.")
@click.option("--url", help="Post to this URL instead of the configured one.")
@click.option("--list", "list_events", is_flag=True, help="List the events that can be made up, and end.")
def send(what: str | None, source: str | None, url: str | None, list_events: bool) -> None:  # noqa: FBT001 -- click
    """Post one webhook as the provider would, and show the answer.

    WHAT is an event name of the provider (see --list), for which a realistic body with new ids is made up;
    or the path of a file, posted byte for byte; or `-` for standard input. URL and token come from the
    configuration, so run it with the same environment as `serve`.

    Exit code 0 if the answer is the success the provider counts, else 1.
    """
    config = ensure_tokens(load(os.environ))
    chosen = _choose(config, source)
    provider = PROVIDERS[chosen.provider]
    if list_events:
        click.echo("\n".join(provider.sample_events))
        return
    what = what or provider.sample_events[0]
    body = _body(what, chosen)
    # Our own listener may have a certificate for a public name; the token goes no further than this machine.
    verify = url is not None
    try:
        with httpx.Client(verify=verify, timeout=_TIMEOUT_S, trust_env=url is not None) as client:
            response = client.post(
                url or local_url(config, chosen), content=body, headers={"content-type": "application/json"}
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        where = url or f"{config.listen}"
        click.echo(
            f"No answer from {where}: {error}. Is `webhook-bridge serve` running with this environment?", err=True
        )
        sys.exit(1)
    success = response.status_code == chosen.success_status
    _show(what, response, success=success)
    sys.exit(0 if success else 1)


def _choose(config: Config, name: str | None) -> SourceConfig:
    names = [source.name for source in config.sources]
    if name is None:
        return config.sources[0]
    if name not in names:
        raise click.BadParameter(
            f"{name!r} is not a source; BRIDGE_SOURCES has {', '.join(names)}", param_hint="--source"
        )
    return config.sources[names.index(name)]


def _body(what: str, source: SourceConfig) -> bytes:
    if what == "-":
        return sys.stdin.buffer.read()
    provider = PROVIDERS[source.provider]
    if what in provider.sample_events:
        return provider.sample(what, now=datetime.now(UTC))
    path = Path(what)
    if path.is_file():
        return path.read_bytes()
    known = ", ".join(provider.sample_events)
    raise click.BadParameter(
        f"{what!r} is neither a file nor an event of {provider.name}; events: {known}", param_hint="WHAT"
    )


def _show(what: str, response: httpx.Response, *, success: bool) -> None:
    console = PersonConsole()
    elapsed_ms = response.elapsed.total_seconds() * 1000
    colour = "green" if success else "red"
    console.print(f"[{colour}]{response.status_code}[/{colour}] {escape(what)} in {elapsed_ms:.1f} ms")
    console.print(escape(response.text))
    if retry_after := response.headers.get("retry-after"):
        console.print(f"[dim]Retry-After: {escape(retry_after)} s[/dim]")
