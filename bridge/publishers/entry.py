"""A record under way: what both publishers' outboxes move about."""

import asyncio
from typing import Any

from bridge.errors import PublishError

__all__ = ["Entry"]


class Entry:
    """A record under way, and the future its caller waits on. Brokers add the record's bytes.

    Attributes:
        token: its place in the order of acceptance.
        topic: where it goes.
        future: gets the broker's answer, or the error.
        home: the dict that holds it now, under its token.
        losses: how many links ended while it was on its way.
    """

    __slots__ = ("future", "home", "losses", "token", "topic")

    def __init__(self, token: int, topic: str, future: asyncio.Future[Any]) -> None:
        self.token = token
        self.topic = topic
        self.future = future
        self.home: dict[int, Any] = _NOWHERE
        self.losses = 0

    def put(self, home: dict[int, Any]) -> None:
        """Move to another holder."""
        self.home.pop(self.token, None)
        home[self.token] = self
        self.home = home

    def fail(self, error: PublishError) -> None:
        """Give its caller an error."""
        error.maybe_stored |= self.losses > 0
        self.home.pop(self.token, None)
        if not self.future.done():
            self.future.set_exception(error)


_NOWHERE: dict[int, Any] = {}
