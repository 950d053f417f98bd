"""The bridge from its entrance to its disk, all real but time, broker and disk, and lives of it one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec

from bridge.errors import BridgeError, RecordRefused
from bridge.ingest import outcomes
from bridge.ingest.arrival import Entrance
from bridge.ingest.dead_letters import Keeper
from bridge.ingest.dedup import DedupTable
from bridge.ingest.http import Ingest
from bridge.ingest.letters import REASONS, letter_id
from bridge.ingest.pipeline import Prepared
from bridge.ingest.seen import SeenIds
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect
from bridge.spool.model import Row
from bridge.spool.spool import Spool
from bridge.spool.store import Store
from bridge.spooling import Spooling
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics
from tests.simulation.broker import Broker
from tests.simulation.disk import Disk
from tests.virtual_time import VirtualLoop

__all__ = ["DEADLINE_S", "Life", "Request", "World"]

DEADLINE_S = 3.0
MAX_IN_FLIGHT = 8
_SPOOL_S = 0.5
_MAX_BYTES = 1_048_576
_TURNS = 12  # of the loop: more than any chain of callbacks here has
_NOW = datetime(2026, 7, 1, tzinfo=UTC)
_DIALECT = HeaderDialect("ce-", "content-type", percent_encode=True)


class Request:
    """One delivery by the provider.

    Attributes:
        prepared: its events.
        body: equal for equal events.
        letter: dedup id of its dead letter.
        began: when.
        body_s: how long its body takes to come in.
        answer: "success", an error's code, or None where there is none, or not yet.
        answered_at: when.
        over: nothing more will come.
    """

    def __init__(self, prepared: Sequence[Prepared], body: bytes, began: float, body_s: float) -> None:
        self.prepared = prepared
        self.body = body
        self.letter = f"{letter_id('shop', Delivery(body, {}, _NOW), ())}@dead"
        self.began = began
        self.body_s = body_s
        self.answer: str | None = None
        self.answered_at = -1.0
        self.over = False
        self.records = [record for item in prepared for record in item.records]


class Life:
    """The bridge from one start to its end."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.ended = False
        self.requests: set[asyncio.Task[None]] = set()
        self.metrics = Metrics()
        config: Any = SimpleNamespace(
            data_dir=world.folder, spool_max_bytes=_MAX_BYTES, spool_min_free_bytes=0, spool_drain_rate=1000.0
        )
        self.spooling = Spooling(config, self.metrics)
        self.store = Store(
            world.folder / "spool", driver=world.disk.driver, max_bytes=_MAX_BYTES, refuse=lambda _path: None
        )
        self.spooling.spool = Spool(self.store, max_bytes=_MAX_BYTES, min_free_bytes=0, run=self._run)

    async def start(self) -> None:
        """As the app wires it."""
        world, broker = self.world, self.world.broker
        await self.spooling.start(broker.publish, SimpleNamespace(keep=self._keep))  # type: ignore[arg-type]
        self.drain: Any = self.spooling._drain
        self.drain._facts.fault = world.faults.append
        facts = Facts(self.metrics)
        codes = [outcome.code for outcome in outcomes.OUTCOMES]
        source = facts.source("shop", types=(), topics=("t", "audit", "dead"), outcomes=codes, reasons=REASONS)
        source.failed = world.faults.append  # type: ignore[method-assign]
        seen = SeenIds(window_s=1e9, max_ids=10_000, clock=world.loop.time)
        self.table = DedupTable(broker.publish, seen, source, source="shop", detour=self.spooling.detour)
        self.table.remember(self.spooling.known.pop("shop", ()))
        pipeline: Any = SimpleNamespace(prepare=lambda delivery, _trace: list(world.of_body(delivery.body).prepared))
        keeper = Keeper(
            pipeline,
            self.table,
            source="shop",
            dialect=_DIALECT,
            decoded_headers=(),
            dead_letter_topic="dead",
            raw_topic=None,
            unknown=None,
        )
        entrance = Entrance("shop", None, keeper, source, 200, DEADLINE_S, 1000, spool_s=_SPOOL_S)
        self.ingest = Ingest({"shop": entrance}, facts, max_in_flight=MAX_IN_FLIGHT)

    async def _keep(self, row: Row, _refusal: RecordRefused) -> None:
        """A record refused out of the spool is a dead letter."""
        self.world.letters.add(row.entry.record.dedup_id)

    def post(self, request: Request) -> None:
        """What a connection of the server would do."""
        task = self.world.loop.create_task(self._serve(request))
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)

    async def _serve(self, request: Request) -> None:
        async def receive() -> Any:
            if request.body_s:
                await asyncio.sleep(request.body_s)
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Any) -> None:
            if self.ended:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                self.world.answered(request, self, msgspec.json.decode(message["body"]))
                return
            assert request.answer is None, "answered twice"
            assert status

        scope: Any = {
            "type": "http",
            "method": "POST",
            "raw_path": b"/webhooks/shop",
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", 1),
        }
        try:
            await self.ingest(scope, receive, send)
        except AssertionError as error:
            self.world.faults.append(error)
        finally:
            request.over = True

    async def stop(self) -> None:
        """As the app does: what is late is not waited for, what is on its way is, the spool is closed."""
        self.ingest.end_late()
        if self.requests:
            _done, left = await asyncio.wait(self.requests, timeout=5)
            for task in left:
                task.cancel()
        await self.spooling.stop()
        self.ended = True

    def die(self) -> None:
        """All that is in memory is gone; nothing that is still to run has an effect outside of it."""
        self.ended = True
        loop, spool = self.world.loop, self.spooling.spool
        for timer in (spool._timer, self.spooling._telling):
            if timer is not None:
                timer.cancel()
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.settle()
        self.store.close()

    def _run(self, job: Callable[[], Any]) -> Awaitable[Any]:
        return self._at_the_disk(job)

    async def _at_the_disk(self, job: Callable[[], Any]) -> Any:
        disk = self.world.disk
        asyncio.current_task().set_name("disk")  # type: ignore[union-attr]
        await asyncio.sleep(disk.latency_s / 2)
        try:
            if not self.ended:
                return job()
        finally:
            if self.ended or disk.dead:
                await self.world.loop.create_future()  # the power is gone: nobody is told
            await asyncio.sleep(disk.latency_s / 2)

    def has_row(self, dedup_id: str) -> bool:
        """Whether a transaction has put it into the file, and none has taken it out."""
        rows = self.store._db.execute("SELECT 1 FROM rows WHERE dedup_id = ?", (dedup_id,))  # type: ignore[union-attr]
        return bool(list(rows))


