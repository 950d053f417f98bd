"""The bridge is cut off from its broker, and the provider is not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.machine import rss_mib
from tests.brokers import NatsServer
from tests.faults.brokers import KafkaBroker, NatsBroker
from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import EVERY, MakeStage
from tests.faults.networks import Network
from tests.faults.stage import Stage
from tests.kafka import KafkaServer
from tests.processes import wait_until

DEADLINE_S = 3.0
PARTITION_S = 25.0
HEALS_WITHIN_S = 20.0


@pytest.fixture
def network() -> Iterator[Network]:
    with Network().up() as network:
        yield network


@pytest.fixture
def broker(kind: str, network: Network, tmp_path: Path) -> Iterator[NatsBroker | KafkaBroker]:
    """Reached by the network's second cable."""
    if kind == "nats":
        server = NatsServer(tmp_path / "nats")
        server._config = f"listen: 0.0.0.0:{server.port}"
        with server:
            yield NatsBroker(server, host=network.broker, port=server.port)
        return
    node = KafkaServer(tmp_path / "kafka")
    node._config = (
        f"listeners=CLIENT://0.0.0.0:{node.port},OPERATOR://{node.operator},CONTROLLER://127.0.0.1:{node.controller_port}\n"
        f"advertised.listeners=CLIENT://{network.broker}:{node.port},OPERATOR://{node.operator}\n"
    )
    with node:
        yield KafkaBroker(node, host=network.broker, port=node.port)


def holds(row: Stage) -> tuple[int, float]:
    """File descriptors and memory in MiB."""
    assert row.bridge.process
    pid = row.bridge.process.pid
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), rss_mib(pid)


@EVERY
async def test_row_6_the_bridge_is_cut_off_from_its_broker(
    stage: MakeStage, kind: str, spool: bool, network: Network, broker: NatsBroker | KafkaBroker
) -> None:
    row = stage(kind, broker, spool=spool, host=network.own, within=network.within)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url, rate=30) as provider:
        await provider.more_acknowledged(50)
        files, memory_mib = holds(row)
        network.cut()
        await row.not_ready()
        await asyncio.sleep(PARTITION_S)
        network.mend()
        await row.healed()
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    assert row.figures.healed_s < HEALS_WITHIN_S
    assert verdict.slowest_s < provider.at_most(DEADLINE_S + 0.5)
    row.assert_taken(verdict, provider)
    await asyncio.to_thread(wait_until, lambda: holds(row)[0] <= files + 5)
    assert holds(row)[1] < memory_mib + 40
