"""The spool, its drain and the way into it, as one life: opened before the entrance, drained as long as it runs."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from bridge.config import Config
from bridge.errors import SpoolFailed
from bridge.ingest.dead_letters import RefusedRecords
from bridge.publishers.base import Record
from bridge.spool.detour import Detour, Holds
from bridge.spool.drain import Drain
from bridge.spool.model import Opened, SpoolState
from bridge.spool.spool import Spool
from bridge.spool.store import Store
from bridge.telemetry import spool_facts
from bridge.telemetry.drain_facts import DrainFacts
from bridge.telemetry.metrics import Metrics

__all__ = ["Spooling", "spool_directory"]


def spool_directory(config: Config) -> Path:
    """Where it is; there only if a bridge with these settings ever had a spool."""
    return config.data_dir / "spool"


class Spooling:
    """An open spool.

    Attributes:
        detour: for the entrances; only after `start`.
        known: dedup ids of what was in the spool at the start, by source.
        drained_per_s: records that left the spool in the last second.
        opened: what else was found then.
    """

    detour: Detour
    _drain: Drain

    def __init__(self, config: Config, metrics: Metrics) -> None:
        """Nothing happens yet.

        Args:
            config: where, and how much.
            metrics: get what is seen.
        """
        self._config = config
        self._metrics = metrics
        self.spool = Spool(
            Store(spool_directory(config), max_bytes=config.spool_max_bytes),
            max_bytes=config.spool_max_bytes,
            min_free_bytes=config.spool_min_free_bytes,
        )
        self._holds = Holds()
        self._draining: asyncio.Task[None] | None = None
        self.known: dict[str, list[str]] = defaultdict(list)
        self.opened = Opened(0)
        self._told = self.state()
        self.drained_per_s = 0.0
        self._telling: asyncio.TimerHandle | None = None

    @property
    def failed(self) -> "asyncio.Future[SpoolFailed]":
        """Done when the disk can no longer be believed: the process should end."""
        return self.spool.failed

    async def start(
        self,
        publish: Callable[[Record], Awaitable[None]],
        refused: RefusedRecords | None = None,
    ) -> None:
        """Look at what is there and begin to drain it.

        Args:
            publish: the publisher's.
            refused: takes what the broker will never take.

        Raises:
            ConfigError: the directory cannot be used, or another bridge uses it.
            SpoolError: the disk fails or is full.
        """
        began = asyncio.get_running_loop().time()
        self.opened = opened = await self.spool.open(lambda source, dedup_id: self.known[source].append(dedup_id))
        if opened.reason is not None:
            kept_at = None if opened.quarantined is None else str(opened.quarantined)
            spool_facts.damaged(opened.reason, salvaged=opened.salvaged, lost=opened.lost, kept_at=kept_at)
        took_s = asyncio.get_running_loop().time() - began
        spool_facts.opened(rows=opened.rows, lanes=len(self.spool.lanes), took_s=took_s)
        facts = DrainFacts(self._metrics)
        self._drain = Drain(
            self.spool,
            publish,
            self._holds,
            facts,
            rate=self._config.spool_drain_rate,
            refused=None if refused is None else refused.keep,
        )
        self.detour = Detour(self.spool, self._holds, wake=self._drain.wake)
        self._draining = asyncio.create_task(self._drain.run(), name="spool-drain")
        self._watch()
        self.failed.add_done_callback(lambda failed: spool_facts.failed(str(failed.result())))
        self._told = self.state()
        self._tell()

    def _tell(self) -> None:
        """Each second: a line for what has changed."""
        state, told = self.state(), self._told
        if state.reason != told.reason and not self.failed.done():
            spool_facts.refusing(state.reason) if state.reason is not None else spool_facts.accepting()
        if state.warning is not None and told.warning is None:
            spool_facts.warned(state.warning)
        self.drained_per_s = float(state.totals.deleted - told.totals.deleted)
        self._told = state
        self._telling = asyncio.get_running_loop().call_later(1, self._tell)

    async def stop(self) -> None:
        """Finish what is on its way, and let go of the directory. What is left is drained at the next start."""
        if self._telling is not None:
            self._telling.cancel()
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait([self._draining])
        await self.spool.close()

    def state(self) -> SpoolState:
        """The spool now."""
        return self.spool.state()

    def _watch(self) -> None:
        """What /metrics reads where it is known."""
        watch, state = self._metrics.watch, self.state
        watch("bridge_spool_accepting", read=lambda: state().accepting)
        watch("bridge_spool_rows", read=lambda: state().rows)
        watch("bridge_spool_bytes", read=lambda: state().bytes)
        watch("bridge_spool_max_bytes", read=lambda: state().max_bytes)
        watch("bridge_spool_oldest_seconds", read=self.oldest_age_s)
        watch("bridge_spool_spooled_total", read=lambda: state().totals.accepted)
        watch("bridge_spool_drained_total", read=lambda: state().totals.deleted)
        watch("bridge_spool_lost_total", read=lambda: state().totals.lost)
        watch("bridge_spool_quarantined_total", read=lambda: state().totals.quarantined)
        watch("bridge_spool_canary_age_seconds", read=lambda: _or_nan(state().canary_age_s))

    def oldest_age_s(self) -> float:
        """Since the oldest event that the broker has not acknowledged came in; 0 without any."""
        oldest = self.state().oldest_at
        return 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
