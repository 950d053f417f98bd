"""Records to NATS JetStream: each is acknowledged by the stream, each at most once per duplicate window.

One supervisor task owns the connection. It builds a link, probes the stream, watches both, and throws the link away
when it ends, goes silent or is refused. `publish` only uses what the supervisor holds.
"""

import asyncio
import itertools
import random
import re
from contextlib import suppress

import msgspec
from nats.errors import MaxPayloadError

from bridge.errors import BrokerUnavailable, PublishError, RecordRefused, RecordTooLarge
from bridge.publishers.base import BrokerHealth, HeaderDialect, Record
from bridge.publishers.jetstream.link import Link, LinkLost, NoResponders, NotPermitted
from bridge.publishers.jetstream.stream import StreamState, probe_stream
from bridge.publishers.nats.settings import NatsSettings
from bridge.telemetry import broker_facts

__all__ = ["NatsPublisher"]

_PROBE_INTERVAL_S = 5.0
_PROBE_TIMEOUT_S = 2.0
_WATCH_INTERVAL_S = 0.5
# A link that answers nothing for so long is half-open or its server is frozen; `is_connected` still says True then.
_MAX_SILENCE_S = 5.0
_FIRST_BACKOFF_S = 0.1
_MAX_BACKOFF_S = 3.0
# A publish waits so long for a link that was just lost; in a longer outage it is refused at once.
_GRACE_S = 1.0
_NO_RESPONDERS_PAUSE_S = 0.25  # as the Go client does (nats.go 930)
_SUBJECT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_MAX_KNOWN_SUBJECTS = 10_000


class _AckError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _AckError | None = None


_decode_ack = msgspec.json.Decoder(_Ack).decode
_MESSAGE_TOO_LARGE = 10054  # JSStreamMessageExceedsMaximumErr


