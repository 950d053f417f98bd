"""`make bench`: prints tables to paste. `make bench ARGS="--seconds 5"`; `--help` lists the options."""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from tests.bench import load, parts, profile, report
from tests.bench.systems import BROKERS, Broker, System, bridge, floor_of


def run_load(system: System, broker: Broker, *, connections: int, seconds: float) -> load.Measured:
    """One measurement, by a load generator of its own."""
    order = load.Order(
        port=system.port,
        path=system.path,
        connections=connections,
        seconds=seconds,
        server_pid=system.pid,
        broker_pid=broker.pid,
    )
    command = [sys.executable, "-m", load.__name__]
    done = subprocess.run(command, input=msgspec.json.encode(order), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=load.Measured)


def measure_round(systems: list[System], broker: Broker, *, connections: int, seconds: float) -> report.Round:
    """Each system once, in this order."""
    found = {system.name: run_load(system, broker, connections=connections, seconds=seconds) for system in systems}
    broker.empty()
    return report.Round(connections, found["floor"], found["bridge"], found["spool"])


@click.command()
@click.option("--broker", "kinds", multiple=True, type=click.Choice(list(BROKERS)), default=list(BROKERS))
@click.option("--connections", multiple=True, type=int, default=(1, 16, 64, 256), show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Of each measurement, after half a second to warm up.")
@click.option("--rounds", default=5, show_default=True, help="Interleaved: floor, bridge, bridge, floor, …")
@click.option("--nats-sync", default="2m", show_default=True, help="sync_interval; `always` makes the disk the limit.")
@click.option("--bare", is_flag=True, help="A floor without a broker: what HTTP alone costs.")
@click.option("--parts/--no-parts", "with_parts", default=True, show_default=True)
@click.option("--profile", "profiled", type=int, help="Instead, profile the bridge at so many connections (py-spy).")
def main(
    kinds: tuple[str, ...],
    connections: tuple[int, ...],
    seconds: float,
    rounds: int,
    nats_sync: str,
    *,
    bare: bool,
    with_parts: bool,
    profiled: int | None,
) -> None:
    """What an event costs: parts of its way, and the whole beside its floor, in one run."""
    if with_parts and profiled is None:
        click.echo(f"## Parts\n\n{report.parts_table(parts.measure(rounds))}\n")
    for kind in kinds:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            broker = stack.enter_context(BROKERS[kind](folder, nats_sync))
            measured = stack.enter_context(bridge(folder, broker))
            if profiled is not None:
                with profile.recorded(measured.pid, seconds) as lines:
                    run_load(measured, broker, connections=profiled, seconds=seconds)
                click.echo(f"## Where the time goes: {kind}, {profiled} connections\n\n{profile.table(lines)}\n")
                continue
            spooling = stack.enter_context(bridge(folder, broker, spool=True))
            systems = [stack.enter_context(floor_of(broker, "none" if bare else kind)), measured, spooling]
            found = []
            for number in range(rounds):
                for count in connections:
                    found.append(measure_round(systems, broker, connections=count, seconds=seconds))
                    systems.reverse()
                click.echo(f"{kind}: round {number + 1} of {rounds}", err=True)
            click.echo(f"## The whole: {broker.about}\n\n{report.whole_table(found)}\n\n{report.noise(found)}\n")
            click.echo(report.about(broker.about, seconds=seconds, rounds=rounds) + "\n")


if __name__ == "__main__":
    main()
