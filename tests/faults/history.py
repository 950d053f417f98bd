"""What was done and what was found: the provider's log of every event, and what the topics held at the end."""

import msgspec

__all__ = ["CUT", "REFUSED", "Attempt", "Delivery", "Read"]

REFUSED = 0
"""Nobody listened: nothing was sent."""

CUT = -1
"""Sent, and the connection ended without an answer, or none came in the provider's time."""

_SUCCESS = 200  # exactly: another 2xx is no success for Chatlevel


class Attempt(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        sent: seconds, of one clock for all.
        ended: when the answer was there, or its absence.
        status: of HTTP; else `REFUSED` or `CUT`.
        code: the word of our error, for the figures.
    """

    sent: float
    ended: float
    status: int
    code: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the provider forgets the event now."""
        return self.status == _SUCCESS

    @property
    def answered(self) -> bool:
        """Whether there was an answer of any kind."""
        return self.status > 0


class Delivery(msgspec.Struct):
    """One event, and all that the provider did about it.

    Attributes:
        id: unique.
        key: what order is kept for: the device.
        counter: 0, 1, … for each key, in the order of the first attempts.
        attempts: in order of time.
        given_up: the plan of retries is used up.
    """

    id: str
    key: str
    counter: int
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    given_up: bool = False

    @property
    def acknowledged_at(self) -> float | None:
        """When success was answered; None: never."""
        return self.attempts[-1].ended if self.attempts and self.attempts[-1].succeeded else None


class Read(msgspec.Struct, frozen=True):
    """One record as a consumer finds it: what identifies it, out of its content."""

    id: str
    key: str
    counter: int
