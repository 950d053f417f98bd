"""From the spool to the broker: in order per lane, a few lanes at a time, and never harder than a broker bears.

A lane is a topic and a key. Its rows go to the publisher in runs, which keeps their order; the next run only when the
one before was acknowledged. Lanes go side by side.

A topic whose publish failed rests, and then one row of one lane tries; the others follow when that one got through.
What one failure in the middle of a run leaves behind is published after the rows of that run which got through.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from bridge.errors import PublishError, RecordRefused, SpoolError
from bridge.publishers.base import Record
from bridge.spool.detour import Holds
from bridge.spool.model import Lane, Row
from bridge.spool.spool import Spool
from bridge.telemetry.drain_facts import DrainFacts

__all__ = ["Drain"]

_LANES_AT_ONCE = 64
_ROWS_AT_ONCE = 32  # of one lane, before another one gets its turn
# Far longer than any broker takes that works; the publishers notice a dead one sooner.
_PATIENCE_S = 30.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 2.0
_STOP_S = 1.0


class _Topic:
    """The lanes of one topic that wait for their turn."""

    __slots__ = ("active", "lanes", "not_before", "pause_s")

    def __init__(self) -> None:
        self.lanes: dict[Lane, None] = {}
        self.active = 0
        self.pause_s = 0.0  # above 0: the last publish failed
        self.not_before = 0.0

    def may_start(self, now: float) -> bool:
        if not self.lanes or now < self.not_before:
            return False
        return self.pause_s == 0 or not self.active  # after a failure one lane tries for all


class Drain:
    """Publishes what the spool has, as long as it runs."""

    def __init__(
        self,
        spool: Spool,
        publish: Callable[[Record], Awaitable[None]],
        holds: Holds,
        facts: DrainFacts,
        *,
        rate: float,
        refused: Callable[[Row, RecordRefused], Awaitable[None]] | None = None,
    ) -> None:
        """Wire.

        Args:
            spool: open; its lanes of now are the first to be drained.
            publish: the publisher's.
            holds: rows to be left alone for now.
            facts: told what becomes of rows.
            rate: records per second at most, so that a broker that has just come back is not overrun.
            refused: takes a record that the broker will never take; raises PublishError where it cannot now. None: such
                a row stays until the next start.
        """
        self._spool = spool
        self._publish = publish
        self._holds = holds
        self._facts = facts
        self._refused = refused
        self._pace = _Pace(rate)
        self._topics: dict[str, _Topic] = {}
        self._active: dict[Lane, asyncio.Task[None]] = {}
        self._turns: deque[str] = deque()  # topics, whose turn is next
        self._woken: set[Lane] = set()  # while active
        self._gone: set[int] = set()  # seqs of rows that are published, and whose delete is not through
        self._passed: dict[Lane, int] = {}  # up to this seq the lane has nothing else
        self._wakeup = asyncio.Event()
        self._stopping = False
        self.wake(spool.lanes)

    def wake(self, lanes: Iterable[Lane]) -> None:
        """These lanes may have rows that can be published now."""
        for lane in lanes:
            if lane in self._active:
                self._woken.add(lane)
            else:
                self._topic(lane[0]).lanes[lane] = None
        self._wakeup.set()

    async def run(self) -> None:
        """Drain until cancelled; then what is on its way may end within a moment."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wakeup.clear()
                self._start_lanes(loop.time())
                next_at = self._next_at()
                timer = None if next_at is None else loop.call_at(next_at, self._wakeup.set)
                await self._wakeup.wait()
                if timer is not None:
                    timer.cancel()
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self._stopping = True
        tasks = list(self._active.values())
        if tasks:
            _done, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    # ---- whose turn it is

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic()
            self._turns.append(name)
        return topic

    def _start_lanes(self, now: float) -> None:
        idle = 0
        while self._turns and idle < len(self._turns) and len(self._active) < _LANES_AT_ONCE:
            name = self._turns[0]
            self._turns.rotate(-1)
            topic = self._topics[name]
            if not topic.may_start(now):
                idle += 1
                continue
            idle = 0
            lane = next(iter(topic.lanes))
            del topic.lanes[lane]
            topic.active += 1
            self._active[lane] = asyncio.create_task(self._drain_lane(lane, topic), name="spool-lane")

    def _next_at(self) -> float | None:
        """When the next topic has rested enough; None: something else will wake us."""
        if len(self._active) >= _LANES_AT_ONCE:
            return None
        resting = [
            topic.not_before for topic in self._topics.values() if topic.lanes and topic.pause_s and not topic.active
        ]
        return min(resting, default=None)

    # ---- a lane

    async def _drain_lane(self, lane: Lane, topic: _Topic) -> None:
        again = False
        try:
            again = await self._publish_rows(lane, topic)
        except SpoolError as error:
            self._facts.failed(lane[0], str(error))  # fatal, and told by the spool itself
        except Exception as error:  # noqa: BLE001 -- a drain that dies silently would lose what it is for
            self._facts.fault(error)
            self._rest(topic)
            again = True
        finally:
            topic.active -= 1
            del self._active[lane]
            if again or lane in self._woken:
                self._woken.discard(lane)
                topic.lanes[lane] = None
            self._wakeup.set()

    async def _publish_rows(self, lane: Lane, topic: _Topic) -> bool:
        """Whether there may be more to do."""
        rows = await self._next_rows(lane)
        run: list[Row] = []
        for row in rows:
            record = row.entry.record
            if record in self._holds:
                if not await self._publish_run(run, topic):
                    return True
                run = []
                if self._holds.waits(record):
                    return False  # whoever ends the hold wakes us
                if self._holds.forget(record):
                    self._facts.acknowledged_late()
                    self._let_go(row)
                    continue
            run.append(row)
            if topic.pause_s and not await self._publish_run([run.pop()], topic):
                return True
        if not await self._publish_run(run, topic):
            return True
        if lane in self._spool.lanes:
            return bool(rows)  # without rows: those it counts are still being written, or nobody takes them
        self._passed.pop(lane, None)
        return False

    async def _next_rows(self, lane: Lane) -> list[Row]:
        """Those that are not done with; none: there are no more."""
        while True:
            rows = await self._spool.read(lane, _ROWS_AT_ONCE, after=self._passed.get(lane, 0))
            fresh = [row for row in rows if row.seq not in self._gone] if self._gone else rows
            if fresh or not rows:
                return fresh
            self._passed[lane] = rows[-1].seq  # those that nobody takes stay, and may be many

    async def _publish_run(self, run: Sequence[Row], topic: _Topic) -> bool:
        """Hand rows to the publisher, in order; whether all are done with.

        All at once: a publisher keeps the order of a key, and one row a round trip would let a busy lane grow for ever.
        What has failed by then lets none of the others begin.
        """
        if not run:
            return True
        if self._stopping:
            return False
        failed = False

        async def publish_in_turn(row: Row) -> bool:
            nonlocal failed
            if failed:
                return False
            is_done = await self._publish_row(row, topic)
            failed = failed or not is_done
            return is_done

        await self._pace.turn(len(run))
        done = await asyncio.gather(*map(publish_in_turn, run), return_exceptions=True)
        for fault in done:
            if isinstance(fault, BaseException):
                raise fault
        return all(done)

    def _let_go(self, row: Row) -> None:
        self._gone.add(row.seq)
        self._spool.delete([row]).add_done_callback(partial(self._deleted, row.seq))

    def _deleted(self, seq: int, deleted: "asyncio.Future[None]") -> None:
        if deleted.cancelled() or deleted.exception() is not None:
            return  # the spool has failed, or is closed: the row is published again at the next start
        self._gone.discard(seq)

    async def _publish_row(self, row: Row, topic: _Topic) -> bool:
        """Whether the row is done with."""
        record = row.entry.record
        try:
            async with asyncio.timeout(_PATIENCE_S):
                try:
                    await self._publish(record)
                except RecordRefused as refusal:
                    if self._refused is None:
                        raise
                    await self._refused(row, refusal)
        except RecordRefused as refusal:
            self._set_aside(row, refusal)
            return False
        except (PublishError, TimeoutError) as error:
            self._failed(topic, row, error)
            return False
        if topic.pause_s:
            topic.pause_s = topic.not_before = 0.0
            self._facts.recovered(record.topic)
            self._wakeup.set()
        self._facts.drained(record.topic)
        self._let_go(row)
        return True

    def _set_aside(self, row: Row, refusal: RecordRefused) -> None:
        """Nobody takes the row, not even as a dead letter: it stays, since it was answered with success.

        Its lane goes on without it.
        """
        self._gone.add(row.seq)
        self._facts.refused(row.entry.record.topic, str(refusal))

    def _failed(self, topic: _Topic, row: Row, error: Exception) -> None:
        maybe_stored = isinstance(error, TimeoutError) or getattr(error, "maybe_stored", False)
        if maybe_stored:
            self._facts.ambiguous(row.entry.source)
        if not topic.pause_s:
            reason = str(error) or f"no acknowledgement within {_PATIENCE_S:g} s"
            self._facts.failed(row.entry.record.topic, reason)
        self._rest(topic)

    def _rest(self, topic: _Topic) -> None:
        if asyncio.get_running_loop().time() < topic.not_before:
            return  # of one run many may fail
        topic.pause_s = min(max(topic.pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        topic.not_before = asyncio.get_running_loop().time() + topic.pause_s


class _Pace:
    """A token bucket of a quarter of a second."""

    def __init__(self, rate: float) -> None:
        self._interval_s = 1 / rate
        self._burst_s = 0.25
        self._free_at = 0.0

    async def turn(self, records: int) -> None:
        """Return when so many records may go."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - self._burst_s) + records * self._interval_s
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