class World:
    """Time, a broker, a disk, a provider and the present life of the bridge, if there is one.

    Attributes:
        life: None while it is down.
        lives: how many there were.
        requests: all deliveries.
        letters: dedup ids of records that were refused out of the spool.
        faults: what must not have happened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = VirtualLoop()
        self.broker = Broker(self.loop)
        self.disk = Disk(folder / "spool", self.loop)
        self.life: Life | None = None
        self.lives = 0
        self.requests: list[Request] = []
        self.letters: set[str] = set()
        self.faults: list[BaseException] = []
        self.loop.set_exception_handler(self._unhandled)
        self.start()

    def of_body(self, body: bytes) -> Request:
        """The delivery whose body it is."""
        return self.requests[int(body)]

    def start(self) -> None:
        """Begin a life; there is none where the disk does not let it."""
        assert self.life is None
        life = self.loop.run_until_complete(_made(self))
        self.lives += 1
        starting = self.loop.create_task(life.start())
        self._until(starting)
        if self.disk.dead:
            self._power_back(life, Random(self.lives))
        elif isinstance(error := starting.exception(), BridgeError):
            life.ended = True
        elif error is not None:
            raise error
        else:
            self.life = life

    def post(self, *prepared: Prepared, body_s: float = 0.0) -> Request:
        """Deliver; nothing happens yet."""
        new = b"%d" % len(self.requests)
        body = next((other.body for other in self.requests if other.prepared == prepared), new)
        request = Request(prepared, body, self.loop.time(), body_s)
        self.requests.append(request)
        if self.life is None:
            request.answer, request.answered_at, request.over = "nobody listens", request.began, True
        else:
            self.life.post(request)
        return request

    def answered(self, request: Request, life: Life, body: Any) -> None:
        """What is answered with success must be somewhere durable at that very moment."""
        request.answer = "success" if "ids" in body else body["error"]
        request.answered_at = self.loop.time()
        if request.answer == "success":
            for record in request.records:
                ids = (record.dedup_id, request.letter)
                there = any(map(self.is_out, ids)) or any(map(life.has_row, ids))
                assert there, f"{record.dedup_id} was answered with success and is nowhere"

    def is_out(self, dedup_id: str) -> bool:
        """Whether the broker has the record, or has refused it out of the spool: then it is a dead letter."""
        return dedup_id in self.letters or self.broker.copies[dedup_id] > 0

    def go_on(self, seconds: float = 0.0) -> None:
        """Let time pass; see to it that the power comes back, and a bridge with a failed disk is restarted."""
        until = self.loop.time() + seconds
        while True:
            self.loop.run_until_complete(self._pass(until - self.loop.time()))
            if self.disk.dead:
                self.crash(Random(self.lives))
            elif self.life is not None and self.life.spooling.failed.done():
                self.stop()
            if self.loop.time() >= until:
                return

    async def _pass(self, seconds: float) -> None:
        """No longer than to the end of a life."""
        ends = [self.disk.died]
        if self.life is not None:
            ends.append(self.life.spooling.failed)
        if seconds > 0:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def crash(self, random: Random) -> None:
        """The power goes, and comes back."""
        life, self.life = self.life, None
        self.disk.die()
        if life is None:
            self.disk.come_back(random)
        else:
            self._power_back(life, random)
        self.start()

    def _power_back(self, life: Life, random: Random) -> None:
        life.die()
        self._forget_requests()
        self.disk.come_back(random)

    def stop(self) -> None:
        """In good order."""
        life, self.life = self.life, None
        assert life is not None
        stopping = self.loop.create_task(life.stop())
        self._until(stopping)
        if self.disk.dead:
            self._power_back(life, Random(self.lives))
            return
        stopping.result()
        self.loop.settle()
        assert not asyncio.all_tasks(self.loop), "something is left when the bridge has stopped"
        self._forget_requests()

    def _until(self, task: asyncio.Task[None]) -> None:
        """It is done, or the power is gone."""

        async def either() -> None:
            await asyncio.wait([task, self.disk.died], timeout=60, return_when=asyncio.FIRST_COMPLETED)

        self.loop.run_until_complete(either())
        assert task.done() or self.disk.dead, "it neither starts nor stops"

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback's fault; what the garbage collector finds comes at any time, and would repeat at another."""
        if "handle" in context and self.life is not None and not self.disk.dead:
            self.faults.append(context.get("exception") or AssertionError(context["message"]))

    def _forget_requests(self) -> None:
        for request in self.requests:
            request.over = True

    def close(self) -> None:
        """Whatever state it is in."""
        if self.life is not None:
            self.disk.die()
            self.life.die()
        self.loop.close()


async def _made(world: World) -> Life:
    return Life(world)
