"""Reads topics from outside the bridge's way: for `tail`. Keeps nothing on the brokers: no group, no offsets."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import Received, Since
from bridge.publishers.kafka.dialer import client_options
from bridge.publishers.kafka.faults import connect_reason
from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.supervision import Backoff

__all__ = ["follow"]

_START_TIMEOUT_S = 8.0
_POLL_MS = 1000
_REFRESH_MS = 5000  # a topic that is made meanwhile is seen so soon


async def follow(settings: KafkaSettings, topics: Sequence[str], *, since: Since) -> AsyncGenerator[Received, None]:
    """The topics' records, in order per partition and without end; goes on by itself after an outage.

    Args:
        settings: which cluster and login.
        topics: their names; those that do not exist yet are followed once they do.
        since: `new`: what is stored from now on; `all`: what the topics have; or what was stored since a time.

    Raises:
        BrokerUnavailable: the brokers are not to be had at the beginning, or none of the topics.
    """
    reader = _Reader(settings, topics, since)
    backoff = Backoff()
    while True:
        try:
            async with contextlib.aclosing(reader.read()) as records:
                async for record in records:
                    backoff.reset()
                    yield record
        except BrokerUnavailable:
            raise
        except Exception as error:
            if not reader.began:
                raise BrokerUnavailable(connect_reason(error)) from error
            await asyncio.sleep(backoff.next())


class _Reader:
    """One consumer at a time, each beginning where the one before it ended."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[str], since: Since) -> None:
        self._settings = settings
        self._topics = frozenset(topics)
        self._since = since
        self._positions: dict[TopicPartition, int] = {}
        self.began = False

    async def read(self) -> AsyncGenerator[Received, None]:
        """Records until something goes wrong."""
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            bootstrap_servers=list(self._settings.servers),
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where a position is no longer kept
            metadata_max_age_ms=_REFRESH_MS,
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await consumer.start()
                await self._assign(consumer)
            self.began = True
            while True:
                batches = await consumer.getmany(timeout_ms=_POLL_MS)
                for partition, records in batches.items():
                    for record in records:
                        self._positions[partition] = record.offset + 1
                        yield _received(record)
                if not batches:
                    await self._assign(consumer)
        finally:
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(1):  # it may wait for brokers that are gone
                    await consumer.stop()

    async def _assign(self, consumer: Any) -> None:  # noqa: ANN401 -- the library's
        """Take all partitions there are, and place the new ones."""
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 -- asks for no topic by name: makes none
        found = {
            TopicPartition(topic, partition)
            for topic in self._topics & cluster.topics()
            for partition in cluster.partitions_for_topic(topic) or ()
        }
        assigned = set(consumer.assignment())
        fresh = found - assigned
        if not fresh and assigned:
            return
        if not found:
            if self.began:
                return
            raise BrokerUnavailable("none of the topics exists yet: post a first event, or see `webhook-bridge routes`")
        consumer.assign(found)
        placed = {partition: position for partition, position in self._positions.items() if partition in fresh}
        unplaced = fresh - placed.keys()
        if self.began or self._since == "all":
            await consumer.seek_to_beginning(*unplaced)
        elif self._since == "new":
            await consumer.seek_to_end(*unplaced)
        elif isinstance(self._since, datetime):
            await self._seek_to_time(consumer, unplaced, self._since)
        for partition, position in placed.items():
            consumer.seek(partition, position)
        for partition in unplaced:
            self._positions[partition] = await consumer.position(partition)

    async def _seek_to_time(self, consumer: Any, partitions: set[TopicPartition], since: datetime) -> None:  # noqa: ANN401 -- the library's
        at_ms = int(since.timestamp() * 1000)
        for partition, offset in (await consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))).items():
            if offset is None:
                await consumer.seek_to_end(partition)
            else:
                consumer.seek(partition, offset.offset)


def _received(record: ConsumerRecord) -> Received:
    return Received(
        topic=record.topic,
        key=None if record.key is None else record.key.decode(errors="replace"),
        value=record.value or b"",
        headers={name: (value or b"").decode(errors="replace") for name, value in record.headers},
        time=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        seq=record.offset,
    )
