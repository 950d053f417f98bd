"""What the supervisors of all brokers share: pauses between attempts, and the moment that is not yet an outage."""

import asyncio
import random
from collections.abc import Callable

__all__ = ["Backoff", "Grace"]

# Callers wait so long for a link to come back; after that an outage is an outage, and they are told at once.
_GRACE_S = 1.0


class Backoff:
    """Pauses between attempts: doubling, jittered so that replicas do not come in step."""

    def __init__(self, first_s: float = 0.1, longest_s: float = 5.0) -> None:
        self._first_s = self._pause_s = first_s
        self._longest_s = longest_s

    def reset(self) -> None:
        """It worked."""
        self._pause_s = self._first_s

    def next(self) -> float:
        """The pause before the next attempt, seconds."""
        pause, self._pause_s = self._pause_s, min(self._pause_s * 2, self._longest_s)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 -- no secret


class Grace:
    """The moment after a link ended.

    Attributes:
        over: it has passed without a new link.
    """

    def __init__(self, on_over: Callable[[], None]) -> None:
        self._on_over = on_over
        self._timer: asyncio.TimerHandle | None = None
        self.over = False

    def begin(self) -> None:
        """There is no link from now on, or still none."""
        if self._timer is not None:
            return
        self._timer = asyncio.get_running_loop().call_later(_GRACE_S, self._pass)

    def end(self) -> None:
        """There is one, or nobody wants one any more."""
        self.over = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pass(self) -> None:
        self.over = True
        self._on_over()
