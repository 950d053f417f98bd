"""`serve`: run the bridge until SIGTERM or Ctrl-C."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import structlog
import uvloop
from rich.console import Console
from rich.markup import escape

from bridge.app import Bridge, running
from bridge.cli.console import PersonConsole
from bridge.cli.urls import entrance_url, shown_url, webhook_url
from bridge.config import Config, Secret, SourceConfig, advise, describe, ensure_tokens, load
from bridge.errors import SpoolFailed
from bridge.ingest.pipeline import Prepared
from bridge.telemetry import logs

__all__ = ["serve"]

_log = structlog.get_logger("bridge.events")


@click.command()
def serve() -> None:
    """Take webhooks and publish their events until SIGTERM or Ctrl-C.

    Without any setting it listens on 127.0.0.1:8080 for Chatlevel webhooks, with a NATS server of its own on
    127.0.0.1:4222. A second Ctrl-C ends it at once. Exit code 1: the spool's disk has failed.
    """
    config = ensure_tokens(load(os.environ))
    person = config.log_format == "console" or (config.log_format == "auto" and sys.stdout.isatty())
    _allow_connections()
    logs.configure(format="console" if person else "json", level=config.log_level, stream=sys.stdout)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            failure = runner.run(_serve(config, person=person))
    finally:
        logs.shutdown(timeout_s=2.0)
    if failure is not None:
        sys.exit(1)  # to be started again, and look at what is on the disk


async def _serve(config: Config, *, person: bool) -> SpoolFailed | None:
    console = PersonConsole()
    on_published = _tell if person and console.is_terminal else None
    bridge = Bridge(config, on_published=on_published)
    stop = _stop_on_signals()
    bridge.facts.lifecycle("starting", **describe(config))
    for finding in advise(config):
        bridge.facts.advised(finding.variable, finding.found, finding.expected)
    async with running(bridge):
        _collect_rarely()
        greeting = None
        if on_published is not None:
            greeting = asyncio.create_task(_greet(console, bridge))
        else:
            _log_entrances(bridge)
        failure = await _stopped_or_failed(stop, bridge)
        if greeting is not None:
            greeting.cancel()
    return failure


async def _stopped_or_failed(stop: asyncio.Event, bridge: Bridge) -> SpoolFailed | None:
    stopping, failing = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(bridge.failed())
    await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
    failure = failing.result() if failing.done() else None
    for task in (stopping, failing):
        task.cancel()
    return failure


def _allow_connections() -> None:
    """As many as the system lets us have: the usual soft limit, 1024, is for programs that call `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS says "no limit" and has one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _collect_rarely() -> None:
    """Look for garbage in cycles less often, and never again among what the start has made.

    A delivery's objects go when its answer is sent, without a search; at Python's thresholds those under way are
    searched several times each. Measured beside each other: a tenth of the CPU time per event, and of p99 more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _stop_on_signals() -> asyncio.Event:
    """Set at the first SIGTERM or SIGINT; the second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)  # whatever hangs, the person has the last word; durability never depends on shutdown
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


async def _greet(console: Console, bridge: Bridge) -> None:
    """Tell a person what to do next, once the bridge can do it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(bridge.wait_ready(), 10)
    console.print()
    for source in bridge.config.sources:
        url = webhook_url(bridge.config, source, listen=bridge.address)
        console.print(f"[bold]{source.name}[/bold]: register this URL at the provider", style="green")
        console.print(f"  {escape(url)}")
        if source.verify == "secret":
            console.print(
                f"  and its requests are proven by the secret in {escape(_whereabouts(source, source.secret[0]))}"
            )
    command = escape(_own_command())
    console.print("\nIn other terminals, with the same environment:")
    console.print(f"  [bold]{command} send[/bold]   posts a first event")
    console.print(f"  [bold]{command} tail[/bold]   follows the topics")
    console.print("Ctrl-C ends.\n")


def _log_entrances(bridge: Bridge) -> None:
    """Where each webhook is and where the rest of its URL is to be found: a log is no place for a token."""
    for source in bridge.config.sources:
        config, address = bridge.config, bridge.address
        url = shown_url(webhook_url(config, source, listen=address), entrance_url(config, source, listen=address))
        proof = {source.verify: _whereabouts(source, source.secrets[0])} if source.secrets else {}
        bridge.facts.lifecycle("webhook", source=source.name, url=url, **proof)


def _whereabouts(source: SourceConfig, secret: Secret) -> str:
    """Where it is, which is not shown: its file or its variable."""
    return str(secret.path) if secret.path is not None else source.variable(source.verify)


def _own_command() -> str:
    """How this program was called, so that what we print can be typed."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return "python -m bridge"
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return path.name


def _tell(prepared: Sequence[Prepared]) -> None:
    """One line per event as it passes: metadata only. By the log, whose writer never blocks on a stalled terminal."""
    for item in prepared:
        for record in item.records:
            _log.info("event_published", topic=record.topic, device=item.event.device, id=item.event.id)
