"""One row of the matrix while it is played: a broker, a bridge as a process before it, and what is measured of both."""

import asyncio
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.brokers import Broker
from tests.faults.chatlevel import Chatlevel, event_read
from tests.faults.checker import Verdict, check
from tests.processes import BridgeProcess, wait_until
from tests.servers import LeashedServer

__all__ = ["Figures", "Stage"]

_LOOK_S = 0.1
_HEAL_S = 30.0
_DRAIN_S = 10.0


class Figures(msgspec.Struct, kw_only=True):
    """One line of the table.

    Attributes:
        row: of section 6's matrix, and its variant.
        copies: records too many, by cause; and the most that what was counted allows.
        ready_s: the longest from a start of the bridge to its readiness.
        healed_s: the longest from the end of a fault of the broker until the bridge calls it ready.
        drained_s: the longest from then until the spool was empty.
        rss_mib: the most memory that a bridge held.
        took_s: the whole row.
    """

    row: str
    sent: int = 0
    acknowledged: int = 0
    lost: int = 0
    given_up: int = 0
    copies: str = "0"
    disordered: int = 0
    answers: str = ""
    slowest_s: float = 0.0
    rss_mib: float = 0.0
    ready_s: float = 0.0
    healed_s: float = 0.0
    drained_s: float = 0.0
    took_s: float = 0.0

    def shown(self) -> dict[str, str]:
        """Cells by the names of their columns."""
        cells = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: f"{cell:.1f}" if isinstance(cell, float) else str(cell) for name, cell in cells.items()}

    def __str__(self) -> str:
        return " ".join(f"{name}={cell}" for name, cell in self.shown().items())


