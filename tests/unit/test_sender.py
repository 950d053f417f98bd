"""`send`'s engine, on a clock of its own: exact to the millisecond, and done at once."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.cli.bodies import Body, Supply
from bridge.cli.sender import Plan, Sender
from bridge.cli.tally import Answer, Tally
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from tests.stub_provider import StubProvider

OK = Answer(200, ids=("a",))
BUSY = Answer(503, "broker_unavailable", "down")


class _Clockwork(selectors.SelectSelector):
    """Waits for no time but moves the clock by it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Clockwork()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


class Counting(StubProvider):
    """A provider that numbers its bodies."""

    sample_events = ("tick",)

    def __init__(self) -> None:
        super().__init__("counting")
        self.made = 0

    def sample(self, event: str, *, now: datetime) -> bytes:
        self.made += 1
        return f"{event} {self.made}".encode()


Post = Callable[[bytes], Coroutine[Any, Any, Answer]]


class Run:
    """What a plan did: when which body was posted, and the tally."""

    def __init__(self, plan: Plan, behave: Callable[[int], tuple[float, Answer]], stop_at: float | None = None) -> None:
        self.posts: list[tuple[float, bytes]] = []
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            self.tally = runner.run(self._run(plan, behave, stop_at))

    async def _run(self, plan: Plan, behave: Callable[[int], tuple[float, Answer]], stop_at: float | None) -> Tally:
        loop = asyncio.get_running_loop()

        async def post(body: Body) -> Answer:
            took_s, answer = behave(len(self.posts))
            self.posts.append((round(loop.time(), 3), body.content))
            await asyncio.sleep(took_s)
            return answer

        tally = Tally(200)
        supply = Supply(Counting(), (), lines=False)
        sender = Sender(plan, supply, post, tally)
        if stop_at is not None:
            loop.call_later(stop_at, sender.stop)
        await sender.run()
        self.ended = round(loop.time(), 3)
        return tally

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.posts]


def test_a_rate_is_kept_to_the_millisecond_from_first_to_last() -> None:
    run = Run(Plan(count=None, duration_s=10, rate=50, concurrency=4), lambda _: (0.007, OK))
    assert run.times == [round(number / 50, 3) for number in range(500)]
    assert run.tally.report(50)["rate"] == 50
    assert len({content for _, content in run.posts}) == 500


def test_a_bridge_that_stands_still_shows_as_many_slow_requests_not_as_one() -> None:
    """Coordinated omission: at 100/s a second of standstill is a hundred late answers."""
    run = Run(Plan(count=200, rate=100, concurrency=1), lambda number: (1.0 if number == 0 else 0.001, OK))
    latency = run.tally.report(100)["latency_ms"]
    assert latency["max"] == 1000
    assert latency["p50"] > 90
    freely = Run(Plan(count=200, concurrency=1), lambda number: (1.0 if number == 0 else 0.001, OK))
    assert freely.tally.report()["latency_ms"]["p50"] == 1


@pytest.mark.parametrize("event", PROVIDERS["chatlevel"].sample_events)
def test_what_is_made_up_is_another_event_each_time_however_fast(event: str) -> None:
    provider = PROVIDERS["chatlevel"]
    supply, decode, now = Supply(provider, (event,), lines=False), provider.decoder(), datetime.now(UTC)
    ids = {decode(Delivery(supply[number].content, {}, now))[0].id for number in range(500)}
    assert len(ids) == 500


def test_never_more_are_under_way_than_allowed() -> None:
    run = Run(Plan(count=10, rate=1000, concurrency=2), lambda _: (1.0, OK))
    assert run.times == [0.0, 0.001, 1.0, 1.001, 2.0, 2.001, 3.0, 3.001, 4.0, 4.001]


def test_without_a_rate_a_duration_ends_the_sending() -> None:
    run = Run(Plan(count=None, duration_s=1, concurrency=3), lambda _: (0.125, OK))
    assert run.tally.sent == run.tally.accepted == 24
    assert run.ended == 1


def test_a_failure_is_tried_again_at_the_providers_times_with_the_same_bytes() -> None:
    answers = [BUSY, BUSY, BUSY, OK]
    run = Run(Plan(count=1, retry_plan_s=(30, 60, 300, 3600)), lambda number: (0.0, answers[number]))
    assert run.times == [0, 30, 90, 390]
    assert {content for _, content in run.posts} == {b"tick 1"}
    assert (run.tally.sent, run.tally.accepted, run.tally.failed, run.tally.retries) == (1, 1, 0, 3)


def test_a_failure_beyond_the_last_attempt_is_for_good() -> None:
    run = Run(Plan(count=1, retry_plan_s=(1, 2)), lambda _: (0.0, BUSY))
    assert run.times == [0, 1, 3]
    assert (run.tally.accepted, run.tally.failed) == (0, 1)
    assert run.tally.report()["answers"] == [
        {"status": 503, "error": "broker_unavailable", "count": 3, "detail": "down"}
    ]


def test_what_waits_to_be_tried_again_holds_up_nothing() -> None:
    run = Run(Plan(count=3, retry_plan_s=(100,)), lambda number: (0.5, BUSY if number == 0 else OK))
    assert run.times == [0, 0.5, 1.0, 100.5]
    assert (run.tally.accepted, run.tally.failed) == (3, 0)


def test_retries_too_count_among_those_under_way() -> None:
    run = Run(Plan(count=2, retry_plan_s=(0.25,)), lambda number: (1.0, BUSY if number == 0 else OK))
    assert run.times == [0, 1, 2]


def test_stopped_it_waits_for_answers_and_gives_up_what_waits_to_be_tried_again() -> None:
    run = Run(Plan(count=None, duration_s=60, rate=1, concurrency=2, retry_plan_s=(30,)), lambda _: (0.9, BUSY), 3.5)
    assert run.times == [0, 1, 2, 3]
    assert run.ended == 3.9
    assert run.tally.failed == run.tally.sent == 4


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 1, 1, 1)), (10, (5, 9, 10, 10)), (100, (50, 90, 99, 100)), (101, (51, 91, 100, 101))],
)
def test_percentiles_are_latencies_that_were_measured(count: int, expected: tuple[int, ...]) -> None:
    tally = Tally(200)
    for number in range(count, 0, -1):
        tally._latencies_ms.append(number)
    assert tuple(tally.report()["latency_ms"].values()) == expected
