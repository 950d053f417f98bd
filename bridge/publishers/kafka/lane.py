"""One partition's records, in order: those that wait, and the one batch that is on its way.

One batch at a time keeps the order whatever is retried, and what comes meanwhile makes the next batch: the busier, the
larger. The task is the partition's, not the record's.
"""

import asyncio
from typing import Protocol

from aiokafka.producer.message_accumulator import BatchBuilder

from bridge.publishers.kafka.link import Link
from bridge.publishers.kafka.records import BATCH_OVERHEAD_BYTES, MAX_BATCH_BYTES, Entry

__all__ = ["Lane", "LaneOwner"]


class LaneOwner(Protocol):
    """Who is told what became of batches."""

    def batch_limit(self, topic: str) -> int:
        """How many bytes a batch may have; 0: one record each."""
        ...

    def acknowledged(self, lane: "Lane") -> None:
        """A batch is stored; its callers know."""
        ...

    def failed(self, lane: "Lane", error: Exception) -> None:
        """A batch failed for good; `lane.batch` has its records, and nothing more will be sent on this lane."""
        ...


class Lane:
    """The records of one partition on one link.

    Attributes:
        topic, partition: which.
        queue: what waits.
        batch: what is on its way and still has callers.
        batch_count: how many records the batch has, callers or not.
        sent_at: when the batch left, by the loop's clock; None: nothing is on its way.
        failed_at: when a batch failed for good: nothing more is sent before the next link.
        stalled: the batch takes too long: nothing more is taken until it is answered.
    """

    def __init__(self, link: Link, topic: str, partition: int, owner: LaneOwner, *, linger_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._owner = owner
        self._linger_s = linger_s
        self._filled: asyncio.Future[None] | None = None
        self._finishing = False
        self.topic = topic
        self.partition = partition
        self.queue: dict[int, Entry] = {}
        self.batch: dict[int, Entry] = {}
        self.batch_count = 0
        self.sent_at: float | None = None
        self.failed_at: float | None = None
        self.stalled = False
        self.task = self._loop.create_task(self._run(), name="kafka-lane")

    def put(self, entry: Entry) -> None:
        """Take a record, behind all others."""
        entry.put(self.queue)
        if self._filled is not None and not self._filled.done():
            self._filled.set_result(None)

    def finish(self) -> None:
        """Send no further batch; the task ends when the one under way is answered."""
        self._finishing = True
        if self.sent_at is None:
            self.task.cancel()

    async def _run(self) -> None:
        while not self._finishing:
            if not self.queue:
                self._filled = self._loop.create_future()
                await self._filled
            if self._linger_s:
                await asyncio.sleep(self._linger_s)
            try:
                await self._send()
            except Exception as error:  # noqa: BLE001 -- the library raises what its parts do; each has a verdict
                self.sent_at, self.failed_at = None, self._loop.time()
                self._owner.failed(self, error)
                return

    async def _send(self) -> None:
        batch = self._link.new_batch()
        self._fill(batch)
        if not self.batch:
            return  # all callers have gone
        batch.close()
        self.sent_at = self._loop.time()
        await self._link.send(batch, self.topic, self.partition)
        self._settle()

    def _fill(self, batch: BatchBuilder) -> None:
        limit = min(self._owner.batch_limit(self.topic), MAX_BATCH_BYTES)
        size = BATCH_OVERHEAD_BYTES
        self.batch = {}
        for entry in list(self.queue.values()):
            size += entry.size_bytes - BATCH_OVERHEAD_BYTES
            if self.batch and size > limit:
                break
            if batch.append(timestamp=None, key=entry.key, value=entry.value, headers=entry.headers) is None:
                break  # it is full: what it did not take would count as stored
            entry.put(self.batch)
        self.batch_count = len(self.batch)

    def _settle(self) -> None:
        """The batch is stored."""
        for entry in self.batch.values():
            if not entry.future.done():
                entry.future.set_result(None)
        self.batch = {}
        self.sent_at = None
        self._owner.acknowledged(self)
