"""The fault matrix: each row a test on real processes, run by `make faults`; a few of them in `make test`, too."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import NatsServer, nats_cluster
from tests.faults.brokers import Broker, KafkaBroker, NatsBroker
from tests.faults.stage import Stage
from tests.kafka import KafkaServer, kafka_cluster
from tests.processes import BridgeProcess, bridge
from tests.servers import LeashedServer

__all__ = ["BOTH", "EVERY", "MakeStage", "bridge"]

BOTH = pytest.mark.parametrize("kind", ["nats", "kafka"])
EVERY = pytest.mark.parametrize(
    ("kind", "spool"),
    [
        pytest.param("nats", False, id="nats"),
        pytest.param("kafka", False, id="kafka"),
        pytest.param("nats", True, id="nats-spool"),
        pytest.param("kafka", True, id="kafka-spool"),
    ],
)
"""Both brokers, without a spool and with one."""

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
def kafka_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], list[KafkaServer]]]:
    """A node or a cluster for all rows, for they take seconds to start; each row mends what it broke."""
    made: dict[int, list[KafkaServer]] = {}

    def of_size(size: int) -> list[KafkaServer]:
        for other, nodes in made.items():
            if other != size:  # not at once, for each takes 300 MB
                _end(nodes)
        if size not in made:
            config = f"min.insync.replicas={(size + 1) // 2}"
            made[size] = kafka_cluster(tmp_path_factory.mktemp("faults-kafka"), size, config)
        _mend(made[size])
        return made[size]

    yield of_size
    for some in made.values():
        _end(some)


MakeStage = Callable[..., Stage]


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, bridge: Callable[..., BridgeProcess]
) -> AsyncIterator[MakeStage]:
    """Set the stage of a row: `stage("kafka", nodes=3, spool=True, **settings)`."""
    stages: list[Stage] = []

    def make(kind: str, broker: Broker | None = None, *, nodes: int = 1, spool: bool = False, **settings: str) -> Stage:
        if broker is None and kind == "nats":
            servers = nats_cluster(tmp_path / "nats", nodes) if nodes > 1 else [NatsServer(tmp_path / "nats")]
            request.addfinalizer(lambda: _end(servers))
            _mend(servers)
            broker = NatsBroker(*servers)
        elif broker is None:
            broker = KafkaBroker(*request.getfixturevalue("kafka_nodes")(nodes))
        if spool:
            settings["BRIDGE_SPOOL"] = "on"
        made = Stage(_row_name(request.node.name), broker, bridge, **settings)
        stages.append(made)
        return made

    yield make
    for one in stages:
        await one.close()
        request.node.user_properties.append(("faults", one.figures.shown()))


def _mend(servers: Sequence[LeashedServer]) -> None:
    """All of them up and awake."""
    for server in servers:
        if server.pid is None:
            server.launch()
        else:
            server.resume()
    for server in servers:
        server.await_ready()


def _end(servers: Sequence[LeashedServer]) -> None:
    for server in servers:
        if server.pid is not None:
            server.kill()


def _row_name(test: str) -> str:
    return test.removeprefix("test_row_").replace("_", " ")