class NatsPublisher:
    """The publisher."""

    dialect = HeaderDialect(prefix="ce-", content_type="Content-Type", percent_encode=True)

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._supervisor: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._down_since: float | None = None
        self._stream = StreamState(problem="not connected yet")
        self._down_reason = "not connected yet"
        self._last_failure: str | None = None
        self._poke = asyncio.Event()
        self._state_changed = asyncio.Event()
        self._closed = False
        self._valid_subjects: set[str] = set()

    async def start(self) -> None:
        """See `Publisher.start`."""
        if self._supervisor is not None:
            raise RuntimeError("the publisher was started before")
        self._down_since = asyncio.get_running_loop().time()
        self._supervisor = asyncio.create_task(self._supervise(), name="nats-supervisor")

    async def publish(self, record: Record) -> None:
        """See `Publisher.publish`."""
        if record.topic not in self._valid_subjects:
            self._admit(record.topic)
        headers = record.headers
        headers["Nats-Msg-Id"] = record.dedup_id
        while True:
            link = self._link
            if link is None:
                link = await self._await_link()
            if record.ttl_s is not None and self._stream.message_ttl:
                headers["Nats-TTL"] = f"{record.ttl_s}s"
            _check_size(record, headers, link.max_payload)
            try:
                answer = await link.request(record.topic, record.value, headers)
            except LinkLost:
                continue  # published again on the next link: the stream drops the copy by its id
            except NoResponders:
                await self._no_responders()
                continue
            except NotPermitted:
                self._failed("the user lacks a permission")
                raise BrokerUnavailable("the broker does not let us publish") from None
            except MaxPayloadError:
                raise RecordTooLarge(len(record.value), link.max_payload) from None
            self._judge(answer, record)
            return

    def health(self) -> BrokerHealth:
        """See `Publisher.health`."""
        warnings = self._stream.warnings
        reasons = []
        if self._closed:
            reasons.append("the publisher is closed")
        elif self._link is None:
            reasons.append(f"not connected to NATS: {self._down_reason}")
        elif self._stream.problem:
            reasons.append(self._stream.problem)
        elif self._last_failure:
            reasons.append(f"the last publish failed: {self._last_failure}")
        if self._settings.require_durable and warnings:
            reasons += [f"{warning} (BRIDGE_REQUIRE_DURABLE)" for warning in warnings]
        return BrokerHealth(
            ready=not reasons, reasons=tuple(reasons), warnings=warnings, details=dict(self._stream.details)
        )

    async def wait_ready(self) -> None:
        """See `Publisher.wait_ready`."""
        while not self.health().ready:
            self._state_changed.clear()
            await self._state_changed.wait()

    async def close(self) -> None:
        """See `Publisher.close`."""
        self._closed = True
        if self._supervisor is not None and not self._supervisor.done():
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor], timeout=2)
        self._linked.set()  # whoever waits for a link is told that none will come

    # --- publishing

    def _admit(self, topic: str) -> None:
        """Refuse what is no literal subject: nats-py lets wildcards and NULs through, and they are stored."""
        if not _SUBJECT.fullmatch(topic):
            raise RecordRefused("the topic is not a NATS subject of [A-Za-z0-9_-] tokens")
        if len(self._valid_subjects) < _MAX_KNOWN_SUBJECTS:
            self._valid_subjects.add(topic)

    async def _await_link(self) -> Link:
        loop = asyncio.get_running_loop()
        while self._link is None:
            if self._closed or self._down_since is None or loop.time() - self._down_since > _GRACE_S:
                raise BrokerUnavailable("the broker is not reachable")
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._down_since + _GRACE_S + 0.01):
                    await self._linked.wait()
        return self._link

    async def _no_responders(self) -> None:
        """No stream listens, or its leader is being elected: wait a little, unless the last probe knows better."""
        self._poke.set()
        if self._stream.missing:
            raise BrokerUnavailable("no stream takes the event's topic")
        await asyncio.sleep(_NO_RESPONDERS_PAUSE_S)

    def _judge(self, answer: bytes, record: Record) -> None:
        try:
            ack = _decode_ack(answer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._failed("unexpected answer")
            raise BrokerUnavailable("the broker's answer is no acknowledgement") from None
        if ack.error is not None:
            self._failed(f"{ack.error.description} ({ack.error.err_code})")
            raise _refusal(ack.error, record)
        # A duplicate counts only with the place of the stored original: servers before 2.11 answered "duplicate"
        # for a message that was never stored (nats-server 6415).
        if not ack.stream or ack.seq <= 0:
            self._failed("acknowledgement without a stream and sequence")
            raise BrokerUnavailable("the broker's acknowledgement names no place in a stream")
        if self._last_failure is not None:
            self._last_failure = None
            self._tell()

    def _failed(self, reason: str) -> None:
        if self._last_failure != reason:
            self._last_failure = reason
            self._tell()
        self._poke.set()

    # --- the connection

    async def _supervise(self) -> None:
        servers = itertools.cycle(self._settings.servers)
        known: list[str] = []
        backoff_s = _FIRST_BACKOFF_S
        try:
            while True:
                try:
                    link = await Link.connect(self._settings, known.pop() if known else next(servers))
                except Exception as error:  # noqa: BLE001 -- a supervisor must outlive whatever a library throws
                    self._lost(str(error) if isinstance(error, ConnectionError) else type(error).__name__)
                    await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311 -- jitter
                    backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)
                    continue
                born = asyncio.get_running_loop().time()
                try:
                    reason = await self._tend(link)
                except Exception as error:  # noqa: BLE001 -- likewise
                    reason = type(error).__name__
                finally:
                    self._link = None
                    self._linked.clear()
                if self._down_since is None:
                    self._down_since = asyncio.get_running_loop().time()
                self._lost(reason)
                scheme = self._settings.servers[0].partition("://")[0]
                known = [f"{scheme}://{host}" for host in link.discovered]
                await link.close()
                if asyncio.get_running_loop().time() - born > _MAX_BACKOFF_S:
                    backoff_s = _FIRST_BACKOFF_S
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311 -- jitter
                backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)
        finally:
            link_now, self._link = self._link, None
            if link_now is not None:
                await link_now.close()

    async def _tend(self, link: Link) -> str:
        """Probe and watch one link until it must go; says why."""
        loop = asyncio.get_running_loop()
        next_probe = loop.time()
        while True:
            if link.lost.is_set():
                return link.last_error or "connection lost"
            if link.silent_for() > _MAX_SILENCE_S:
                return f"no answer for {_MAX_SILENCE_S:g} s"
            if loop.time() >= next_probe or self._poke.is_set():
                self._poke.clear()
                if not await self._probe(link):
                    return "no answer to a probe"
                next_probe = loop.time() + _PROBE_INTERVAL_S
                if self._link is None:
                    self._up(link)
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_INTERVAL_S):
                    await link.lost.wait()

    async def _probe(self, link: Link) -> bool:
        """Read the stream's state; False if the link does not answer."""
        before = self._stream
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                self._stream = await probe_stream(link, self._settings)
        except TimeoutError:
            return False
        except LinkLost:
            return True  # the loop above sees it
        except NotPermitted:
            remedy = "grant publish on $JS.API.> and subscribe on _INBOX.>, or set BRIDGE_PROVISION=off"
            self._stream = StreamState(problem=f"the user may not use the JetStream API; {remedy}")
        except msgspec.DecodeError:
            self._stream = StreamState(problem="the JetStream API answers with something unknown")
        if (before.problem, before.warnings) != (self._stream.problem, self._stream.warnings) and self._link:
            self._tell()
        return True

    def _up(self, link: Link) -> None:
        self._link = link
        self._down_since = None
        self._last_failure = None
        self._linked.set()
        broker_facts.connected(**self._stream.details)
        self._tell()

    def _lost(self, reason: str) -> None:
        if reason != self._down_reason:
            self._down_reason = reason
            broker_facts.lost(reason)
        self._state_changed.set()

    def _tell(self) -> None:
        """Say the state, once per change."""
        health = self.health()
        if health.ready:
            self._down_reason = "connection lost"
            broker_facts.ready()
        else:
            broker_facts.not_ready(health.reasons)
        if health.warnings:
            broker_facts.weak(health.warnings)
        self._state_changed.set()


def _check_size(record: Record, headers: dict[str, str], limit: int) -> None:
    """The server cuts the connection over a message that is too large with its headers; nats-py counts without them."""
    # "NATS/1.0\r\n" + name ": " value "\r\n" each + "\r\n"; characters are bytes, since values are ASCII
    size = len(record.value) + 12 + sum(len(name) + len(value) + 4 for name, value in headers.items())
    if size > limit:
        raise RecordTooLarge(size, limit)


def _refusal(error: _AckError, record: Record) -> PublishError:
    """Whether the same record may be taken later. The one place that decides it."""
    if error.err_code == _MESSAGE_TOO_LARGE:
        # the stream's own max_msg_size: this record will never fit, others will
        return RecordTooLarge(len(record.value), 0)
    # All else may heal: full (10077, discard=new), no space, no leader, account limits, TTL switched off, and what
    # later servers will call theirs. A refusal that does not heal is seen in readiness, and nothing was lost.
    return BrokerUnavailable(f"JetStream refused: {error.description} ({error.err_code})")
