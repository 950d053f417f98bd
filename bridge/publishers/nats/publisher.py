"""Records to a NATS JetStream stream: published with an id, and done when the stream says it has them."""

import contextlib

import msgspec

from bridge.errors import BrokerUnavailable, RecordRefused, RecordTooLarge
from bridge.publishers.base import HeaderDialect, Record
from bridge.publishers.life import Life
from bridge.publishers.nats.answers import PubAck, Verdict, decode_ack, judge
from bridge.publishers.nats.link import Entry
from bridge.publishers.nats.outbox import Outbox
from bridge.publishers.nats.records import encode_head
from bridge.publishers.nats.settings import NatsSettings
from bridge.publishers.nats.status import NatsStatus
from bridge.publishers.nats.supervisor import SILENCE, Supervisor

__all__ = ["NatsPublisher"]


class NatsPublisher(Life):
    """See `bridge.publishers.base.Publisher` for what it promises.

    One link at a time. Whatever goes wrong with it, it is dropped and another one made; records under way then go
    over the next link with the same id, so the stream keeps one copy.
    """

    kind = "nats"
    silence = SILENCE
    dialect = HeaderDialect(
        prefix="ce-", content_type="Content-Type", percent_encode=True, data_content_type="ce-datacontenttype"
    )

    _status: NatsStatus
    _outbox: Outbox
    _supervisor: Supervisor

    def __init__(self, settings: NatsSettings) -> None:
        super().__init__()
        self._status = NatsStatus(settings)
        self._outbox = Outbox(self._on_stalled)
        self._supervisor = Supervisor(settings, self._outbox, self._status, self._tokens)

    async def publish(self, record: Record) -> None:
        """Return when the stream has the record."""
        if self._task is None:
            raise BrokerUnavailable("the publisher was not started")
        head = encode_head(record, with_ttl=self._status.takes_ttl)
        entry = Entry(next(self._tokens), record.topic, head, record.value, self._loop.create_future())
        self._outbox.submit(entry)
        try:
            while True:
                ack = _decoded(await entry.future)
                if ack.stored:
                    if self._unanswered or self._outbox.stalled or self._status.doubt is not None:
                        self._settle(record.topic)
                    return
                self._second_try(entry, record, ack)
        except BaseException:
            self._forget(entry)
            raise

    def _second_try(self, entry: Entry, record: Record, ack: PubAck) -> None:
        """Send the record again if that can help, else raise."""
        if ack.error is None:
            self._status.publish_failed("the broker's acknowledgements name no stream", self._loop.time())
            raise BrokerUnavailable("the broker's acknowledgement names no stream", maybe_stored=True)
        verdict = judge(ack.error)
        if verdict is Verdict.AGAIN:
            entry.future = self._loop.create_future()
            self._outbox.stall(entry)
            return
        self._outbox.answered(entry.topic)
        said = f"{ack.error.description} ({ack.error.err_code})"
        match verdict:
            case Verdict.WITHOUT_TTL:
                entry.head = encode_head(record, with_ttl=False)
                entry.future = self._loop.create_future()
                self._outbox.submit(entry)
            case Verdict.TOO_LARGE:
                size = len(entry.head) + len(entry.value)
                raise RecordTooLarge(size, self._status.max_msg_size or size - 1)
            case Verdict.REFUSED:
                raise RecordRefused(f"the broker refuses the record: {said}")
            case _:
                self._status.publish_failed(f"the stream takes no records: {said}", self._loop.time())
                self._supervisor.look_soon()
                reason = f"the stream does not take the record: {said}"
                raise BrokerUnavailable(reason, maybe_stored=entry.losses > 0)

    def _settle(self, topic: str) -> None:
        """A record was stored after some that were not."""
        self._unanswered = 0
        self._outbox.answered(topic)
        if self._status.doubt is not None:
            self._status.publish_succeeded()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, BrokerUnavailable) and self._outbox.link is not None:
            self._status.publish_failed(str(error), self._loop.time())

    def _on_stalled(self) -> None:
        missing = self._status.missing
        if missing is not None:
            self._outbox.fail_stalled(missing)
        else:
            reason = "nobody takes records just now: the stream is missing, or elects a leader"
            self._status.publish_failed(reason, self._loop.time())
        self._supervisor.look_soon()


def _decoded(answer: bytes) -> PubAck:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        return decode_ack(answer)
    raise BrokerUnavailable("the broker's acknowledgement cannot be read", maybe_stored=True)
