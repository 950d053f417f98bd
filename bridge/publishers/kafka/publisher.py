"""Records to Kafka topics: done when the brokers have them at full strength (acks=all)."""

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import HeaderDialect, Record
from bridge.publishers.kafka.outbox import Outbox
from bridge.publishers.kafka.records import Entry
from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.kafka.status import KafkaStatus
from bridge.publishers.kafka.supervisor import Supervisor
from bridge.publishers.life import Life

__all__ = ["KafkaPublisher"]


class KafkaPublisher(Life):
    """See `bridge.publishers.base.Publisher` for what it promises.

    Kafka drops no copies by an id of ours: a record that is published again after an unknown outcome may be there
    twice, and consumers tell by the event's id.
    """

    kind = "kafka"
    silence = "the brokers do not acknowledge records in time"
    dialect = HeaderDialect(prefix="ce_", content_type="content-type", percent_encode=False)

    _status: KafkaStatus
    _outbox: Outbox
    _supervisor: Supervisor

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__()
        self._status = KafkaStatus(settings)
        self._supervisor = Supervisor(settings, self._status)
        self._outbox = self._supervisor.outbox

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
