"""Reads a stream from outside the bridge's way: for `tail` and for tests. Keeps nothing on the server."""

import asyncio
import contextlib
import itertools
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import Received, Since
from bridge.publishers.nats.answers import ApiError
from bridge.publishers.nats.dialer import Dialer
from bridge.publishers.nats.faults import Denied, LinkLost, NoResponders, connect_reason
from bridge.publishers.nats.link import Link
from bridge.publishers.nats.settings import NatsSettings
from bridge.publishers.supervision import Backoff

__all__ = ["follow"]

_BATCH = 256
_PULL_S = 5.0
_HEARTBEAT_S = 2.0
_SILENCE_S = 6.0  # beyond three missed heartbeats
_API_TIMEOUT_S = 3.0
_FORGET_S = 30  # the server drops a consumer that nobody asks any more
_NS = 1_000_000_000
_PULL_IS_OVER = "408"  # Request Timeout: nothing came; the only status that is no fault


class _Delivered(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _Created(msgspec.Struct, frozen=True):
    error: ApiError | None = None
    delivered: _Delivered = _Delivered()
    num_pending: int = 0


class _State(msgspec.Struct, frozen=True):
    last_seq: int = 0


class _Info(msgspec.Struct, frozen=True):
    state: _State | None = None


class _Interrupted(Exception):
    """The consumer or its link is gone; another one takes over at the next record."""


async def follow(
    settings: NatsSettings,
    patterns: Sequence[str],
    *,
    since: Since,
    to_end: bool = False,
    positions: Mapping[int, int] = MappingProxyType({}),
) -> AsyncGenerator[Received, None]:
    """The stream's records on these subjects, in order; goes on by itself after an outage.

    Args:
        settings: which cluster, stream and login.
        patterns: NATS subjects, wildcards allowed; an empty sequence is all.
        since: `new`: what is stored from now on; `all`: what the stream has; or what was stored since a time.
        to_end: end with what is stored now, instead of never.
        positions: under 0 the place in the stream to begin at, in spite of `since`. A stream that has not come so far
            is another one, made anew: it is read from its beginning.

    Raises:
        BrokerUnavailable: the broker or the stream is not to be had at the beginning.
    """
    reader = _Reader(settings, patterns, since, to_end=to_end, begin=positions.get(0))
    backoff = Backoff()
    while True:
        try:
            async with contextlib.aclosing(reader.read()) as records:
                async for record in records:
                    backoff.reset()
                    yield record
        except _Interrupted as interruption:
            if not reader.began:
                raise BrokerUnavailable(str(interruption)) from interruption
            await asyncio.sleep(backoff.next())
        else:
            return


class _Reader:
    """One consumer at a time, each beginning where the one before it ended."""

    def __init__(
        self, settings: NatsSettings, patterns: Sequence[str], since: Since, *, to_end: bool, begin: int | None
    ) -> None:
        self._settings = settings
        self._patterns = list(patterns)
        self._since = since
        self._next_seq = begin
        self._to_end = to_end
        self._dialer = Dialer(settings)
        self.began = False

    async def read(self) -> AsyncGenerator[Received, None]:
        """Records until something goes wrong, or to the end of those that are stored.

        Raises:
            _Interrupted: something went wrong.
        """
        link = await self._dial()
        try:
            if not self.began and self._next_seq is not None and await self._last_seq(link) < self._next_seq - 1:
                self._next_seq = 1
            consumer, left = await self._create_consumer(link)
            self.began = True
            if self._to_end and not left:
                return
            inbox = link.client.new_inbox()
            messages: asyncio.Queue[Msg] = asyncio.Queue()
            await link.client.subscribe(inbox, cb=messages.put)
            while True:
                await self._pull(link, consumer, inbox)
                came = False
                async for record in self._batch(link, messages):
                    self._next_seq, left, came = record.seq + 1, left - 1, True
                    yield msgspec.structs.replace(record, left=max(0, left)) if self._to_end else record
                    if self._to_end and left <= 0:
                        return
                if self._to_end and not came:  # what is missing has been removed meanwhile
                    return
        except (Error, OSError, LinkLost) as error:
            raise _Interrupted("the link to the broker was lost") from error
        finally:
            await link.close()

    async def _dial(self) -> Link:
        for attempt in itertools.count(1):
            try:
                return await self._dialer.dial(
                    lambda tls_required: Link(self._settings, itertools.count(1), tls_required=tls_required)
                )
            except Exception as error:  # the library raises whatever its parts do
                if attempt >= self._dialer.servers:
                    raise _Interrupted(connect_reason(error)) from error
        raise AssertionError

    async def _last_seq(self, link: Link) -> int:
        """How far the stream has ever come; where that cannot be known, far enough."""
        with contextlib.suppress(TimeoutError, NoResponders, Denied, msgspec.DecodeError, UnicodeDecodeError):
            async with asyncio.timeout(_API_TIMEOUT_S):
                answer = await link.ask(f"$JS.API.STREAM.INFO.{self._settings.stream}")
            state = msgspec.json.decode(answer, type=_Info).state
            if state is not None:
                return state.last_seq
        return sys.maxsize

    async def _create_consumer(self, link: Link) -> tuple[str, int]:
        """Its name, and how many records wait for it."""
        name = f"tail-{secrets.token_hex(8)}"
        config: dict[str, Any] = {
            "name": name,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _FORGET_S * _NS,
            **self._start(),
        }
        if self._patterns:
            config["filter_subjects"] = self._patterns
        stream = self._settings.stream
        request = msgspec.json.encode({"stream_name": stream, "config": config})
        try:
            async with asyncio.timeout(_API_TIMEOUT_S):
                answer = await link.ask(f"$JS.API.CONSUMER.CREATE.{stream}.{name}", request)
            created = msgspec.json.decode(answer, type=_Created)
        except TimeoutError as error:
            raise _Interrupted("JetStream does not answer") from error
        except NoResponders as error:
            raise _Interrupted("JetStream is not enabled on the broker, or not for our account") from error
        except Denied as error:
            raise _Interrupted(f"our user may not read the stream {stream!r}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _Interrupted("JetStream answers something unknown") from error
        if created.error is not None:
            raise _Interrupted(f"the stream {stream!r} cannot be read: {created.error.description}")
        if self._next_seq is None and self._since == "new":
            self._next_seq = created.delivered.stream_seq + 1
        return name, created.num_pending

    def _start(self) -> dict[str, Any]:
        if self._next_seq is not None:
            return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._next_seq}
        if isinstance(self._since, datetime):
            return {"deliver_policy": "by_start_time", "opt_start_time": self._since.astimezone(UTC)}
        return {"deliver_policy": self._since}

    async def _pull(self, link: Link, consumer: str, inbox: str) -> None:
        request = {"batch": _BATCH, "expires": int(_PULL_S * _NS), "idle_heartbeat": int(_HEARTBEAT_S * _NS)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._settings.stream}.{consumer}"
        await link.client.publish(subject, msgspec.json.encode(request), reply=inbox)

    async def _batch(self, link: Link, messages: asyncio.Queue[Msg]) -> AsyncGenerator[Received, None]:
        """What one pull brings."""
        left = _BATCH
        while left:
            message = await _next(link, messages)
            status = (message.headers or {}).get("Status") if not message.data else None
            if status is None:
                left -= 1
                yield _received(message)
            elif status == _PULL_IS_OVER:
                return
            elif status != "100":  # idle heartbeat
                raise _Interrupted("the consumer is gone")


async def _next(link: Link, messages: asyncio.Queue[Msg]) -> Msg:
    getting = asyncio.ensure_future(messages.get())
    waited: list[asyncio.Future[Any]] = [getting, link.ended]
    try:
        await asyncio.wait(waited, timeout=_SILENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
    finally:
        getting.cancel()
    raise _Interrupted("the link to the broker was lost")


def _received(message: Msg) -> Received:
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, with domain and account
    # before the stream on newer servers: counted from the end, where a random token may follow too.
    tokens = message.reply.split(".")
    base = 2 if len(tokens) == 9 else 4  # noqa: PLR2004 -- see above
    seq, time_ns = int(tokens[base + 3]), int(tokens[base + 5])
    return Received(
        topic=message.subject,
        key=None,
        value=message.data,
        headers=dict(message.headers or {}),
        time=datetime.fromtimestamp(time_ns / _NS, UTC),
        seq=seq,
    )
