"""The engine of `send`: posts at planned times, and again by the provider's retry schedule.

Open loop: with a rate, each request has its planned time, whatever became of those before it, and its latency counts
from then. A bridge that stands still for a second shows as many slow requests, not as one (coordinated omission).
Times are counted from the beginning, so that sleeping a little too long each time adds up to nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from bridge.cli.bodies import Body, Supply
from bridge.cli.tally import Answer, Tally

__all__ = ["Plan", "Sender", "Tell"]

Post = Callable[[Body], Awaitable[Answer]]
Tell = Callable[[Body, Answer, float, float | None], None]
"""Body, answer, latency in seconds, and how many seconds until it is tried again, if it is."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much, how fast.

    Attributes:
        count: how many bodies; None: no limit but the duration.
        duration_s: how long to begin new ones; None: no limit but the count.
        rate: new ones a second; None: as soon as one of `concurrency` is done.
        concurrency: the most under way at once.
        retry_plan_s: after a failure, seconds until each further attempt.
    """

    count: int | None
    duration_s: float | None = None
    rate: float | None = None
    concurrency: int = 1
    retry_plan_s: tuple[float, ...] = ()

    @property
    def total(self) -> int | None:
        """How many bodies it will be, where that is known before."""
        if self.rate is None or self.duration_s is None:
            return self.count
        by_duration = max(1, round(self.rate * self.duration_s))
        return by_duration if self.count is None else min(self.count, by_duration)


class Sender:
    """Runs one plan.

    Attributes:
        waiting: failed requests whose next attempt has not come yet.
    """

    def __init__(self, plan: Plan, supply: Supply, post: Post, tally: Tally, tell: Tell | None = None) -> None:
        self._plan = plan
        self._supply = supply
        self._post = post
        self._tally = tally
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(plan.concurrency)
        self._stop = asyncio.Event()
        self.waiting = 0

    def stop(self) -> None:
        """Begin nothing new. What is under way is waited for, what waits for its next attempt has failed."""
        self._stop.set()

    async def run(self) -> None:
        """Return when each body has succeeded or failed for good."""
        turns = self._turns()
        self._tally.begin()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.concurrency):
                group.create_task(self._work(turns, group))

    def _turns(self) -> Iterator[tuple[int, float]]:
        """Number and planned time of each body. Shared by the workers, so each comes once."""
        plan, began = self._plan, self._loop.time()
        number = 0
        while not self._stop.is_set() and (plan.total is None or number < plan.total):
            now = self._loop.time()
            if plan.rate is None and plan.duration_s is not None and now - began >= plan.duration_s:
                return
            yield number, now if plan.rate is None else began + number / plan.rate
            number += 1

    async def _work(self, turns: Iterator[tuple[int, float]], group: asyncio.TaskGroup) -> None:
        for number, due in turns:
            if not await self._wait_until(due):
                return
            await self._attempt(self._supply[number], due, 0, group)

    async def _attempt(self, body: Body, due: float, attempt: int, group: asyncio.TaskGroup) -> None:
        async with self._slots:
            answer = await self._post(body)
        latency_s = self._loop.time() - due
        self._tally.note(answer, latency_s=latency_s, first=attempt == 0)
        pause_s = None
        if not self._tally.succeeded(answer):
            if attempt < len(self._plan.retry_plan_s) and not self._stop.is_set():
                pause_s = self._plan.retry_plan_s[attempt]
                group.create_task(self._again(body, self._loop.time() + pause_s, attempt + 1, group))
            else:
                self._tally.failed += 1
        if self._tell is not None:
            self._tell(body, answer, latency_s, pause_s)

    async def _again(self, body: Body, due: float, attempt: int, group: asyncio.TaskGroup) -> None:
        """The same bytes once more, without holding up new ones meanwhile."""
        self.waiting += 1
        goes_on = await self._wait_until(due)
        self.waiting -= 1
        if goes_on:
            await self._attempt(body, due, attempt, group)
        else:
            self._tally.failed += 1

    async def _wait_until(self, due: float) -> bool:
        """False if it was stopped meanwhile."""
        delay_s = due - self._loop.time()
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stop.wait()
        return not self._stop.is_set()
