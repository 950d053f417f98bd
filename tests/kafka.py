"""Real Kafka brokers for tests.

Where they come from: TEST_KAFKA gives the address of one that runs already; else TEST_BROKERS says `native` (default:
Kafka's own jars on a Java runtime of a wheel, see `tests.kafka_files`) or `docker` (testcontainers). If that does not
work the test fails and says what to do: never a skip.

Tests that kill, freeze or reconfigure a broker always use children of their own, whatever these say.
"""

import contextlib
import os
import shutil
import socket
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import yaml
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.metadata import MetadataRequest_v2

from tests.kafka_files import KAFKA_VERSION, KafkaFiles, kafka_files
from tests.kafka_security import PLAINTEXT, Security
from tests.servers import POLL_S, LeashedServer, chosen_kind, free_ports, running

__all__ = ["KAFKA_IMAGE", "KafkaAddress", "KafkaServer", "kafka_cluster", "prepare", "shared_kafka"]

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"  # for TEST_BROKERS=docker; as in docker-compose.yml


class KafkaAddress(Protocol):
    """A Kafka that tests share; they own nothing of it but topics of their own."""

    @property
    def bootstrap(self) -> str: ...


class KafkaServer(LeashedServer):
    """One node, broker and controller in one, on ports and a store that stay the same over restarts.

    Attributes:
        node: its id.
        port: where clients come in.
        controller_port: where nodes of a cluster speak to each other's controllers.
        advertised_port: where clients are told to come, if that is not `port`: a proxy's.
        operator: address of a listener that asks for no login and allows all.
    """

    start_s = 60.0
    stop_s = 20.0

    def __init__(self, folder: Path, config: str = "", *, security: Security = PLAINTEXT, node: int = 1) -> None:
        """Not started yet.

        Args:
            folder: empty; for store, configuration and log.
            config: more lines of server.properties; they win.
            security: how clients come in at `bootstrap`.
            node: its id; in a cluster each must have its own.
        """
        super().__init__(folder, config)
        self.port, self._operator_port, self.controller_port = free_ports(3)
        self.node = node
        self.advertised_port: int | None = None
        self.cluster = _random_id()
        self.voters = [self]
        self._security = security
        self._store_id = _random_id()

    @property
    def bootstrap(self) -> str:
        """`host:port`, where clients come in."""
        return f"127.0.0.1:{self.port}"

    @property
    def operator(self) -> str:
        return f"127.0.0.1:{self._operator_port}"

    def launch(self) -> None:
        self._launch_with(prepare())

    def _launch_with(self, files: KafkaFiles, *options: str) -> None:
        store = self.folder / "store"
        if not store.exists():
            store.mkdir(parents=True)
            shutil.copyfile(files.bootstrap, store / "bootstrap.checkpoint")
            identity = {"version": 1, "cluster.id": self.cluster, "node.id": self.node, "directory.id": self._store_id}
            (store / "meta.properties").write_text(_lines(identity))
        file = self.folder / "server.properties"
        file.write_text(_lines(self._properties(store)) + self._config + "\n")
        self._launch([*files.command(*self._security.java_options(self.folder), *options), "kafka.Kafka", str(file)])

    def await_ready(self) -> None:
        self._await_log("Kafka Server started")
        deadline = time.monotonic() + self.start_s
        while not self._answers():  # by its cluster id: it is this one that listens there
            if not self._runs() or time.monotonic() > deadline:
                self._fail("started, but does not answer")
            time.sleep(POLL_S)

    def _properties(self, store: Path) -> dict[str, object]:
        nodes = len(self.voters)
        return {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "log.dirs": store,
            "controller.quorum.voters": ",".join(
                f"{voter.node}@127.0.0.1:{voter.controller_port}" for voter in self.voters
            ),
            "listeners": f"CLIENT://{self.bootstrap},OPERATOR://{self.operator},"
            f"CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{self.advertised_port or self.port},"
            f"OPERATOR://{self.operator}",
            "listener.security.protocol.map": f"CLIENT:{self._security.protocol},"
            "OPERATOR:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "OPERATOR",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": nodes,
            "transaction.state.log.replication.factor": nodes,
            "transaction.state.log.min.isr": (nodes + 1) // 2,
            "group.initial.rebalance.delay.ms": 0,
            # How long a killed broker counts as there: its successor waits so long, and so do those of its partitions.
            "broker.session.timeout.ms": 2000 if nodes == 1 else 2500,  # 9 s by default
            "broker.heartbeat.interval.ms": 250,
            **self._security.properties(self.folder),
        }

    def _answers(self) -> bool:
        """Whether the node of our cluster answers a request of a client that needs no login."""
        request = MetadataRequest_v2([])
        content = RequestHeader_v1(request, correlation_id=0, client_id="test").encode() + request.encode()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._operator_port), 2) as link:
            link.sendall(len(content).to_bytes(4, "big") + content)
            return self.cluster.encode() in link.recv(4096)
        return False


def kafka_cluster(
    folder: Path, size: int = 3, config: str = "", *, security: Security = PLAINTEXT
) -> list[KafkaServer]:
    """Nodes of one cluster, not started yet; start them with `tests.servers.started`, for none is ready alone."""
    nodes = [KafkaServer(folder / f"n{node}", config, security=security, node=node) for node in range(1, size + 1)]
    for node in nodes:
        node.cluster, node.voters = nodes[0].cluster, nodes
    return nodes


def _random_id() -> str:
    """As Kafka writes a UUID."""
    return urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()


def _lines(properties: dict[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())


@cache
def prepare() -> KafkaFiles:
    """What every node needs; the first time on a machine it is fetched, which can take a minute."""
    return kafka_files(_train)


def _train(files: KafkaFiles) -> None:
    """Run a node once and have Java keep the classes that it used: later nodes start in half the time."""
    new = files.ahead.with_suffix(".new")
    with TemporaryDirectory() as folder:
        server = KafkaServer(Path(folder))
        server.stop_s = 120.0  # Java writes them when it ends
        server._launch_with(files, f"-XX:AOTCacheOutput={new}")
        server.await_ready()
        server.stop()
    if new.exists():
        new.rename(files.ahead)


class _Address:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


@contextlib.contextmanager
def shared_kafka(folder: Path) -> Iterator[KafkaAddress]:
    """The broker that all tests of a run share, by TEST_KAFKA and TEST_BROKERS."""
    if address := os.environ.get("TEST_KAFKA"):
        yield _Address(address.removeprefix("kafka://"))
    elif chosen_kind() == "docker":
        with _kafka_in_docker() as address:
            yield _Address(address)
    else:
        with KafkaServer(folder / "kafka") as server:
            yield server


@contextlib.contextmanager
def _kafka_in_docker() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 -- slow, and only for this choice
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415 -- likewise

    composed = yaml.safe_load((Path(__file__).parent.parent / "docker-compose.yml").read_text())["services"]["kafka"]
    (port,) = free_ports(1)  # known before it starts, for the broker must tell it to its clients
    environment = composed["environment"] | {
        "KAFKA_ADVERTISED_LISTENERS": f"INSIDE://localhost:19092,HOST://127.0.0.1:{port}",
        "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": 10_000,
    }

    def make() -> DockerContainer:
        container = DockerContainer(KAFKA_IMAGE, env={name: str(value) for name, value in environment.items()})
        return container.with_bind_ports(9092, port).waiting_for(LogMessageWaitStrategy("Kafka Server started"))

    with running(make):
        yield f"127.0.0.1:{port}"
