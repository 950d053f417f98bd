"""A delivery's deadline on a clock whose timers come a hair early, as uvloop's do."""

import asyncio
from collections.abc import Iterator

import pytest

from bridge.ingest.deadline import Deadline
from tests.virtual_time import VirtualLoop

EARLY_S = 0.0004


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(early_s=EARLY_S)
    yield made
    made.close()


def test_a_timer_that_comes_early_is_the_deadline_and_no_loan(loop: VirtualLoop) -> None:
    answered: list[str] = []

    async def deliver() -> None:
        with Deadline(0.2, answered.append, "late"):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(deliver())
    assert loop.time() < 0.2
    assert answered == []


def test_what_is_lent_ends_once_it_is_over_though_the_timer_comes_early(loop: VirtualLoop) -> None:
    answered: list[float] = []

    async def deliver() -> None:
        deadline = Deadline(0.2, lambda: answered.append(loop.time()))
        with deadline:
            assert deadline.lend(0.5)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(deliver())
    assert answered == [pytest.approx(0.2, abs=2 * EARLY_S)]
    assert loop.time() == pytest.approx(0.5, abs=2 * EARLY_S)
