"""The entrance, the table, the spool and its drain on a virtual clock, with a broker that obeys."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from litestar.types import HTTPScope

from bridge.errors import PublishError, RecordRefused
from bridge.ingest.arrival import Entrance
from bridge.ingest.deadline import LATE_S, Deadline
from bridge.ingest.dedup import DedupTable
from bridge.ingest.http import Ingest
from bridge.ingest.outcomes import OUTCOMES
from bridge.ingest.pipeline import Prepared
from bridge.ingest.seen import SeenIds
from bridge.publishers.base import Record
from bridge.spool.detour import Detour, Holds
from bridge.spool.drain import Drain
from bridge.spool.model import Row
from bridge.spool.spool import Spool
from bridge.telemetry.drain_facts import DrainFacts
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics
from tests.spool.entries import store_in
from tests.unit import dedup_space
from tests.unit.dedup_space import WINDOW_S
from tests.virtual_time import VirtualLoop

__all__ = ["BROKER_S", "DEADLINE_S", "Answered", "Space", "event"]

DEADLINE_S = 3.0
BROKER_S = 2.5  # of them; the rest is the spool's


def event(name: str, *topics: str, key: str = "1", size: int = 0) -> Prepared:
    """An event and its records: one for each topic, which is `t` if none is given."""
    made = dedup_space.event(name, *topics)
    records = tuple(msgspec.structs.replace(record, key=key, value=bytes(size)) for record in made.records)
    return msgspec.structs.replace(made, records=records)


class Broker:
    """Publishes wait until the test answers them, or are answered as it has said before.

    Attributes:
        answers: what each publish is answered at once: None an acknowledgement, an error that; raises KeyError where it
            shall wait.
        handed_over: dedup ids in order.
        handed_at: and when.
        clashes: those that were handed over while they were under way.
    """

    def __init__(self) -> None:
        self.answers: Callable[[str], PublishError | None] = {}.__getitem__
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self.handed_over: list[str] = []
        self.handed_at: list[float] = []
        self.clashes: list[str] = []

    def away(self, error: PublishError) -> None:
        self.answers = lambda _dedup_id: error

    def takes_all(self) -> None:
        self.answers = lambda _dedup_id: None

    def waits(self) -> None:
        self.answers = {}.__getitem__

    async def publish(self, record: Record) -> None:
        dedup_id, loop = record.dedup_id, asyncio.get_running_loop()
        if dedup_id in self.under_way:
            self.clashes.append(dedup_id)
        self.handed_over.append(dedup_id)
        self.handed_at.append(loop.time())
        try:
            answer = self.answers(dedup_id)
        except KeyError:
            future = self.under_way[dedup_id] = loop.create_future()
            try:
                await future
            finally:
                del self.under_way[dedup_id]
        else:
            if answer is not None:
                raise answer


class Answered:
    """One request, and what it was answered.

    Attributes:
        status: None until then.
        after_s: how long it took.
        error: the outcome's code where it is not success.
    """

    def __init__(self, space: "Space", prepared: list[Prepared]) -> None:
        self.prepared = prepared
        self.status: int | None = None
        self.after_s = -1.0
        self.error: str | None = None
        self._space = space
        self._began = space.loop.time()
        scope = {"type": "http", "method": "POST", "raw_path": b"/webhooks/shop", "query_string": b"", "headers": []}
        self.task = space.loop.create_task(self._run({**scope, "client": None}))  # type: ignore[arg-type]

    async def _run(self, scope: HTTPScope) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": f"{id(self)}".encode(), "more_body": False}

        await self._space.ingest(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert self.status is None, "answered twice"
            self.status, self.after_s = message["status"], round(self._space.loop.time() - self._began, 3)
        else:
            self.error = msgspec.json.decode(message["body"]).get("error")


class _Keeper:
    """Instead of a pipeline: the events that the test has made, by the request's body."""

    def __init__(self, table: DedupTable) -> None:
        self.posted: dict[bytes, list[Prepared]] = {}
        self._table = table
        self.spool_missing = table.spool_missing

    def prepare(self, delivery: Any, _traceparent: str | None) -> list[Prepared]:
        return self.posted[delivery.body]

    async def publish(self, items: list[Prepared], _delivery: object, deadline: Deadline) -> list[Prepared]:
        await self._table.publish_all(items, deadline)
        return items