class Stage:
    """What a row's test works with.

    Attributes:
        broker: one, or a cluster.
        bridge: the process.
        figures: what is printed of this row.
    """

    def __init__(self, row: str, broker: Broker, make: Callable[..., BridgeProcess], **settings: Any) -> None:
        """Nothing runs but the broker.

        Args:
            row: how it is called in the table.
            broker: it may be down.
            make: makes bridges that are ended with the test.
            settings: the bridge's, beyond the broker's.
        """
        self.broker = broker
        self.bridge = make(**broker.settings, **settings)
        self.spooling = settings.get("BRIDGE_SPOOL") == "on"
        self.figures = Figures(row=row)
        self._began = time.monotonic()
        self._ended_counts = {"ambiguous": 0.0, "sent_again": 0.0}
        self._under_way = 0
        self._watching: asyncio.Task[None] | None = None

    # ---- the bridge

    async def start_bridge(self) -> float:
        """Return when it is ready; seconds that took."""
        began = time.monotonic()
        await asyncio.to_thread(self.bridge.start)
        took_s = time.monotonic() - began
        self.figures.ready_s = max(self.figures.ready_s, took_s)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch_memory())
        return took_s

    async def kill_bridge(self) -> None:
        """SIGKILL. What it had counted stays counted."""
        await self._keep_counts()
        await asyncio.to_thread(self.bridge.kill)

    async def kill_bridge_while_it_drains(self) -> None:
        """SIGKILL, with the broker up. What it has and the spool has still, too, is going to be drained again."""
        await self.kill_bridge()
        stored = {read.id for read in await self.broker.read()}
        self._under_way += sum(event_read(value).id in stored for value in self._spooled())

    def _spooled(self) -> list[bytes]:
        """The values in the spool of a bridge that has ended."""
        copy = self.bridge.data_dir.with_suffix(".copy")
        shutil.copytree(self.bridge.data_dir / "spool", copy)
        with closing(sqlite3.connect(copy / "spool.db")) as database:
            return [value for (value,) in database.execute("SELECT value FROM rows")]

    async def run_bridge_until_it_dies(self, within_s: float) -> None:
        """Whenever that is, the start included; it may survive."""
        with suppress(AssertionError):  # it was not there when it was asked
            await asyncio.to_thread(self.bridge.start, ready=False)
        with suppress(subprocess.TimeoutExpired):
            await self.bridge_ends(within_s)

    async def end_bridge(self, provider: Chatlevel) -> int:
        """SIGTERM; its exit code. Nobody can ask it any more what became of the deliveries under way."""
        await self._keep_counts()
        self._under_way += provider.under_way
        return await asyncio.to_thread(self.bridge.stop)

    async def bridge_ends(self, within_s: float = _HEAL_S) -> int:
        """Return when it has ended by itself; its exit code."""
        process = self.bridge.process
        assert process is not None
        return await asyncio.to_thread(process.wait, within_s)

    async def counted(self, name: str) -> float:
        """A metric of the bridge that runs, without its prefix: the sum of its series."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.bridge.ops_url}/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in (f"bridge_{name}", f"bridge_{name}_total")
        )

    async def healed(self, within_s: float = _HEAL_S) -> None:
        """Return when the bridge calls its broker ready."""
        began = time.monotonic()
        await asyncio.to_thread(wait_until, self.calls_the_broker_ready, within_s)
        self.figures.healed_s = max(self.figures.healed_s, time.monotonic() - began)

    async def drained(self, within_s: float = _HEAL_S) -> None:
        """Return when the spool is empty."""
        began = time.monotonic()
        while rows := await self.counted("spool_rows"):
            assert time.monotonic() - began < within_s, f"{rows:g} rows are left in the spool after {within_s:g} s"
            await asyncio.sleep(_LOOK_S)
        self.figures.drained_s = max(self.figures.drained_s, time.monotonic() - began)

    async def not_ready(self, within_s: float = _HEAL_S) -> None:
        """Return when the bridge says that its broker takes nothing."""
        await asyncio.to_thread(wait_until, lambda: not self.calls_the_broker_ready(), within_s)

    def calls_the_broker_ready(self) -> bool:
        """As /health/ready has it; with a spool a bridge is ready without its broker."""
        broker: dict[str, Any] = (self.bridge.readiness() or {}).get("broker", {})
        return bool(broker.get("ready"))

    # ---- the broker

    async def kill_brokers(self, *servers: LeashedServer) -> None:
        """SIGKILL; all of them if none is named."""
        for server in servers or self.broker.servers:
            await asyncio.to_thread(server.kill)

    async def start_brokers(self) -> None:
        """Those that are down."""
        down = [server for server in self.broker.servers if server.pid is None]
        for server in down:
            await asyncio.to_thread(server.launch)
        for server in down:
            await asyncio.to_thread(server.await_ready)

    # ---- the end

    async def judge(self, provider: Chatlevel, *, losses: float = 0) -> Verdict:
        """After the fault: let the provider finish, read the topics, and hold against it what holds for every row.

        Args:
            provider: with the history of this row.
            losses: how many events may be lost, since a disk lost them and the bridge says so.
        """
        await provider.finish()
        if self.spooling:
            await self.drained()
        await self._keep_counts()
        verdict = check(provider.history, await self.broker.read())
        bound = self._bound(verdict)
        self._note(verdict, bound)
        print(f"\n{self.figures}")  # noqa: T201 -- `make faults` shows it as it goes
        assert len(verdict.lost) <= losses, f"answered with success and not on the topics: {verdict.lost[:10]}"
        assert not verdict.strange, f"on the topics and never sent so: {verdict.strange[:3]}"
        assert not verdict.disordered, f"after events that were sent after their success: {verdict.disordered[:10]}"
        assert sum(verdict.copies.values()) <= bound, f"more copies than were counted: {verdict.copies}, {bound=}"
        return verdict

    def assert_taken(self, verdict: Verdict, provider: Chatlevel) -> None:
        """Every event, in the end; where there is a spool, at the first attempt, and it is empty soon afterwards."""
        assert not verdict.given_up
        if self.spooling:
            assert verdict.answers.keys() <= {"200"}
            assert self.figures.drained_s < provider.at_most(_DRAIN_S)

    def _bound(self, verdict: Verdict) -> int:
        """How many copies there may be, by what the bridges counted and what was under way when they ended."""
        if self.broker.drops_copies:
            return 0
        return round(sum(self._ended_counts.values()) + verdict.cut) + self._under_way

    def _note(self, verdict: Verdict, bound: int) -> None:
        figures = self.figures
        figures.sent, figures.acknowledged = verdict.sent, verdict.acknowledged
        figures.lost, figures.given_up = len(verdict.lost), len(verdict.given_up)
        figures.disordered, figures.slowest_s = len(verdict.disordered), verdict.slowest_s
        causes = "+".join(f"{count} {cause}" for cause, count in sorted(verdict.copies.items()))
        figures.copies = f"{causes or 0} of {bound}"
        figures.answers = " ".join(f"{status}:{count}" for status, count in sorted(verdict.answers.items()))
        figures.took_s = time.monotonic() - self._began

    async def _keep_counts(self) -> None:
        with suppress(httpx.TransportError):
            self._ended_counts["ambiguous"] += await self.counted("records_ambiguous")
            self._ended_counts["sent_again"] += await self.counted("broker_records_sent_again")

    async def _watch_memory(self) -> None:
        while True:
            process = self.bridge.process
            if process is not None:
                with suppress(OSError, IndexError):
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
                    self.figures.rss_mib = max(self.figures.rss_mib, peak)
            await asyncio.sleep(_LOOK_S)

    async def close(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
