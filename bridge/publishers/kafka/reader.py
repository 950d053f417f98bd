"""Reads topics from outside the bridge's way: for `tail`. Keeps nothing on the brokers: no group, no offsets."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import Received, Since
from bridge.publishers.kafka.client import Consumer
from bridge.publishers.kafka.dialer import client_options, client_tls, knock
from bridge.publishers.kafka.faults import connect_reason
from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.supervision import Backoff

__all__ = ["follow"]

_START_TIMEOUT_S = 8.0
_POLL_MS = 1000
_REFRESH_MS = 5000  # a topic that is made meanwhile is seen so soon


async def follow(
    settings: KafkaSettings,
    topics: Sequence[str],
    *,
    since: Since,
    to_end: bool = False,
    positions: Mapping[int, int] = MappingProxyType({}),
) -> AsyncGenerator[Received, None]:
    """The topics' records, in order per partition; goes on by itself after an outage.

    Args:
        settings: which cluster and login.
        topics: their names; those that do not exist yet are followed once they do.
        since: `new`: what is stored from now on; `all`: what the topics have; or what was stored since a time.
        to_end: end with what is stored now, instead of never.
        positions: by partition the offset to begin at, in spite of `since`; for a single topic.

    Raises:
        BrokerUnavailable: the brokers are not to be had at the beginning, or none of the topics.
    """
    reader = _Reader(settings, topics, since, to_end=to_end, begin=positions)
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
        else:
            return


class _Reader:
    """One consumer at a time, each beginning where the one before it ended."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        since: Since,
        *,
        to_end: bool,
        begin: Mapping[int, int],
    ) -> None:
        self._settings = settings
        self._tls = client_tls(settings)
        self._topics = frozenset(topics)
        self._since = since
        self._positions: dict[TopicPartition, int] = {}
        self._begin = begin
        self._to_end = to_end
        self._ends: dict[TopicPartition, int] = {}  # with `to_end`
        self.began = False

    async def read(self) -> AsyncGenerator[Received, None]:
        """Records until something goes wrong, or to the end of those that are stored."""
        options = client_options(self._settings, self._tls)
        consumer = Consumer(
            **options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where a position is no longer kept
            metadata_max_age_ms=_REFRESH_MS,
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await consumer.start_with(await self._knock(options))
                await self._assign(consumer)
            self.began = True
            while not self._to_end or self._left():
                batches = await consumer.getmany(timeout_ms=_POLL_MS)
                for partition, records in batches.items():
                    for record in records:
                        self._positions[partition] = record.offset + 1
                        yield _received(record, left=self._left())
                if not batches and self._to_end:  # what is missing has been removed meanwhile
                    self._positions |= {partition: await consumer.position(partition) for partition in self._positions}
                elif not batches:
                    await self._assign(consumer)
        finally:
            await consumer.abandon()

    async def _knock(self, options: dict[str, Any]) -> Any:  # noqa: ANN401 -- the library's
        """What the first server that lets us in tells of the cluster."""
        failure: Exception | None = None
        for server in random.sample(self._settings.servers, len(self._settings.servers)):
            try:
                return await knock(server, options)
            except (KafkaError, OSError, TimeoutError) as error:
                failure = error
        assert failure is not None  # noqa: S101 -- there is a server
        raise failure

    async def _assign(self, consumer: Any) -> None:  # noqa: ANN401 -- the library's
        """Take all partitions there are, each where it was left."""
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 -- asks for no topic by name: makes none
        found = {
            TopicPartition(topic, partition)
            for topic in self._topics & cluster.topics()
            for partition in cluster.partitions_for_topic(topic) or ()
        }
        if not found and not self.began:
            raise BrokerUnavailable("none of the topics exists yet: post a first event, or see `webhook-bridge routes`")
        fresh = found - self._positions.keys()
        if not fresh and consumer.assignment():
            return
        self._positions |= await self._beginnings(consumer, fresh)
        if self._to_end and not self._ends:
            self._ends = dict(await consumer.end_offsets(fresh))
        consumer.assign(list(self._positions))
        for partition, position in self._positions.items():
            consumer.seek(partition, position)

    async def _beginnings(self, consumer: Any, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:  # noqa: ANN401 -- the library's
        """Where to begin with partitions not read so far."""
        if not partitions:
            return {}
        if self._begin:
            return await self._left_off(consumer, partitions)
        if self.began or self._since == "all":  # what is made meanwhile is new from its beginning
            return dict(await consumer.beginning_offsets(partitions))
        ends = dict(await consumer.end_offsets(partitions))
        if not isinstance(self._since, datetime):
            return ends
        at_ms = int(self._since.timestamp() * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))
        return ends | {partition: offset.offset for partition, offset in found.items() if offset is not None}

    async def _left_off(self, consumer: Any, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:  # noqa: ANN401 -- the library's
        """Where reading ended before; at the beginning where that place is not kept any more, or the topic is new."""
        first, last = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        wanted = {one: self._begin.get(one.partition, 0) for one in partitions}
        return {one: at if first[one] <= at <= last[one] else first[one] for one, at in wanted.items()}

    def _left(self) -> int:
        """How many records are to come until the end, where there is one."""
        return sum(max(0, end - self._positions[partition]) for partition, end in self._ends.items())


def _received(record: ConsumerRecord, *, left: int) -> Received:
    return Received(
        topic=record.topic,
        key=None if record.key is None else record.key.decode(errors="replace"),
        value=record.value or b"",
        headers={name: (value or b"").decode(errors="replace") for name, value in record.headers},
        time=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        seq=record.offset,
        partition=record.partition,
        left=left,
    )
