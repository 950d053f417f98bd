"""Figures as Markdown: medians with their spread, and how noisy the machine was."""

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version

import msgspec

from tests.bench.load import BODY_BYTES, Measured

__all__ = ["Round", "about", "noise", "parts_table", "whole_table"]


class Round(msgspec.Struct, frozen=True):
    """Floor, bridge and bridge with a spool, measured one right after the other."""

    connections: int
    floor: Measured
    bridge: Measured
    spool: Measured


def whole_table(rounds: Sequence[Round]) -> str:
    """A row for each number of connections."""
    # A ratio is of one round by itself: what slowed the machine down slowed both.
    rows = [
        "| connections | | req/s | CPU µs/event | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|",
    ]
    for connections in sorted({each.connections for each in rounds}):
        chosen = [each for each in rounds if each.connections == connections]
        for name, measured in (
            ("floor", [x.floor for x in chosen]),
            ("bridge", [x.bridge for x in chosen]),
            ("with a spool", [x.spool for x in chosen]),
        ):
            cells = (
                _spread((x.per_second for x in measured), ",.0f"),
                _spread((x.cpu_us for x in measured), ".0f"),
                _spread((x.p50_ms for x in measured), ".2f"),
                _spread((x.p99_ms for x in measured), ".1f"),
            )
            rows.append(f"| {connections} | {name} | {' | '.join(cells)} |")
        for name, pairs in (
            ("bridge / floor", [(x.bridge, x.floor) for x in chosen]),
            ("with / without a spool", [(x.spool, x.bridge) for x in chosen]),
        ):
            ratios = (_spread((get(one) / get(other) for one, other in pairs), ".2f") for get in _RATIOS)
            rows.append(f"| {connections} | {name} | {' | '.join(ratios)} |")
    return "\n".join(rows)


_RATIOS: tuple[Callable[[Measured], float], ...] = (
    lambda measured: measured.per_second,
    lambda measured: measured.cpu_us,
    lambda measured: measured.p50_ms,
    lambda measured: measured.p99_ms,
)


def parts_table(parts: dict[str, list[float]]) -> str:
    """A row for each part, microseconds."""
    rows = ["| part | µs |", "|---|---|"]
    return "\n".join([*rows, *(f"| {name} | {_spread(values, '.2f')} |" for name, values in parts.items())])


def noise(rounds: Sequence[Round]) -> str:
    """What else the machine did meanwhile, memory, failures."""
    cores = os.cpu_count() or 1
    others = [each.other_cpu_s / each.seconds / cores * 100 for x in rounds for each in (x.floor, x.bridge, x.spool)]
    load = max(each.own_cpu_s / each.seconds * 100 for x in rounds for each in (x.floor, x.bridge, x.spool))
    failed = sum(each.failed for x in rounds for each in (x.floor, x.bridge, x.spool))
    memory = [x.bridge.rss_mib for x in rounds]
    return (
        f"Other processes took {_spread(others, '.0f')} % of the machine; the load generator at most {load:.0f} % of a "
        f"core. Memory of the bridge: {memory[0]:.0f} MiB after the first round, {memory[-1]:.0f} after the last, "
        f"{sum(x.bridge.requests for x in rounds):,} events later. Answers other than 200: {failed}."
    )


def about(broker: str, *, seconds: float, rounds: int) -> str:
    """What was measured, with what."""
    names = ("uvicorn", "litestar", "msgspec", "nats-py", "aiokafka")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"Median (least to most) of {rounds} interleaved rounds of {seconds:g} s. Unique Chatlevel bodies of "
        f"{BODY_BYTES} bytes. Broker: {broker}. Python {platform.python_version()}, {versions}, {os.cpu_count()} cores,"
        f" commit {commit or 'unknown'}. Floor: a bare ASGI handler mounted by litestar, and the client's own publish."
    )


def _spread(values: Iterable[float], form: str) -> str:
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"
