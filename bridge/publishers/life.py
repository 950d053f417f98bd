"""The life of a publisher, whatever its broker: started once, ready when its status says so, closed within seconds.

Not here: how a record gets to the broker (`publish`), which is each broker's own.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import ClassVar, Protocol

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import BrokerHealth
from bridge.publishers.entry import Entry
from bridge.publishers.status import Status

__all__ = ["Life"]

_DRAIN_S = 1.0
_STOP_S = 0.5
# Callers cancel for reasons of their own; so many in a row, without one answer in between, are the broker's.
_MAX_UNANSWERED = 3


class _Outbox(Protocol):
    def hold(self) -> None: ...

    def shut(self, reason: str) -> Sequence[Entry]: ...


class _Supervisor(Protocol):
    async def run(self) -> None: ...

    def look_soon(self) -> None: ...


class Life:
    """What `bridge.publishers.base.Publisher` promises of start, health and close; and of records that are given up.

    A broker's publisher makes status, outbox and supervisor, and adds `publish`.
    """

    kind: ClassVar[str]  # names the tasks
    silence: ClassVar[str]  # why it is not ready when records are not acknowledged in time
    _status: Status
    _outbox: _Outbox
    _supervisor: _Supervisor

    def __init__(self) -> None:
        self._tokens = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._unanswered = 0

    async def start(self) -> None:
        """Begin connecting."""
        if self._task is not None or self._closing is not None:
            raise RuntimeError("a publisher is started once")
        self._loop = asyncio.get_running_loop()
        self._outbox.hold()
        self._status.started()
        self._task = asyncio.create_task(self._supervisor.run(), name=f"{self.kind}-supervisor")

    def health(self) -> BrokerHealth:
        """The state now."""
        return self._status.health

    async def wait_ready(self) -> None:
        """Return when ready."""
        await self._status.ready.wait()

    async def close(self) -> None:
        """Wait a moment for what is under way, then drop the link."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"{self.kind}-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._status.closed()
        if self._task is None:
            return
        under_way = self._outbox.shut("the publisher is closed")
        if under_way:
            await asyncio.wait([entry.future for entry in under_way], timeout=_DRAIN_S)
        self._task.cancel()
        await asyncio.wait([self._task], timeout=_STOP_S)
        for entry in under_way:
            reason = "the publisher was closed while the record was under way"
            entry.fail(BrokerUnavailable(reason, maybe_stored=True))

    def _forget(self, entry: Entry) -> None:
        """The caller has its error, or has gone: keep nothing, but what is on its way cannot be called back (K4)."""
        waited_in_vain = entry.future.cancelled() and entry.token in entry.home
        entry.home.pop(entry.token, None)
        if not entry.future.done():
            entry.future.cancel()
        elif not entry.future.cancelled():
            error = entry.future.exception()  # which also marks it as seen, if the caller was cancelled meanwhile
            if error is not None:
                self._failed(error)
        if waited_in_vain:
            self._unanswered += 1
            if self._unanswered >= _MAX_UNANSWERED:
                self._status.publish_failed(self.silence, self._loop.time())
                self._supervisor.look_soon()

    def _failed(self, error: BaseException) -> None:
        """A record got this error: for those who judge their broker by it."""
