"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do: hours in no time."""

import asyncio

__all__ = ["VirtualLoop"]


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code that waits for timers and for futures that the test itself resolves, not for anything outside.

    With `early_s` timers come so much before their time, as those of uvloop may.
    """

    def __init__(self, *, early_s: float = 0.0) -> None:
        self._now = 0.0
        self._early_s = early_s
        super().__init__()
        if early_s:
            self._clock_resolution = 2 * early_s

    def time(self) -> float:
        return self._now

    def settle(self) -> None:
        """Run what can run now, without any time passing."""
        self.run_until_complete(_turns())

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the timers in it fire."""
        self.run_until_complete(asyncio.sleep(seconds))
        self.settle()

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            # Not the first one if it is cancelled: asyncio drops it, and would wait for the next in real time.
            due = min((timer.when() for timer in self._scheduled if not timer.cancelled()), default=None)  # type: ignore[attr-defined]
            if due is not None:
                self._now = max(self._now, due - self._early_s)
        super()._run_once()  # type: ignore[misc]


async def _turns() -> None:
    for _ in range(12):  # more than any chain of callbacks here has
        await asyncio.sleep(0)
