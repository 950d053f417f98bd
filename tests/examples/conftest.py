"""The examples as their README says: `make run` in their folder, beside a bridge."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest
from nats.js.errors import NotFoundError

from tests.canary.watch import WATCH
from tests.generated import ROOT
from tests.processes import BridgeProcess, bridge, wait_until

__all__ = ["EXAMPLES", "Example", "bridge", "pending"]

EXAMPLES = ROOT / "examples"


class Example:
    """`make run` in an example's folder, in a process group of its own.

    Attributes:
        log: what it and what it started said.
    """

    def __init__(self, name: str, log: Path, **env: str) -> None:
        self.log = log
        command = ["make", "-s", "-C", str(EXAMPLES / name), "run"]
        with log.open("ab") as out:
            clean = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
            self._process = subprocess.Popen(command, env=clean | env, stdout=out, stderr=out, start_new_session=True)

    def says(self, text: str) -> str:
        """Wait until it has said this; returns all it said."""

        def found() -> str:
            ended = self._process.poll() is not None  # first: it may say this and end while it is looked at
            said = self.log.read_text()
            assert not ended or text in said, said
            return said if text in said else ""

        try:
            return str(wait_until(found))
        except AssertionError as error:
            raise AssertionError(f"never said {text!r}: {self.log.read_text()}") from error

    def end(self, number: int = signal.SIGINT) -> None:
        """As Ctrl-C does, or harder; returns when all of it is gone."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
            self._process.wait(20)


def pending(running: BridgeProcess) -> int:
    """How many events consumers have and have not acknowledged; they say that they are done a moment before."""

    async def ask() -> int:
        client = await nats.connect(running.nats_url, allow_reconnect=False)
        try:
            return sum(consumer.num_ack_pending or 0 for consumer in await client.jetstream().consumers_info("EVENTS"))
        finally:
            await client.close()

    return asyncio.run(ask())


@pytest.fixture(scope="session")
def _shared_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    process = BridgeProcess(tmp_path_factory.mktemp("bridge") / "data")
    try:
        yield process.start()
    finally:
        process.end()


@pytest.fixture
def running(_shared_bridge: BridgeProcess) -> BridgeProcess:
    """A bridge with its embedded broker that tests share one after the other; its stream is empty for each."""

    async def empty() -> None:
        client = await nats.connect(_shared_bridge.nats_url, allow_reconnect=False)
        stream = client.jetstream()
        for consumer in await stream.consumers_info("EVENTS"):
            with contextlib.suppress(NotFoundError):  # one whose owner is gone ends by itself
                await stream.delete_consumer("EVENTS", consumer.name)
        await stream.purge_stream("EVENTS")
        await client.close()

    asyncio.run(empty())
    return _shared_bridge


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Callable[..., Example]]:
    """Start examples beside a bridge: `example(name, bridge, VARIABLE=…)`."""
    started: list[Example] = []

    def start(name: str, beside: BridgeProcess, **env: str) -> Example:
        own = {name: value for name, value in beside.env.items() if name.startswith("BRIDGE_")}
        made = Example(name, tmp_path / f"{name}-{len(started)}.log", **own, **env)
        started.append(made)
        WATCH.given_in(own)
        return made

    yield start
    for made in started:
        made.end(signal.SIGKILL)
        WATCH.look("the log of an example", made.log.read_bytes())
