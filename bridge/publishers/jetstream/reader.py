"""Follow subjects of a stream, in order, from where one likes: what `tail` reads with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

import msgspec
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import ConsumerConfig, DeliverPolicy

from bridge.publishers.jetstream.link import Link
from bridge.publishers.nats.settings import NatsSettings

__all__ = ["Received", "follow"]

_RECONNECT_PAUSE_S = 1.0


class Received(msgspec.Struct, frozen=True):
    """One record as it lies in the stream.

    Attributes:
        topic: its subject.
        value: the bytes.
        headers: as stored.
        time: when the stream stored it, UTC.
        seq: its place in the stream.
    """

    topic: str
    value: bytes
    headers: dict[str, str]
    time: datetime
    seq: int


async def follow(settings: NatsSettings, *, since: Literal["new", "all"] | datetime) -> AsyncIterator[Received]:
    """Every record of the settings' subjects, in the stream's order, for ever; goes on after a reconnect.

    Args:
        settings: server, stream and subjects.
        since: `new` from now on, `all` from the oldest kept, or from a time.

    Raises:
        ConnectionError: the broker cannot be reached at the first try.
    """
    last_seq = 0
    first = True
    while True:
        try:
            link = await Link.connect(settings, settings.servers[0])
        except ConnectionError:
            if first:
                raise
            await asyncio.sleep(_RECONNECT_PAUSE_S)
            continue
        try:
            async for received in _read(link, settings, since, last_seq):
                last_seq = received.seq
                yield received
        except Error:
            if first and last_seq == 0:
                raise ConnectionError("the stream cannot be read; is it there?") from None
            await asyncio.sleep(_RECONNECT_PAUSE_S)
        finally:
            await link.close()
        first = False


async def _read(
    link: Link, settings: NatsSettings, since: Literal["new", "all"] | datetime, last_seq: int
) -> AsyncIterator[Received]:
    config = ConsumerConfig(filter_subjects=list(settings.subjects), deliver_policy=DeliverPolicy.ALL)
    if last_seq:
        config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
        config.opt_start_seq = last_seq + 1
    elif since == "new":
        config.deliver_policy = DeliverPolicy.NEW
    elif isinstance(since, datetime):
        config.deliver_policy = DeliverPolicy.BY_START_TIME
        config.opt_start_time = since
    context = link.subscribe_client().jetstream()
    subscription = await context.subscribe(
        settings.subjects[0] if len(settings.subjects) == 1 else "",
        stream=settings.stream,
        ordered_consumer=True,
        config=config,
    )
    while not link.lost.is_set():
        with suppress(NatsTimeoutError):
            message = await subscription.next_msg(timeout=1)
            metadata = message.metadata
            yield Received(
                topic=message.subject,
                value=message.data,
                headers=dict(message.headers or {}),
                time=metadata.timestamp.astimezone(UTC),
                seq=metadata.sequence.stream,
            )
