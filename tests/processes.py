"""The bridge as its users run it: a process, its real broker, its signals."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from bridge.cli import main
from tests.brokers import NatsServer, stored
from tests.canary.watch import WATCH
from tests.conftest import KafkaSpace
from tests.servers import free_ports

TOKEN = "canary-7f3a9c1e5b8d2460"
WAIT_S = 45.0  # on a busy machine a start takes half of it, and who waits for less pays nothing
LATE_S = 1.4  # a busy machine shows an answer so late; with a deadline of 1.5 s it is still before the default, 3 s


def run_here(*arguments: str, env: Mapping[str, str], stdin: bytes = b"") -> Result:
    """A command in this process, with these BRIDGE_ variables and no others: a tenth of the time of a process."""
    clean = {name: None for name in os.environ if name.startswith("BRIDGE_")}
    given = {name: value for name, value in env.items() if name.startswith("BRIDGE_")}
    result = CliRunner().invoke(main, arguments, input=stdin, env={**clean, **given})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    WATCH.look(f"`{arguments[0]}`", result.output, result.stderr)
    return result


def wait_until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """What `condition` returns once it is true; for things outside this process that cannot be awaited."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {condition}")
        time.sleep(0.02)
    return result


class BridgeProcess:
    """`webhook-bridge serve` with an environment of its own.

    Attributes:
        within: a command that runs it, as `strace` does; may be changed before a start.
    """

    def __init__(self, data_dir: Path, *, host: str = "127.0.0.1", within: Sequence[str] = (), **settings: str) -> None:
        self.port, self.ops_port, self.nats_port = free_ports(3)
        self.within = within
        self.data_dir = data_dir
        self.log = data_dir.parent / f"{data_dir.name}.log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        self.env = clean | {
            "BRIDGE_LISTEN": f"{host}:{self.port}",
            "BRIDGE_OPS_LISTEN": f"{host}:{self.ops_port}",
            "BRIDGE_DATA_DIR": str(data_dir),
            "BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN,
        }
        if "BRIDGE_BROKER" not in settings:
            self.env["BRIDGE_EMBEDDED_LISTEN"] = f"127.0.0.1:{self.nats_port}"
        self.env |= settings
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{host}:{self.port}/webhooks/chatlevel/{TOKEN}"
        self.ops_url = f"http://{host}:{self.ops_port}"
        self.nats_url = settings.get("BRIDGE_BROKER", f"nats://127.0.0.1:{self.nats_port}")
        WATCH.ports |= {self.port, self.ops_port}

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        WATCH.given_in(self.env)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, sys.executable, "-m", "bridge", "serve"], env=self.env, stdout=log, stderr=log
            )

    def start(self, *, ready: bool = True) -> "BridgeProcess":
        self.launch()
        wait_until(lambda: (self.readiness() or {}).get("phase") == "running")
        if ready:
            wait_until(self.ready)
        return self

    def readiness(self) -> dict[str, Any] | None:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()
        try:
            content: dict[str, Any] = httpx.get(f"{self.ops_url}/health/ready").json()
        except httpx.TransportError:
            return None
        return content

    def ready(self) -> bool:
        return bool((self.readiness() or {}).get("ready"))

    def reasons(self) -> str:
        """Why it is not ready, as it says now; the first ones come a moment after the start."""
        return " ".join((self.readiness() or {}).get("reasons", ()))

    def in_flight(self) -> float:
        """How many deliveries are under way."""
        lines = httpx.get(f"{self.ops_url}/metrics").text.splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("bridge_deliveries_in_flight{"))

    def post(self, body: bytes, timeout_s: float = 15) -> httpx.Response:
        return httpx.post(self.url, content=body, timeout=timeout_s)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """Kill it, and look for its secrets in what it leaves."""
        self.kill()
        WATCH.given_in(self.env)
        for path in self.data_dir.glob("tokens/*"):
            WATCH.given(path.read_text(), "a made token")
        if self.log.exists():
            WATCH.look("the log of a process", self.log.read_bytes())
        WATCH.look_at_files(self.data_dir)

    def cli(self, *arguments: str, stdin: bytes = b"", timeout_s: float = WAIT_S) -> subprocess.CompletedProcess[str]:
        WATCH.given_in(self.env)
        done = subprocess.run(
            [sys.executable, "-m", "bridge", *arguments],
            env=self.env,
            input=stdin.decode(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        WATCH.look(f"`{arguments[0]}`", done.stdout, done.stderr)
        return done

    def stored(self, stream: str = "EVENTS") -> list[Any]:
        """Every message of the stream, read by a plain nats-py consumer."""
        return asyncio.run(stored(self.nats_url, stream))


def on_kafka(make: Callable[..., BridgeProcess], space: KafkaSpace) -> BridgeProcess:
    """A started bridge whose topics are `<the space's prefix>.<type>`."""
    template = f"{space.prefix}.{{type}}"
    settings = {"BRIDGE_BROKER": f"kafka://{space.bootstrap}", "BRIDGE_TOPIC_TEMPLATE": template}
    return make(**settings, BRIDGE_DEAD_LETTER_TOPIC="", BRIDGE_PROVISION="create").start()


@pytest.fixture
def nats_process(tmp_path: Path) -> Iterator[NatsServer]:
    """Not started yet."""
    server = NatsServer(tmp_path / "nats")
    yield server
    server.stop()


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Callable[..., BridgeProcess]]:
    """Make bridges; all are ended with the test."""
    made: list[BridgeProcess] = []

    def make(name: str = "data", **settings: Any) -> BridgeProcess:
        process = BridgeProcess(tmp_path / name, **settings)
        made.append(process)
        return process

    yield make
    for process in made:
        process.end()
