"""`send`: play the provider. Posts events or files to the configured webhook, once or at a rate."""

import asyncio
import os
import signal
import sys

import anyio
import click
import httpx
import msgspec
from rich.markup import escape

from bridge.cli.bodies import Body, Supply
from bridge.cli.command import Command
from bridge.cli.console import PersonConsole
from bridge.cli.masking import plain, printable
from bridge.cli.player import Player
from bridge.cli.progress import following
from bridge.cli.sender import Plan, Sender, Tell
from bridge.cli.settings import source_named
from bridge.cli.summary import show_summary
from bridge.cli.tally import Answer, Tally, answer_of, no_answer
from bridge.config import load
from bridge.providers import PROVIDERS

__all__ = ["send"]

_NO_REQUEST = ValueError("no request can be made of it, for the secret has characters that no header may have")
_TIMEOUT_S = 30.0
_NO_SUCCESS = 300
_CONCURRENCY_AT_A_RATE = 64


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge send", "one event, with new ids each time"),
        ("webhook-bridge send connection.open call", "these events, one after the other"),
        ("webhook-bridge send --list", "the names of the events that can be made up"),
        ("webhook-bridge send --rate 100 --duration 2", "100 events a second for two seconds, then a summary"),
        ("webhook-bridge send --count 200 --concurrency 16 --json", "200 events, as fast as 16 at once go"),
        ("webhook-bridge send --source github push", "a push of GitHub, signed with the source's secret"),
        ("webhook-bridge send --retry-speed 60", "tries again as the provider does, an hour in a minute"),
    ],
)
@click.argument("what", nargs=-1, metavar="[EVENT|FILE|FOLDER|-]...")
@click.option("--source", help="The source to post to; the first one of BRIDGE_SOURCES if not given.")
@click.option("--url", help="Post to this URL instead of the configured one; the token is part of it.")
@click.option("--list", "list_events", is_flag=True, help="List the events that can be made up, and end.")
@click.option("--lines", is_flag=True, help="Each line of the files or of standard input is a body.")
@click.option("--count", type=click.IntRange(min=1), help="Post so many, beginning again after the last one named.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Begin new ones for so many seconds.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Begin so many a second, come what may.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1, max=10_000),
    help=f"The most under way at once.  [default: 1, with --rate {_CONCURRENCY_AT_A_RATE}]",
)
@click.option("--retry", is_flag=True, help="After a failure post the same bytes again when the provider would.")
@click.option(
    "--retry-speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="FACTOR",
    help="--retry with its pauses divided by this: 60 makes minutes seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end instead of text.")
def send(
    *,
    what: tuple[str, ...],
    source: str | None,
    url: str | None,
    list_events: bool,
    lines: bool,
    count: int | None,
    duration: float | None,
    rate: float | None,
    concurrency: int | None,
    retry: bool,
    retry_speed: float | None,
    as_json: bool,
) -> None:
    """Post webhooks as the provider would, and show the answers.

    An event name of the provider (see --list) makes up a realistic body, with new ids each time; a file is posted
    byte for byte, a folder means its files, `-` standard input. Without --count and --duration each is posted once.
    URL, token and secret come from the configuration, so run it with the same environment as `serve`. Each request is
    signed as the provider does. Of a file that ends in .http, a request as it was captured, headers are sent too; where
    a provider names the event in a header, another file's name says which: push.json.

    With --rate requests begin at their planned times, whatever became of those before, and latencies count from
    these times. The same bytes are the same event: of a file that is posted twice the bridge keeps one.

    Exit code 0: each got the success that the provider counts, if need be after retries. 1: not all did.
    """
    config = load(os.environ)
    chosen = source_named(config, source)
    provider = PROVIDERS[chosen.provider].configured(chosen.own)
    if list_events:
        click.echo("\n".join(provider.sample_events))
        return
    supply = Supply(provider, what, lines=lines)
    once = count is None and duration is None
    if rate is not None and once and len(supply) == 1:
        raise click.UsageError("--rate says how fast; --duration or --count says how long")
    plan = Plan(
        count=len(supply) if once else count,
        duration_s=duration,
        rate=rate,
        concurrency=concurrency or (1 if rate is None else _CONCURRENCY_AT_A_RATE),
        retry_plan_s=tuple(pause_s / (retry_speed or 1) for pause_s in provider.retry_plan_s)
        if retry or retry_speed
        else (),
    )
    player = Player(config, chosen, url=url)
    one_by_one = once and not lines and not as_json
    tell = _tell if one_by_one else None
    tally = asyncio.run(_run(plan, supply, player, chosen.success_status, own=url is None, tell=tell))
    report = tally.report(rate)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    elif not one_by_one or len(supply) > 1:
        show_summary(report, asked_rate=rate)
    if not tally.answered:
        hint = "Is `webhook-bridge serve` running with this environment?"
        click.echo(f"No answer from {_host(url) if url else config.listen}: {tally.silence}. {hint}", err=True)
    sys.exit(0 if tally.accepted and not tally.failed else 1)


async def _run(
    plan: Plan, supply: Supply, player: Player, success_status: int, *, own: bool, tell: Tell | None
) -> Tally:
    tally = Tally(success_status, keep_ids=plan.count == len(supply))
    limits = httpx.Limits(max_connections=plan.concurrency, max_keepalive_connections=plan.concurrency)
    # Our own listener may have a certificate for a public name; the token goes no further than this machine.
    anyio.get_cancelled_exc_class()  # httpx's own engine is imported now, else the first latency would be that of it
    async with httpx.AsyncClient(verify=not own, trust_env=not own, timeout=_TIMEOUT_S, limits=limits) as client:

        async def post(body: Body) -> Answer:
            try:
                where, headers = player.request(body)
                return answer_of(await client.post(where, content=body.content, headers=headers))
            except UnicodeEncodeError:
                return no_answer(_NO_REQUEST)
            except httpx.HTTPError as error:
                return no_answer(error)

        sender = Sender(plan, supply, post, tally, tell)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, sender.stop)
        with following(plan, sender, tally, shown=tell is None):
            await sender.run()
    return tally


def _host(url: str) -> str:
    """Of a URL what may be shown: a token may be anywhere else in it."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


def _tell(body: Body, answer: Answer, latency_s: float, pause_s: float | None) -> None:
    if answer.status is None:
        return  # said once, at the end
    console = PersonConsole()
    colour = "green" if answer.status < _NO_SUCCESS and not answer.error else "red"
    again = "" if pause_s is None else f"; again in {pause_s:g} s"
    console.print(f"[{colour}]{answer.status}[/{colour}] {escape(body.name)} in {latency_s * 1000:.1f} ms{again}")
    console.print(escape(printable(answer.text)))
    if answer.retry_after:
        console.print(f"[dim]Retry-After: {plain(answer.retry_after)} s[/dim]")