class Space:
    """All of it.

    Attributes:
        fsync_s: what a job of the spool takes.
        jobs: how many there were.
        published: events that have become durable, in order.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rate: float = 1000.0,
        max_in_flight: int = 1000,
        refused: Callable[[Row, RecordRefused], Awaitable[None]] | None = None,
    ) -> None:
        self.loop = VirtualLoop()
        self._faults: list[Any] = []
        self.loop.set_exception_handler(lambda _loop, context: self._faults.append(context))
        self.fsync_s = 0.01
        self.jobs = 0
        self.broker = Broker()
        self.metrics = Metrics()
        self.published: list[str] = []
        self.holds = Holds()
        self.store = store_in(folder)
        self.loop.run_until_complete(self._open(rate, refused))
        facts = Facts(self.metrics)
        codes = [outcome.code for outcome in OUTCOMES]
        source = facts.source("shop", types=(), topics=("t", "audit"), outcomes=codes)
        self.detour = Detour(self.spool, self.holds, wake=self.drain.wake)
        self.table = DedupTable(
            self.broker.publish,
            SeenIds(window_s=WINDOW_S, max_ids=10_000, clock=self.loop.time),
            source,
            source="shop",
            detour=self.detour,
            on_published=lambda items: self.published.extend(item.event.id for item in items),
        )
        self._keeper = _Keeper(self.table)
        entrance = Entrance(
            name="shop",
            verifier=None,
            keeper=self._keeper,  # type: ignore[arg-type]
            facts=source,
            success_status=200,
            deadline_s=DEADLINE_S,
            max_body_bytes=1000,
            spool_s=DEADLINE_S - BROKER_S,
        )
        self.ingest = Ingest({"shop": entrance}, facts, max_in_flight=max_in_flight)
        self.loop.settle()

    async def _open(self, rate: float, refused: Callable[[Row, RecordRefused], Awaitable[None]] | None) -> None:
        async def run(job: Callable[[], Any]) -> Any:
            self.jobs += 1
            await asyncio.sleep(self.fsync_s)
            return job()

        self.spool = Spool(self.store, min_free_bytes=0, run=run)
        await self.spool.open()
        facts = DrainFacts(self.metrics)
        self.drain = Drain(self.spool, self.broker.publish, self.holds, facts, rate=rate, refused=refused)
        self._draining = asyncio.create_task(self.drain.run())

    def post(self, *prepared: Prepared) -> Answered:
        request = Answered(self, list(prepared))
        self._keeper.posted[f"{id(request)}".encode()] = request.prepared
        self.loop.settle()
        return request

    def spooled(self, *prepared: Prepared) -> None:
        """They are in the spool, as those of an earlier run."""

        async def append() -> None:
            await self.detour.append("shop", [record for item in prepared for record in item.records])

        self.loop.run_until_complete(append())
        self.loop.settle()

    def ack(self, *dedup_ids: str) -> None:
        for dedup_id in dedup_ids:
            self.broker.under_way[dedup_id].set_result(None)
        self.loop.settle()

    def fail(self, dedup_id: str, error: Exception) -> None:
        self.broker.under_way[dedup_id].set_exception(error)
        self.loop.settle()

    def pass_time(self, seconds: float) -> None:
        self.loop.pass_time(seconds)

    @property
    def rows(self) -> int:
        """On disk."""
        return self.store.totals.rows

    def count(self, name: str, *labels: str) -> float:
        return self.metrics.value(f"bridge_{name}_total", *labels)

    def stop_draining(self) -> None:
        """As at the end of the process."""
        self._draining.cancel()
        self.loop.run_until_complete(asyncio.wait([self._draining]))

    def close(self) -> None:
        """Let all deadlines pass; nothing is left over, no future had an error that nobody saw."""
        try:
            self.fsync_s = 0.01
            self.pass_time(2 * LATE_S)
            self.stop_draining()
            self.loop.run_until_complete(self.spool.close())
            self.loop.settle()
            assert not self.table._in_flight
            assert not self.table._awaited
            assert not self.table._writing
            assert not self.broker.clashes, "two publishes of one record at once"
            assert not self._faults
            assert not asyncio.all_tasks(self.loop)
        finally:
            self.loop.close()
