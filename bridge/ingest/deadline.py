"""A delivery's deadline: the answer is never later, but its publish may go on while an equal delivery waits for it."""

import asyncio
from collections.abc import Callable

__all__ = ["Deadline"]


class Deadline:
    """One delivery's.

    Whoever delivers first publishes in its own task: a task of the publish's own would cost 4 µs per delivery, for the
    sake of a case that hardly ever happens. In that case the task is given more time, and somebody else answers.

    Attributes:
        missed: the answer has been given; the delivery goes on for others and must not answer again.
    """

    __slots__ = ("_answer", "_timeout", "_timer", "missed")

    _timeout: asyncio.Timeout

    def __init__(self, answer: Callable[[], None]) -> None:
        """Not yet running.

        Args:
            answer: called at the deadline if the delivery goes on for others; must not wait.
        """
        self._answer = answer
        self._timer: asyncio.TimerHandle | None = None
        self.missed = False

    def within(self, seconds: float) -> asyncio.Timeout:
        """For `async with`: what must be done by the deadline. Once."""
        self._timeout = asyncio.timeout(seconds)
        return self._timeout

    @property
    def at(self) -> float:
        """When the answer is due, by the loop's clock."""
        return self._when() if self._timer is None else self._timer.when()

    def lend(self, until: float) -> bool:
        """Let the delivery go on until then, for another one that waits for the same record.

        Returns:
            False where it is too late: the delivery's own time is up. So nobody can keep it going for ever.
        """
        if self.missed or self._timeout.expired():
            return False
        if until > self._when():
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_at(self._when(), self._miss)
            self._timeout.reschedule(until)
        return True

    def end(self) -> None:
        """The delivery is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _when(self) -> float:
        when = self._timeout.when()
        assert when is not None  # noqa: S101 -- `within` gives it a time
        return when

    def _miss(self) -> None:
        self.missed = True
        self._answer()
