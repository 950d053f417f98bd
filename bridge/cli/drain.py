"""`drain`: empty the spool of an instance that does not run."""

import asyncio
import contextlib
import os
import signal
import sys

import click

from bridge.broker import make_embedded, make_publisher
from bridge.cli.command import Command
from bridge.cli.console import PersonConsole
from bridge.cli.progress import progressing
from bridge.config import Config, load, make_tables
from bridge.errors import ConfigError, Problem
from bridge.ingest.compiled import make_refused_records
from bridge.providers import PROVIDERS
from bridge.publishers.base import Publisher
from bridge.spooling import Spooling, spool_directory
from bridge.telemetry import logs
from bridge.telemetry.metrics import Metrics

__all__ = ["drain"]


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge drain", "publish what the spool below BRIDGE_DATA_DIR holds, in order"),
        ("webhook-bridge drain --timeout 300", "for at most five minutes; what is left stays where it is"),
    ],
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    help="After so many seconds without a record that the broker takes, give up.",
)
def drain(*, timeout_s: float) -> None:
    """Publish what is in the spool of an instance that was stopped, such as one of a StatefulSet scaled down.

    A running bridge drains by itself, and holds its spool: this is refused then. A record leaves the spool when the
    broker has acknowledged it, so whenever this is interrupted nothing is lost.

    Exit code 0: the spool is empty. 1: something is left in it. 2: wrong usage or configuration.
    """
    config = load(os.environ)
    if not spool_directory(config).is_dir():
        found = f"{config.data_dir} has no spool"
        raise ConfigError([Problem("BRIDGE_DATA_DIR", found, "the data directory of the instance that was stopped")])
    logs.configure(format="console", level="error", stream=sys.stderr)
    try:
        drained, left, why = asyncio.run(_drain(config, timeout_s))
    finally:
        logs.shutdown(timeout_s=1.0)
    console = PersonConsole()
    console.print(f"{drained} published from the spool, {left} left.")
    if left:
        click.echo(f"Stopped: {why}. What is left stays in the spool.", err=True)
        sys.exit(1)


async def _drain(config: Config, timeout_s: float) -> tuple[int, int, str]:
    """How many were published, how many are left, and why."""
    embedded = make_embedded(config)
    tables = make_tables(config, PROVIDERS)
    async with contextlib.AsyncExitStack() as life:
        if embedded is not None:
            await embedded.start()
            life.push_async_callback(embedded.stop)
        publisher = make_publisher(config, tables, embedded)
        await publisher.start()
        life.push_async_callback(publisher.close)
        spooling = Spooling(config, Metrics())
        await spooling.start(publisher.publish, make_refused_records(config, publisher, {}))
        life.push_async_callback(spooling.stop)
        rows = spooling.state().rows
        with progressing("draining", lambda: (rows - spooling.state().rows, rows, ""), shown=True):
            why = await _empty(spooling, publisher, timeout_s)
        left = spooling.state().rows
        return rows - left, left, why


async def _empty(spooling: Spooling, publisher: Publisher, timeout_s: float) -> str:
    """Return when the spool is empty, or why it does not become so."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, interrupted.set)
    left, moved_at = spooling.state().rows, loop.time()
    while left and not spooling.failed.done():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await interrupted.wait()
        if interrupted.is_set():
            return "interrupted"
        now_left = spooling.state().rows
        if now_left < left:
            left, moved_at = now_left, loop.time()
        elif loop.time() - moved_at > timeout_s:
            reasons = "; ".join(publisher.health().reasons) or "the broker does not take what is left"
            return f"{reasons} ({timeout_s:g} s without a record taken)"
    return str(spooling.failed.result()) if spooling.failed.done() else ""
