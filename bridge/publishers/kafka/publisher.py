"""Records to Kafka topics: done when the brokers have them at full strength (acks=all)."""

import asyncio
import itertools

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import BrokerHealth, HeaderDialect, Record
from bridge.publishers.kafka.records import Entry
from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.kafka.status import KafkaStatus
from bridge.publishers.kafka.supervisor import Supervisor

__all__ = ["KafkaPublisher"]

_DRAIN_S = 1.0
_STOP_S = 0.5
# Callers cancel for reasons of their own; so many in a row, without one answer in between, are the broker's.
_MAX_UNANSWERED = 3


class KafkaPublisher:
    """See `bridge.publishers.base.Publisher` for what it promises.

    Kafka drops no copies by an id of ours: a record that is published again after an unknown outcome may be there
    twice, and consumers tell by the event's id.
    """

    dialect = HeaderDialect(prefix="ce_", content_type="content-type", percent_encode=False)

    def __init__(self, settings: KafkaSettings) -> None:
        self._tokens = itertools.count(1)
        self._status = KafkaStatus(settings)
        self._supervisor = Supervisor(settings, self._status)
        self._outbox = self._supervisor.outbox
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
        self._task = asyncio.create_task(self._supervisor.run(), name="kafka-supervisor")

    async def publish(self, record: Record) -> None:
        """Return when all replicas in sync have the record."""
        if self._task is None:
            raise BrokerUnavailable("the publisher was not started")
        entry = Entry(next(self._tokens), record, self._loop.create_future())
        self._outbox.submit(entry)
        try:
            await entry.future
        except BaseException:
            self._forget(entry)
            raise
        self._unanswered = 0

    def health(self) -> BrokerHealth:
        """The state now."""
        return self._status.health

    async def wait_ready(self) -> None:
        """Return when ready."""
        await self._status.ready.wait()

    async def close(self) -> None:
        """Wait a moment for what is under way, then drop the link."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="kafka-close")
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
            entry.future.exception()  # marks it as seen, if the caller was cancelled meanwhile
        if waited_in_vain:
            self._unanswered += 1
            if self._unanswered >= _MAX_UNANSWERED:
                self._status.publish_failed("the brokers do not acknowledge records in time", self._loop.time())
                self._supervisor.look_soon()
