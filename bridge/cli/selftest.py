"""`selftest`: one made-up event through everything and back, for `helm test` and other checks from outside."""

import asyncio
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import click
import httpx

from bridge.broker import Reader, make_reader
from bridge.cli.bodies import Body
from bridge.cli.command import Command
from bridge.cli.player import Player
from bridge.cli.settings import source_named
from bridge.cli.tally import answer_of
from bridge.config import Config, SourceConfig, load, make_tables
from bridge.errors import BrokerUnavailable
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery, Provider

__all__ = ["selftest"]

_CLOCKS = timedelta(minutes=1)  # this machine's may be ahead of the broker's
_ID_HEADERS = ("ce-id", "ce_id")  # NATS, Kafka


@click.command(
    cls=Command,
    examples=[("webhook-bridge selftest", "through the bridge on this machine, with the same environment")],
)
@click.option("--source", help="The source to post to; the first one of BRIDGE_SOURCES if not given.")
@click.option("--url", help="The bridge's address, such as http://webhook-bridge; this machine's if not given.")
@click.option(
    "--ca",
    "ca_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM file of the authorities that sign the bridge's certificate; the system's if not given, or if there is no "
    "such file or nothing in it, as in a Secret whose certificate is a public authority's.",
)
@click.option("--timeout", "timeout_s", type=float, default=30.0, show_default=True, help="Seconds to see it in.")
def selftest(source: str | None, url: str | None, ca_file: Path | None, timeout_s: float) -> None:
    """Post a made-up event and see it on its topic: the whole way works, from the listener to the broker.

    It is proven as the provider does: by the source's first token, or signed with its first secret. Consumers see
    the event too, so give it a source of its own. The broker's login must be allowed to read.
    Exit code 0 if the event came through, else 1.
    """
    config = load(os.environ)
    chosen = source_named(config, source)
    started = datetime.now(UTC)
    ids = _post(config, chosen, url, timeout_s=timeout_s, trusted=_trusted(url, ca_file))
    tables = make_tables(config, PROVIDERS)
    reader = make_reader(config, {chosen.name: tables[chosen.name]})
    try:
        topic = asyncio.run(_seen(reader, ids, started - _CLOCKS, timeout_s))
    except TimeoutError:
        _fail(f"the bridge said that {ids[0]} is durable, but it was not on its topic within {timeout_s:g} s")
    except BrokerUnavailable as error:
        _fail(f"cannot read from {config.broker}: {error}")
    click.echo(f"{ids[0]} came through to {topic}")


def _trusted(url: str | None, ca_file: Path | None) -> ssl.SSLContext | bool:
    """Whose certificates are taken: by default the system's authorities'."""
    try:
        if ca_file is not None and ca_file.exists() and ca_file.stat().st_size:
            return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise click.BadParameter(f"{str(ca_file)!r} holds no readable certificate", param_hint="--ca") from None
    # Our own listener may have a certificate for a public name; the token goes no further than this machine.
    return url is not None


def _post(
    config: Config, source: SourceConfig, base: str | None, *, timeout_s: float, trusted: ssl.SSLContext | bool
) -> tuple[str, ...]:
    """The ids of what was posted and taken. No message shows the URL, for the token is in it."""
    player = Player(config, source, base=base)
    provider = PROVIDERS[source.provider].configured(source.own)
    event = provider.sample_events[0]
    content = provider.sample(event, now=datetime.now(UTC))
    url, headers = player.request(Body(event, content, provider.sample_headers(event, content)))
    try:
        response = httpx.post(
            url,
            content=content,
            headers=headers,
            timeout=timeout_s,
            verify=trusted,
            trust_env=base is not None,  # no proxy is shown the token of a URL on this machine
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _fail(f"no answer from {base or config.listen}: {error}")
    if response.status_code != source.success_status:
        _fail(f"{base or config.listen} answered {response.status_code}: {response.text}")
    return answer_of(response).ids or _decoded(provider, content, headers)


def _decoded(provider: Provider, content: bytes, headers: Mapping[str, str]) -> tuple[str, ...]:
    """The ids, where the provider is answered without a body that lists them: the same bytes have the same ids."""
    received = {name.lower().encode(): value.encode() for name, value in headers.items()}
    decode = provider.decoder()
    return tuple(event.id for event in decode(Delivery(content, received, datetime.now(UTC))))


async def _seen(reader: Reader, ids: Sequence[str], since: datetime, timeout_s: float) -> str:
    """The topic of the first of the events, once it is read there."""
    async with asyncio.timeout(timeout_s):
        async for received in reader(since):
            if any(received.headers.get(name) in ids for name in _ID_HEADERS):
                return received.topic
    raise TimeoutError


def _fail(reason: str) -> NoReturn:
    click.echo(f"The self-test failed: {reason}.", err=True)
    sys.exit(1)
