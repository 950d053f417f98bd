"""What every server that a test starts has in common: ports, a leash, signals, and where a shared one comes from."""

import contextlib
import os
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from bridge.publishers import leash

__all__ = ["POLL_S", "LeashedServer", "chosen_kind", "free_ports", "running", "serving_beside", "started"]

POLL_S = 0.01
_LISTENING_PORTS = (10_000, 32_768)
_CHANCE = random.SystemRandom()  # not pytest-randomly's, which gives the same to every test
_GIVEN: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now; different ones, since all are held while they are chosen.

    None of those that systems give to outgoing connections: one of these, made while a server is down, would keep it
    from coming back to its port. And none twice, nor one of pytest-xdist's other processes: whoever has chosen a port
    listens there a moment later, or is down for a while.
    """
    low, high = _LISTENING_PORTS
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    shares = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = _CHANCE.randrange(low + share, high, shares)
            with contextlib.suppress(OSError):
                if port not in _GIVEN:
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
                    _GIVEN.add(port)
                    ports.append(port)
        return ports


class LeashedServer(ABC):
    """A server child that ends with the test run, however that ends (see `bridge.publishers.leash`).

    Ports and store stay the same over restarts. Blocking calls: in a test of an event loop that must not stand still
    use `asyncio.to_thread`.

    Attributes:
        folder: for store, configuration and log.
        pid: of the server; None while it is down.
    """

    start_s = 20.0
    stop_s = 5.0

    def __init__(self, folder: Path, config: str) -> None:
        """Not started yet.

        Args:
            folder: empty.
            config: more lines of configuration.
        """
        self.folder = folder
        self.pid: int | None = None
        self._config = config
        self._leash: subprocess.Popen[bytes] | None = None
        self._owner_pipe = -1

    @abstractmethod
    def launch(self) -> None:
        """Start it without waiting."""

    @abstractmethod
    def await_ready(self) -> None:
        """Return when it takes requests; fail the test with the end of its log if it will not."""

    def start(self) -> Self:
        """Start it and return when it takes requests."""
        self.launch()
        self.await_ready()
        return self

    def stop(self) -> None:
        """SIGTERM; its store is complete."""
        if self._leash is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._leash.wait(timeout=self.stop_s)
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
        """Stop and start, same ports and store."""
        self.stop()
        if config is not None:
            self._config = config
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        if self._leash is not None:
            self.kill()

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _launch(self, command: list[str]) -> None:
        """Start the command on its leash; what it prints is its log, unless it writes that itself."""
        self._log.unlink(missing_ok=True)
        read_end, self._owner_pipe = os.pipe()
        with self._log.open("ab") as log:
            self._leash = subprocess.Popen(
                [sys.executable, "-I", leash.__file__, str(read_end), *command],
                pass_fds=(read_end,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        os.close(read_end)
        assert self._leash.stdout is not None
        self.pid = int(self._leash.stdout.readline())
        self._leash.stdout.close()

    def has_said(self, text: str) -> bool:
        """Whether its log tells this."""
        return text in self._log.read_text()

    def _signal(self, number: signal.Signals) -> None:
        assert self.pid is not None, "the server is down"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _await_log(self, text: str, more_than: int = 0) -> None:
        deadline = time.monotonic() + self.start_s
        while self._runs() and time.monotonic() < deadline:
            if self._log.read_text().count(text) > more_than:
                return
            time.sleep(POLL_S)
        self._fail(f"did not come to say {text!r}")

    def _runs(self) -> bool:
        return self._leash is not None and self._leash.poll() is None

    def _fail(self, what: str) -> None:
        log = self._log.read_text()[-3000:]
        self._end()
        pytest.fail(f"{type(self).__name__} {what}:\n{log}")

    def _end(self) -> None:
        process, self._leash = self._leash, None
        if process is None:
            return
        self._signal(signal.SIGCONT)
        os.close(self._owner_pipe)
        process.wait(timeout=10)
        self.pid = None


@contextlib.contextmanager
def serving_beside(server: socketserver.BaseServer) -> Iterator[None]:
    """A server of the standard library, in a thread of its own; closed afterwards."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def started(*servers: LeashedServer) -> Iterator[None]:
    """Servers that need each other: launched together, ended together."""
    with contextlib.ExitStack() as ended:
        for server in servers:
            server.launch()
            ended.push(server)
        for server in servers:
            server.await_ready()
        yield


def chosen_kind() -> str:
    """Where brokers that tests share come from: `native` or `docker`."""
    kind = os.environ.get("TEST_BROKERS", "native")
    if kind not in {"native", "docker"}:
        pytest.fail(f"TEST_BROKERS={kind!r}: `native` or `docker`")
    return kind


@contextlib.contextmanager
def running(make: Callable[[], Any]) -> Iterator[Any]:
    """A container of testcontainers, stopped afterwards; a failure that says what to do when no engine is there."""
    try:
        container = make()
        container.start()
    except Exception as error:  # noqa: BLE001 -- whatever the engine's client raises
        pytest.fail(f"TEST_BROKERS=docker, but no container starts ({error}); start Docker, or use TEST_BROKERS=native")
    try:
        yield container
    finally:
        container.stop()
