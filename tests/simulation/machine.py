"""What may happen to a bridge, and what must hold all the same: I1 to I7.

I1: what was answered with success is delivered. I2: copies of a record are bounded by the doubts and restarts that may
have made them. I3: first copies of a key keep the order of acceptance. I4: every answer is in time. I5: memory and
spool are bounded, and empty in the end. I6: when all is well again everything drains, and no task is left. I7: nothing
is called a duplicate unless it is durable somewhere.
"""

import asyncio
import sys
from contextlib import ExitStack
from random import Random
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from bridge.ingest.pipeline import Prepared
from bridge.publishers.base import Record
from tests.simulation.broker import OUTCOMES, Mood
from tests.simulation.world import DEADLINE_S, MAX_IN_FLIGHT, Request, World
from tests.spool.entries import quick_folder
from tests.unit.dedup_space import event

__all__ = ["Bridge"]

_NEW = st.lists(
    st.tuples(st.sampled_from("12"), st.sampled_from([("t",), ("audit",), ("t", "audit")])), min_size=1, max_size=3
)
_SEEDS = st.integers(0, 2**16)
_BODY_S = st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.4])


class Bridge(RuleBasedStateMachine):
    """A bridge with a spool, and its provider."""

    def __init__(self) -> None:
        super().__init__()
        self.undo = ExitStack()
        self.world = World(self.undo.enter_context(quick_folder()))
        self.numbers = 0

    # ---- what happens

    @rule(new=_NEW, copies=st.sampled_from([1, 1, 1, 2]), body_s=_BODY_S)
    def deliver(self, new: list[tuple[str, tuple[str, ...]]], copies: int, body_s: float) -> None:
        """New events, perhaps twice at once."""
        prepared = [self.make(key, topics) for key, topics in new]
        for _ in range(copies):
            self.world.post(*prepared, body_s=body_s)
        self.go_on()

    def make(self, key: str, topics: tuple[str, ...]) -> Prepared:
        self.numbers += 1
        name = f"e{self.numbers}"
        made = event(name, *topics)
        records = tuple(Record(topic, key, name.encode(), {}, f"{name}@{topic}") for topic in topics)
        return Prepared(made.event, made.label, records)

    @precondition(lambda self: self.world.requests)
    @rule(which=st.integers(0, 5), again=st.sampled_from([1, 1, 2]), body_s=_BODY_S)
    def retry(self, which: int, again: int, body_s: float) -> None:
        """One of the last deliveries again."""
        request = self.world.requests[-1 - which % len(self.world.requests)]
        for _ in range(again):
            self.world.post(*request.prepared, body_s=body_s)
        self.go_on()

    @rule(outcomes=st.lists(st.sampled_from(sorted(OUTCOMES)), min_size=1, max_size=4))
    def foresee(self, outcomes: list[str]) -> None:
        """What becomes of the next publishes."""
        self.world.broker.foreseen.extend(outcomes)

    @rule(mood=st.sampled_from(get_args(Mood)))
    def broker(self, mood: Mood) -> None:
        self.world.broker.set_mood(mood)
        self.go_on()

    @rule(seconds=st.sampled_from([0.001, 0.004, 0.1, 0.5, 2.4, 2.6, 11.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.go_on(seconds)

    @rule(how=st.sampled_from(["well", "full", "failing", "slow", "very slow"]))
    def disk(self, how: str) -> None:
        disk = self.world.disk
        disk.full, disk.failing = how == "full", how == "failing"
        disk.latency_s = {"slow": 0.2, "very slow": 2.0}.get(how, 0.002)
        self.go_on()

    @rule(seed=_SEEDS)
    def crash(self, seed: int) -> None:
        self.world.crash(Random(seed))
        self.go_on()

    @rule(writes=st.integers(0, 12))
    def power_cut_in_a_write(self, writes: int) -> None:
        self.world.disk.die_after(writes)

    @rule()
    def restart(self) -> None:
        """In good order, if it runs; else another try."""
        if self.world.life is not None:
            self.world.stop()
        self.world.start()
        self.go_on()

    def go_on(self, seconds: float = 0.0) -> None:
        self.world.go_on(seconds)
        self.check()

    # ---- what must hold

    def check(self) -> None:
        world = self.world
        if world.faults:
            raise world.faults[0]
        now = world.loop.time()
        for request in world.requests:
            if request.answer is None:
                assert request.over or now <= request.began + DEADLINE_S + 1e-3, "I4: no answer in time"
            else:
                assert request.answered_at <= request.began + DEADLINE_S + 1e-3, "I4: answered too late"
            assert request.answer != "internal_error"
        if (life := world.life) is not None:
            assert life.ingest.in_flight <= MAX_IN_FLIGHT, "I5"
            assert len(life.ingest.late) <= MAX_IN_FLIGHT, "I5"
            known = {record.dedup_id for request in world.requests for record in request.records}
            known |= {request.letter for request in world.requests}
            assert sum(life.spooling.spool.lanes.values()) <= len(known), "I5: more rows than records"
            assert len(life.spooling._holds) <= len(known), "I5: more holds than records"

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.heal()
        finally:
            self.world.close()
            self.undo.close()

    def heal(self) -> None:
        """All is well again: everything is there now."""
        world = self.world
        world.broker.foreseen.clear()
        world.broker.set_mood("well")
        world.disk.heal()
        self.go_on(0.01)  # a write that failed just before tells it now, and ends its life
        if world.life is None:
            world.start()
        life = world.life
        assert life is not None, "I6: it does not start on a good disk"
        self.go_on(10.0)
        for _ in range(200):
            self.go_on(1.0)
            if not (life.spooling.spool.lanes or life.requests or life.drain._gone):
                break
        last = world.post(*(self.make(key, ("t", "audit")) for key in "12"))
        self.go_on(2.0)
        assert world.life is life, "I6: it did not keep running"
        assert last.answer == "success", "I6: it takes nothing on a good day"
        self.check_nothing_left(life)
        world.stop()
        self.check_log()

    def check_nothing_left(self, life: Any) -> None:
        spool, holds = life.spooling.spool, life.spooling._holds
        assert not spool.lanes, "I6: the spool does not drain"
        assert not life.store.totals.rows, "I6: rows are left"
        assert not holds._stored, "I5: holds are left"
        assert not holds._topics, "I5: topics are late for ever"
        table = life.table
        for left in (table._in_flight, table._awaited, table._writing, life.drain._gone, life.drain._active):
            assert not left, "I5: records are in flight for ever"
        for left in (life.ingest.late, life.ingest.in_flight, life.requests):
            assert not left, "I5: deliveries are under way for ever"
        names = {task.get_name() for task in asyncio.all_tasks(self.world.loop)} - {"disk"}
        assert names == {"spool-drain"}, f"I6: tasks are left: {names}"

    def check_log(self) -> None:
        world, broker = self.world, self.world.broker
        first: dict[str, int] = {}
        for place, dedup_id in enumerate(broker.log):
            first.setdefault(dedup_id, place)
        accepted = [request for request in world.requests if request.answer == "success"]
        for request in accepted:
            for record in request.records:
                assert world.is_out(record.dedup_id) or world.is_out(request.letter), f"I1: {record.dedup_id} is lost"
        for dedup_id, copies in broker.copies.items():
            bound = 1 + broker.doubts[dedup_id] + world.lives - 1 + broker.own_copies[dedup_id]
            assert copies <= bound, f"I2: {copies} copies of {dedup_id}, where {bound} may be"
        # what was refused may be stored all the same, by a publish that was given up before
        in_order = {dedup_id: place for dedup_id, place in first.items() if dedup_id not in world.letters}
        for request in accepted:
            if not world.is_out(request.letter):
                self.check_order(request, in_order)

    def check_order(self, earlier: Request, first: dict[str, int]) -> None:
        """Records whose first delivery began after this one's success come after it.

        But for those that the drain handed over in one run with it: if it fails then, they are before it.
        """
        begun: dict[str, float] = {}
        for request in self.world.requests:
            for record in request.records:
                begun.setdefault(record.dedup_id, request.began)
        for request in self.world.requests:
            for record in request.records:
                if record.dedup_id not in first or begun[record.dedup_id] <= earlier.answered_at:
                    continue
                for before in earlier.records:
                    if (before.topic, before.key) != (record.topic, record.key) or before.dedup_id not in first:
                        continue
                    if (before.dedup_id, record.dedup_id) not in self.world.broker.at_once:
                        assert first[before.dedup_id] < first[record.dedup_id], (
                            f"I3: {record.dedup_id} is before {before.dedup_id}, which was accepted before it came"
                        )
