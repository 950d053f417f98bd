"""A deduplication table on a virtual clock, with deliveries as the entrance makes them and a broker that obeys."""

import asyncio
from datetime import UTC, datetime

from bridge.errors import PublishError
from bridge.events.messaging import CALL
from bridge.events.model import Event
from bridge.ingest.deadline import LATE_S, Deadline
from bridge.ingest.dedup import DedupTable
from bridge.ingest.pipeline import Prepared
from bridge.ingest.seen import SeenIds
from bridge.publishers.base import Record
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics
from tests.virtual_time import VirtualLoop

__all__ = ["DEADLINE_S", "WINDOW_S", "Broker", "Delivery", "Space", "event"]

DEADLINE_S = 3.0
WINDOW_S = 4500.0
_NOW = datetime(2026, 3, 2, tzinfo=UTC)


def event(name: str, *topics: str) -> Prepared:
    """An event and its records: one for each topic, which is `t` if none is given."""
    made = Event(id=name, type=CALL, device="1", time=_NOW, recordedtime=_NOW, data=CALL)  # type: ignore[arg-type]
    records = [Record(topic, "1", b"", {}, f"{name}@{topic}") for topic in topics or ("t",)]
    return Prepared(made, CALL.name, tuple(records))


class Broker:
    """Publishes wait until the test answers them.

    Attributes:
        under_way: dedup id -> what its caller waits on.
        handed_over: dedup ids in order.
    """

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self.handed_over: list[str] = []

    async def publish(self, item: Record) -> None:
        assert item.dedup_id not in self.under_way, "two publishes of one record at once"
        self.handed_over.append(item.dedup_id)
        future = self.under_way[item.dedup_id] = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            del self.under_way[item.dedup_id]


class Delivery:
    """One request, as the entrance makes it.

    Attributes:
        ids: dedup ids of its records.
        answer: "success", the error's name, or "late"; None until then.
        answered_at: when.
    """

    def __init__(self, space: "Space", prepared: list[Prepared]) -> None:
        self.ids = [record.dedup_id for item in prepared for record in item.records]
        self.began = space.loop.time()
        self.answer: str | None = None
        self.answered_at = -1.0
        self._space = space
        self.task = space.loop.create_task(self._run(prepared))

    async def _run(self, prepared: list[Prepared]) -> None:
        self._deadline = Deadline(DEADLINE_S, self._answer_late)
        try:
            with self._deadline:
                await self._space.table.publish_all(prepared, self._deadline)
        except (PublishError, TimeoutError) as error:
            self._answer(type(error).__name__)
        else:
            self._answer("success")

    def _answer_late(self, _deadline: Deadline) -> asyncio.Task[None]:
        self._answer("late")
        return self._space.loop.create_task(asyncio.sleep(0))

    def _answer(self, answer: str) -> None:
        if self.answer is None:
            assert answer == "late" or not self._deadline.missed
            self.answer, self.answered_at = answer, self._space.loop.time()
        else:
            assert self._deadline.missed, "answered twice"


class Space:
    """The table, and what it tells.

    Attributes:
        published: events that have become durable, in order.
    """

    def __init__(self, *, max_ids: int = 10_000) -> None:
        self.loop = VirtualLoop()
        self.broker = Broker()
        self.metrics = Metrics()
        self.published: list[str] = []
        self._deliveries: list[Delivery] = []
        facts = Facts(self.metrics).source("shop", types=(), topics=("t", "audit"), outcomes=())
        self.seen = SeenIds(window_s=WINDOW_S, max_ids=max_ids, on_forgotten=facts.forgotten, clock=self.loop.time)
        self.table = DedupTable(
            self.broker.publish,
            self.seen,
            facts,
            on_published=lambda items: self.published.extend(item.event.id for item in items),
        )

    def post(self, *prepared: Prepared) -> Delivery:
        delivery = Delivery(self, list(prepared))
        self._deliveries.append(delivery)
        self.loop.settle()
        return delivery

    def close(self) -> None:
        """Let all deadlines pass; nothing is left over, and no delivery saw what must not be."""
        self.loop.pass_time(2 * LATE_S)
        assert not self.table._in_flight
        assert not self.table._awaited
        assert not asyncio.all_tasks(self.loop)
        for delivery in self._deliveries:
            if not delivery.task.cancelled() and isinstance(fault := delivery.task.exception(), AssertionError):
                raise fault
        self.loop.close()

    def ack(self, dedup_id: str) -> None:
        self.broker.under_way[dedup_id].set_result(None)
        self.loop.settle()

    def fail(self, dedup_id: str, error: Exception) -> None:
        self.broker.under_way[dedup_id].set_exception(error)
        self.loop.settle()

    def count(self, name: str) -> float:
        return self.metrics.value(f"bridge_{name}_total", "shop")

    @property
    def duplicates(self) -> float:
        return self.count("records_duplicate")

    @property
    def ambiguous(self) -> float:
        return self.count("records_ambiguous")
