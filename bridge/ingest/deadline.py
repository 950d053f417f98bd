"""A delivery's deadline: the answer is never later, but its publish may go on while an equal delivery waits for it."""

import asyncio
from collections.abc import Callable
from types import TracebackType

__all__ = ["Deadline"]


class Deadline:
    """One delivery's: `with` it around what must be done in time, inside one task.

    As `asyncio.timeout`, which cannot give a task more time and have it answered for in time all the same. Whoever
    delivers first publishes in its own task: a task of the publish's own would cost 4 µs per delivery, for the sake of
    a case that hardly ever happens. In that case the task is given more time, and somebody else answers.

    Attributes:
        at: when the answer is due, by the loop's clock; once it is missed, when the delivery ends.
        missed: it was given by somebody else; the delivery goes on for others and must not answer again.
        late_answer: then, what gives it: to be awaited before the delivery ends.
    """

    __slots__ = (
        "_answer",
        "_args",
        "_cancelled",
        "_cancelled_before",
        "_loop",
        "_task",
        "_timer",
        "_until",
        "at",
        "late_answer",
        "missed",
    )

    _task: asyncio.Task[object]
    _timer: asyncio.TimerHandle

    def __init__(self, seconds: float, answer: Callable[..., asyncio.Task[None] | None], *args: object) -> None:
        """From now on.

        Args:
            seconds: until the answer is due.
            answer: called then if the delivery goes on for others; must not wait, may return a task that answers.
            args: its arguments.
        """
        self._loop = asyncio.get_running_loop()
        self.at = self._until = self._loop.time() + seconds
        self._answer = answer
        self._args = args
        self.missed = self._cancelled = False
        self.late_answer: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a delivery is handled in a task
        self._task = task
        self._cancelled_before = task.cancelling()
        self._timer = self._loop.call_at(self.at, self._expire)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Turn our own cancellation, and no other, into TimeoutError."""
        self._timer.cancel()
        if self._cancelled and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def lend(self, until: float) -> bool:
        """Let the delivery go on until then, for another one that waits for the same record.

        Returns:
            False where it is too late: the delivery's own time is up. So nobody can keep it going for ever.
        """
        if self.missed or self._cancelled:
            return False
        self._until = max(self._until, until)
        return True

    def _expire(self) -> None:
        # Not by the clock: uvloop's timers have whole milliseconds, and may come a hair before their time.
        if self._until > self.at:
            self.missed = True
            self.at = self._until
            self._timer = self._loop.call_at(self.at, self._expire)
            self.late_answer = self._answer(*self._args)
        else:
            self._cancelled = True
            self._task.cancel()
