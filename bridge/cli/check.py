"""`check`: every problem of the configuration at once, and what the broker says to it."""

import asyncio
import os
import sys

import click
import msgspec
from rich.markup import escape

from bridge.cli.command import Command, broker_timeout
from bridge.cli.console import PersonConsole
from bridge.cli.probe import Finding, probe
from bridge.config import Config, advise, survey
from bridge.errors import ConfigError, Problem
from bridge.publishers.embedded import find_nats_server
from bridge.telemetry import logs

__all__ = ["Report", "check"]

# Without these the broker that would be looked at is not the one that is meant, or what is looked for there.
_DECIDE_THE_BROKER = (
    "BRIDGE_BROKER",
    "BRIDGE_NATS_",
    "BRIDGE_KAFKA_",
    "BRIDGE_SOURCES",
    "BRIDGE_ROUTES",
    "BRIDGE_TOPIC",
    "BRIDGE_DEAD_LETTER_TOPIC",
    "BRIDGE_RAW_TOPIC",
)
_STYLES = {"problem": "red", "warning": "yellow", "plan": "cyan", "ok": "green"}


class Report(msgspec.Struct, frozen=True):
    """What `check --json` prints.

    Attributes:
        ok: `serve` would start with this, and with --connect become ready.
        problems: what is wrong.
        warnings: what is allowed and will hurt.
        broker: with --connect, what was seen; null without it, or where a problem kept us from looking.
    """

    ok: bool
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    broker: Finding | None


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge check", "the configuration alone"),
        ("webhook-bridge check --connect --timeout 60", "the broker too, which may take a minute to come up"),
        ("webhook-bridge check --json | jq -r '.problems[].variable'", "the names of the variables that are wrong"),
    ],
)
@click.option("--connect", is_flag=True, help="Also look at the broker: login, topics, limits, durability.")
@broker_timeout("How many seconds to wait for the broker.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def check(*, connect: bool, timeout_s: float, as_json: bool) -> None:
    """Check the configuration, and with --connect the broker, and change nothing.

    All problems come at once, by variable name. What is allowed and will hurt is a warning. With --connect the
    broker is asked as `serve` would: whether it is reached with this login, has the topics or would be given them,
    takes the largest record, and keeps what it acknowledges.

    Nothing is written, on disk or at the broker, and no secret is shown: fit for CI and for an init container.

    Exit code 0: `serve` would start, and with --connect become ready. 1: it would not. 2: wrong usage.
    """
    config, problems = survey(os.environ)
    problems += _without_server(config)
    wrong = {problem.variable.removesuffix("_FILE") for problem in problems}
    warnings = tuple(warning for warning in advise(config) if warning.variable not in wrong)
    finding = None
    if connect and not any(problem.variable.startswith(_DECIDE_THE_BROKER) for problem in problems):
        finding, unfit = _look(config, timeout_s)
        problems += tuple(unfit)
    ok = not problems and (finding is None or finding.ready)
    report = Report(ok=ok, problems=problems, warnings=warnings, broker=finding)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        _show(config, report, connect=connect)
    sys.exit(0 if ok else 1)


def _without_server(config: Config) -> tuple[Problem, ...]:
    if config.broker.kind != "embedded":
        return ()
    try:
        find_nats_server()
    except ConfigError as error:
        return error.problems
    return ()


def _look(config: Config, timeout_s: float) -> tuple[Finding, list[Problem]]:
    logs.configure(format="console", level="error", stream=sys.stderr)  # what it logs otherwise, the finding says
    try:
        return asyncio.run(probe(config, timeout_s=timeout_s))
    finally:
        logs.shutdown(timeout_s=1.0)


def _show(config: Config, report: Report, *, connect: bool) -> None:
    broker = report.broker
    for problem in report.problems:
        _line("problem", str(problem))
    for reason in broker.reasons if broker else ():
        _line("problem", f"broker: {reason}")
    for warning in report.warnings:
        _line("warning", f"{warning.variable} {warning.found}; better: {warning.expected}")
    for text in broker.warnings if broker else ():
        _line("warning", f"broker: {text}")
    for plan in broker.plans if broker else ():
        _line("plan", plan)
    if connect and broker is None:
        _line("problem", "the broker was not looked at: the problems above come first")
    if not report.ok:
        return
    sources = ", ".join(source.name for source in config.sources)
    seen = "" if broker is None or not broker.reached else f", reached ({_facts(broker)})"
    _line("ok", f"sources: {sources}; broker: {config.broker}{seen}")


def _line(kind: str, text: str) -> None:
    PersonConsole().print(f"[{_STYLES[kind]}]{kind:7}[/] {escape(text)}")


def _facts(broker: Finding) -> str:
    return ", ".join(f"{name} {value}" for name, value in broker.details.items() if name != "connected")
