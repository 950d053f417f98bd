"""What is measured: a real broker, and before it the bridge and its floor, each a process of its own."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import nats
from nats.js.api import StreamConfig

from tests.bench import floor
from tests.brokers import NatsServer
from tests.kafka import KafkaServer
from tests.kafka_files import KAFKA_VERSION
from tests.kafka_operator import KafkaOperator
from tests.processes import TOKEN, BridgeProcess
from tests.servers import free_ports

__all__ = ["BROKERS", "Broker", "System", "bridge", "floor_of"]

_PARTITIONS = 6
_DEDUP_WINDOW_S = 4500  # as the bridge asks for: the broker's part of the cost is the same for both


class System(msgspec.Struct, frozen=True):
    """A server that takes webhooks.

    Attributes:
        name: `floor`, `bridge` or `spool`.
        port: where it listens.
        path: of its webhook.
        pid: of its process.
    """

    name: str
    port: int
    path: str
    pid: int


class Broker(Protocol):
    """A real broker of this run's own.

    Attributes:
        kind: as `tests.bench.floor` names it.
        address: for the floor's client.
        settings: the bridge's variables for it.
        pid: of its process.
        about: version and how durable it is.
    """

    kind: str
    address: str
    settings: dict[str, str]
    pid: int | None
    about: str

    def empty(self) -> None:
        """Throw away what is stored, so that no disk fills up and all rounds find the same."""
        ...


class _Nats:
    kind = "nats"

    def __init__(self, server: NatsServer, sync: str) -> None:
        self.address = server.url
        self.pid = server.pid
        self.settings = {"BRIDGE_BROKER": server.url, "BRIDGE_PROVISION": "create"}
        version = asyncio.run(self._make_floor())
        self.about = f"nats-server {version}, one node, file store, sync_interval {sync}"

    async def _make_floor(self) -> str:
        client = await nats.connect(self.address)
        config = StreamConfig(
            name="FLOOR", subjects=[floor.TOPIC], duplicate_window=_DEDUP_WINDOW_S, max_age=7 * 86400, num_replicas=1
        )
        await client.jetstream().add_stream(config)
        version = client.connected_server_version
        await client.close()
        return f"{version.major}.{version.minor}.{version.patch}"

    def empty(self) -> None:
        asyncio.run(self._empty())

    async def _empty(self) -> None:
        client = await nats.connect(self.address)
        for stream in await client.jetstream().streams_info():
            await client.jetstream().purge_stream(str(stream.config.name))
        await client.close()


@contextlib.contextmanager
def _nats(folder: Path, sync: str) -> Iterator[Broker]:
    with NatsServer(folder / "nats", sync=f'"{sync}"') as server:
        yield _Nats(server, sync)


class _Kafka:
    kind = "kafka"

    def __init__(self, server: KafkaServer) -> None:
        self.address = server.bootstrap
        self.pid = server.pid
        self.settings = {"BRIDGE_BROKER": f"kafka://{server.bootstrap}", "BRIDGE_PROVISION": "create"}
        self.settings |= {"BRIDGE_KAFKA_REPLICATION": "1", "BRIDGE_KAFKA_PARTITIONS": str(_PARTITIONS)}
        self.about = (
            f"Kafka {KAFKA_VERSION}, one node, {_PARTITIONS} partitions a topic, acks=all, idempotent, written to disk "
            "when the system does (Kafka's default)"
        )
        asyncio.run(self._make_floor(server.operator))

    async def _make_floor(self, address: str) -> None:
        async with KafkaOperator(address) as operator:
            await operator.create_topic(floor.TOPIC, partitions=_PARTITIONS)

    def empty(self) -> None:
        """Kafka throws old segments away by itself, by the limit below."""


@contextlib.contextmanager
def _kafka(folder: Path, _sync: str) -> Iterator[Broker]:
    limits = "log.retention.bytes=67108864\nlog.segment.bytes=16777216\nlog.retention.check.interval.ms=5000\n"
    with KafkaServer(folder / "kafka", limits) as server:
        yield _Kafka(server)


BROKERS = {"nats": _nats, "kafka": _kafka}


@contextlib.contextmanager
def bridge(folder: Path, broker: Broker, *, spool: bool = False) -> Iterator[System]:
    """The bridge as its users run it; with a spool, and the ids that are kept with it, in its fair weather."""
    name = "spool" if spool else "bridge"
    process = BridgeProcess(folder / name, **broker.settings, BRIDGE_SPOOL="on" if spool else "off")
    try:
        process.start()
        assert process.process
        yield System(name, process.port, f"/webhooks/chatlevel/{TOKEN}", process.process.pid)
    finally:
        if process.process is not None and process.process.poll() is None:
            process.stop()


@contextlib.contextmanager
def floor_of(broker: Broker, kind: str) -> Iterator[System]:
    """The least there could be."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", floor.__name__, kind, broker.address, str(port)]
    with subprocess.Popen(command) as process:
        try:
            _await_port(port, process)
            yield System("floor", port, "/webhooks/floor", process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit("the floor did not start")
