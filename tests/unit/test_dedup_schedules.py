"""The deduplication table under schedules that nobody thought of.

A broker that acknowledges, refuses, stores without an answer or answers late, and deliveries that repeat, overlap and
time out. Hypothesis makes them up, and shows the shortest one that breaks a promise.
"""

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.errors import BrokerUnavailable, RecordRefused
from bridge.ingest.deadline import LATE_S
from tests.unit.dedup_space import DEADLINE_S, WINDOW_S, Delivery, Space, event

_NAMES = st.sampled_from("abcd")
_TOPICS = st.sampled_from([("t",), ("audit",), ("t", "audit")])
_EVENTS = st.builds(lambda name, topics: event(name, *topics), _NAMES, _TOPICS)


class Schedules(RuleBasedStateMachine):
    """What must hold: see the invariants, and the checks where a publish begins and a delivery ends."""

    max_ids = 10_000

    def __init__(self) -> None:
        super().__init__()
        self.space = Space(max_ids=self.max_ids)
        self.deliveries: list[Delivery] = []
        self.copies: Counter[str] = Counter()  # in the broker's log
        self.unknown: Counter[str] = Counter()  # publishes that ended without an answer
        self.acknowledged: Counter[str] = Counter()
        self.last_sight: dict[str, float] = {}

    # ---- what happens

    @rule(prepared=st.lists(_EVENTS, min_size=1, max_size=3))
    def deliver(self, prepared: list[Any]) -> None:
        before = set(self.space.broker.under_way)
        self.deliveries.append(self.space.post(*prepared))
        now = self.space.loop.time()
        for dedup_id in self.deliveries[-1].ids:
            new = dedup_id in self.space.broker.under_way and dedup_id not in before
            if new and dedup_id in self.last_sight and not self.space.count("dedup_ids_forgotten"):
                assert now - self.last_sight[dedup_id] >= WINDOW_S, "published again inside the window"
            elif dedup_id in self.last_sight and dedup_id not in self.space.broker.under_way:
                self.last_sight[dedup_id] = now
        self.check_deliveries()

    @precondition(lambda self: self.space.broker.under_way)
    @rule(data=st.data(), stored=st.booleans())
    def answer(self, data: st.DataObject, stored: bool) -> None:
        """The broker answers one, rightly or with a doubt."""
        dedup_id = data.draw(st.sampled_from(sorted(self.space.broker.under_way)))
        if stored:
            self.copies[dedup_id] += 1
            self.acknowledged[dedup_id] += 1
            self.last_sight[dedup_id] = self.space.loop.time()
            self.space.ack(dedup_id)
        else:
            kind = data.draw(st.sampled_from(["unavailable", "refused", "lost", "stored and lost"]))
            self.fail(dedup_id, kind)
        self.check_deliveries()

    def fail(self, dedup_id: str, kind: str) -> None:
        if kind == "refused":
            self.space.fail(dedup_id, RecordRefused("no"))
            return
        in_doubt = kind != "unavailable"
        self.copies[dedup_id] += kind == "stored and lost"
        self.unknown[dedup_id] += in_doubt
        self.space.fail(dedup_id, BrokerUnavailable("down", maybe_stored=in_doubt))

    @precondition(lambda self: self.space.broker.under_way)
    @rule(data=st.data())
    def store_without_an_answer(self, data: st.DataObject) -> None:
        """Stored, and the acknowledgement is lost: it is waited for, and not for ever."""
        dedup_id = data.draw(st.sampled_from(sorted(self.space.broker.under_way)))
        self.copies[dedup_id] += 1
        waiting = self.space.broker.under_way[dedup_id]
        self.pass_time(1.1 * (DEADLINE_S + LATE_S))
        assert waiting.cancelled(), "a publish goes on for ever"

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.9, 3.0, 30.0, 300.0, 4400.0, 6000.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        before = list(self.space.broker.under_way.items())
        self.space.loop.pass_time(seconds)
        for dedup_id, waiting in before:
            self.unknown[dedup_id] += waiting.cancelled()
        self.check_deliveries()

    # ---- what must hold

    def check_deliveries(self) -> None:
        for delivery in self.deliveries:
            if delivery.answer == "success":
                assert set(delivery.ids) <= self.acknowledged.keys(), (
                    "called durable what the broker never acknowledged"
                )
            if delivery.answer is not None:
                assert delivery.answered_at <= delivery.began + DEADLINE_S + 1e-6, "answered too late"
        self.deliveries = [delivery for delivery in self.deliveries if not delivery.task.done()]

    @invariant()
    def nobody_waits_past_the_deadline(self) -> None:
        now = self.space.loop.time()
        for delivery in self.deliveries:
            assert delivery.answer or now < delivery.began + DEADLINE_S + 1e-6

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.space.seen) <= self.max_ids
        assert len(self.space.table._in_flight) == len(self.space.broker.under_way)

    @invariant()
    def what_may_have_left_a_copy_is_counted(self) -> None:
        assert self.space.ambiguous == self.unknown.total()
        for dedup_id, copies in self.copies.items():
            assert copies <= self.acknowledged[dedup_id] + self.unknown[dedup_id]

    def teardown(self) -> None:
        """Heal: everything that is delivered again now is there, and nothing is left over."""
        self.space.loop.pass_time(2 * LATE_S)
        assert not self.space.broker.under_way
        assert not self.space.table._in_flight
        last = self.space.post(*(event(name, "t", "audit") for name in "abcd"))
        for dedup_id in list(self.space.broker.under_way):
            self.acknowledged[dedup_id] += 1
            self.space.ack(dedup_id)
        assert last.answer == "success"
        self.deliveries = [last]
        self.check_deliveries()
        self.space.close()


class CrowdedSchedules(Schedules):
    """The same with a memory for three ids."""

    max_ids = 3


TestSchedules = Schedules.TestCase
TestCrowdedSchedules = CrowdedSchedules.TestCase
TestSchedules.settings = TestCrowdedSchedules.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
