"""A delivery's deadline: the answer is never later, but a publish that is on its way is not called back by it."""

import asyncio
from collections.abc import Callable
from types import TracebackType

__all__ = ["LATE_S", "Deadline"]

# A publish without an answer may still be answered: a frozen broker that goes on has stored it. For so long it is
# waited for, and an equal delivery joins it; then it is unknown. Longer than brokers take to notice a dead peer.
LATE_S = 60.0


class Deadline:
    """One delivery's: `with` it around what must be done in time, inside one task.

    As `asyncio.timeout`, which can only end what it guards. Whoever delivers publishes in its own task: a task of the
    publish's own would cost 4 µs per delivery, for the sake of a case that hardly ever happens. In that case the task
    is given more time, and somebody else answers.

    Attributes:
        publishing: how many publishes of its own are on their way; none: the deadline ends the delivery.
        missed: the answer is given by somebody else; the delivery goes on and must not answer again.
        late_answer: then, what gives it: to be awaited before the delivery ends.
        new: of a delivery with several records, whether each is durable by it; None: it may be missing.
        told: by identity, for a batch may have thousands: what of the delivery was counted as published.
    """

    __slots__ = (
        "_cancelled",
        "_cancelled_before",
        "_due",
        "_loop",
        "_on_missed",
        "_task",
        "_timer",
        "late_answer",
        "missed",
        "new",
        "publishing",
        "told",
    )

    _task: asyncio.Task[object]
    _timer: asyncio.TimerHandle

    def __init__(
        self, seconds: float, on_missed: Callable[["Deadline"], asyncio.Task[None] | None] = lambda _deadline: None
    ) -> None:
        """From now on.

        Args:
            seconds: until the answer is due.
            on_missed: called then if a publish is on its way; must not wait. Gives a task that answers, or None where
                the delivery shall end instead.
        """
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + seconds
        self._on_missed = on_missed
        self.missed = self._cancelled = False
        self.publishing = 0
        self.new: list[bool | None] = []
        self.told: dict[int, object] = {}
        self.late_answer: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a delivery is handled in a task
        self._task = task
        self._cancelled_before = task.cancelling()
        self._timer = self._loop.call_at(self._due, self._expire)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Turn our own cancellation, and no other, into TimeoutError."""
        self._timer.cancel()
        if self._cancelled and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """The time is up now, also for what is late."""
        if not self._cancelled:
            self._timer.cancel()
            self._cancelled = True
            self._task.cancel()

    def _expire(self) -> None:
        if not self.missed and self.publishing:
            self.late_answer = self._on_missed(self)
            if self.late_answer is not None:
                self.missed = True
                self._timer = self._loop.call_later(LATE_S, self.end)
                return
        self.end()
