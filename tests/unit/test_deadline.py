"""A delivery's deadline on a clock whose timers come a hair early, as uvloop's do."""

import asyncio
from collections.abc import Iterator

import pytest

from bridge.ingest.deadline import LATE_S, Deadline
from tests.virtual_time import VirtualLoop

EARLY_S = 0.0004


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(early_s=EARLY_S)
    yield made
    made.close()


def on_time(seconds: float) -> object:
    return pytest.approx(seconds, abs=3 * EARLY_S)


def test_without_a_publish_the_deadline_ends_the_delivery(loop: VirtualLoop) -> None:
    answered: list[Deadline] = []

    async def deliver() -> None:
        with Deadline(0.2, answered.append):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(deliver())
    assert loop.time() < 0.2
    assert answered == []


def test_a_publish_on_its_way_goes_on_and_somebody_else_answers(loop: VirtualLoop) -> None:
    answered: list[float] = []

    async def answer() -> None:
        answered.append(loop.time())

    async def deliver() -> None:
        deadline = Deadline(0.2, lambda _: loop.create_task(answer()))
        with deadline:
            deadline.publishing = 1
            await asyncio.sleep(0.5)
        assert deadline.missed

    loop.run_until_complete(deliver())
    assert answered == [on_time(0.2)]
    assert loop.time() == on_time(0.5)


def test_what_is_late_ends_once_its_time_is_up(loop: VirtualLoop) -> None:
    async def deliver() -> None:
        deadline = Deadline(0.2, lambda _: loop.create_task(asyncio.sleep(0)))
        with deadline:
            deadline.publishing = 1
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(deliver())
    assert loop.time() == on_time(0.2 + LATE_S)


def test_what_may_not_be_late_ends_at_the_deadline(loop: VirtualLoop) -> None:
    async def deliver() -> None:
        deadline = Deadline(0.2, lambda _: None)
        with deadline:
            deadline.publishing = 1
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(deliver())
    assert loop.time() == on_time(0.2)


def test_what_is_late_can_be_ended(loop: VirtualLoop) -> None:
    async def deliver() -> None:
        deadline = Deadline(0.2, lambda _: loop.create_task(asyncio.sleep(0)))
        loop.call_later(1, deadline.end)
        with deadline:
            deadline.publishing = 1
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(deliver())
    assert loop.time() == on_time(1)
