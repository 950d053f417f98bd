"""A record as Kafka takes it: topic checked, key and headers as bytes, its size known. Pure."""

import re
from asyncio import Future

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bridge.errors import RecordRefused
from bridge.publishers.base import Record
from bridge.publishers.entry import Entry as BaseEntry

__all__ = ["BATCH_OVERHEAD_BYTES", "Entry", "check_topic", "size_bytes"]

# Kafka's own rule (org.apache.kafka.common.internals.Topic): it refuses any other name.
_LEGAL = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}\Z", re.ASCII)
_MAX_REMEMBERED = 10_000  # topics are few; whoever makes many shall not fill memory

MAX_BATCH_BYTES = 1_048_576  # K8: one batch per partition at a time, so its size bounds the throughput
BATCH_OVERHEAD_BYTES = 61  # the batch's own header, which counts against max.message.bytes

_estimate = DefaultRecordBatchBuilder.estimate_size_in_bytes

_known: set[str] = set()


class Entry(BaseEntry):
    """A record under way. Its future gets None.

    Attributes:
        key, value, headers: as sent.
        size_bytes: what it takes in a batch of its own, before compression.
    """

    __slots__ = ("headers", "key", "size_bytes", "value")

    def __init__(self, token: int, record: Record, future: "Future[None]") -> None:
        """Encode.

        Raises:
            RecordRefused: topic, key or headers cannot be sent.
        """
        if record.topic not in _known:
            check_topic(record.topic)
        super().__init__(token, record.topic, future)
        self.key, self.headers = _encoded(record)
        self.value = record.value
        # An upper bound, at most 20 bytes above the truth: varints are counted at their longest.
        self.size_bytes = _estimate(self.key, record.value, self.headers)


def size_bytes(record: Record) -> int:
    """What the record takes in a batch of its own, before compression.

    Raises:
        RecordRefused: topic, key or headers cannot be sent.
    """
    check_topic(record.topic)
    key, headers = _encoded(record)
    return int(_estimate(key, record.value, headers))


def _encoded(record: Record) -> tuple[bytes, list[tuple[str, bytes]]]:
    try:
        return record.key.encode(), [(name, value.encode()) for name, value in record.headers.items()]
    except UnicodeEncodeError as error:
        raise RecordRefused("the key or a header value of the record is not valid text") from error


def check_topic(topic: str) -> None:
    """Remember a good name.

    Raises:
        RecordRefused: Kafka can have no topic of that name.
    """
    if not _LEGAL.match(topic):
        raise RecordRefused("the topic is no Kafka topic: 1 to 249 of A-Z a-z 0-9 . _ -, and not . or .. alone")
    if len(_known) < _MAX_REMEMBERED:
        _known.add(topic)
