"""The fault matrix: each row a test on real processes, run by `make faults`; a few of them in `make test`, too."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.brokers import Broker, KafkaBroker, NatsBroker
from tests.faults.stage import Stage
from tests.kafka import KafkaServer
from tests.processes import BridgeProcess, bridge

__all__ = ["bridge"]

_OFTEN = {
    "test_row_16_the_bridge_is_killed_under_load[nats]",
    "test_row_16_the_bridge_is_killed_under_load[kafka]",
    "test_row_1_the_broker_is_killed_and_comes_back[nats]",
    "test_row_7_answers_of_the_broker_are_lost[nats]",
}
"""What `make test` runs of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every row is a fault test; the marker keeps most of them out of `make test`."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.name.startswith("test_row_"):
            item.add_marker(pytest.mark.timeout(180))
            if item.name not in _OFTEN:
                item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """All rows as a table."""
    reports = [report for group in terminalreporter.stats.values() for report in group if hasattr(report, "nodeid")]
    rows = [figures for report in reports for name, figures in report.user_properties if name == "faults"]
    if not rows:
        return
    terminalreporter.section("fault matrix")
    table = [list(rows[0]), *([str(cell) for cell in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


@pytest.fixture(scope="session")
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One for all rows, for it takes seconds to start; each row mends what it broke."""
    with KafkaServer(tmp_path_factory.mktemp("faults-kafka")) as server:
        yield server


MakeStage = Callable[..., Stage]


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, bridge: Callable[..., BridgeProcess]
) -> AsyncIterator[MakeStage]:
    """Set the stage of a row: `stage("kafka", spool=True, **settings)`."""
    stages: list[Stage] = []
    with ExitStack() as brokers:

        def make(kind: str, broker: Broker | None = None, *, spool: bool = False, **settings: str) -> Stage:
            if broker is None and kind == "nats":
                broker = brokers.enter_context(NatsBroker.started(tmp_path))
            elif broker is None:
                node = request.getfixturevalue("kafka_node")
                brokers.callback(_mend, node)
                broker = KafkaBroker(node)
            if spool:
                settings["BRIDGE_SPOOL"] = "on"
            made = Stage(_row_name(request.node.name), broker, bridge, **settings)
            stages.append(made)
            return made

        async with AsyncExitStack() as closing:
            closing.push_async_callback(_close, stages)
            yield make
        for one in stages:
            request.node.user_properties.append(("faults", one.figures.shown()))


async def _close(stages: list[Stage]) -> None:
    for one in stages:
        await one.close()


def _mend(server: KafkaServer) -> None:
    if server.pid is None:
        server.start()
    else:
        server.resume()


def _row_name(test: str) -> str:
    return test.removeprefix("test_row_").replace("_", " ")
