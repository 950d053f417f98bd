"""One link: an open connection on which requests are sent and their answers found. It ends once, and is replaced.

Not here: what happens to records when it ends (`outbox`), and who makes the next one (`supervisor`).
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from bridge.errors import BrokerUnavailable, RecordTooLarge
from bridge.publishers.entry import Entry as BaseEntry
from bridge.publishers.nats.client import NatsClient
from bridge.publishers.nats.faults import CannotConnect, Denied, LinkLost, NoResponders, lost_reason
from bridge.publishers.nats.settings import NatsSettings

__all__ = ["Entry", "Link"]

_DIAL_TIMEOUT_S = 2.5
# A server that is there says something each time; one that says nothing for longer than the silence limit is gone.
_PING_INTERVAL_S = 2
_MAX_SILENCE_S = 5.0
# What a dead link may hold of records whose callers have long gone.
_MAX_UNSENT_BYTES = 16_777_216
_DENIED = "our user may not publish to this topic: allow it to publish to the subjects of all topics"


class Entry(BaseEntry):
    """A record under way. Its future gets the raw answer; its token names that too.

    Attributes:
        sent_at: when it was put on the wire, by the loop's clock.
    """

    __slots__ = ("head", "sent_at", "value")

    def __init__(self, token: int, topic: str, head: bytes, value: bytes, future: asyncio.Future[bytes]) -> None:
        super().__init__(token, topic, future)
        self.head = head
        self.value = value
        self.sent_at = 0.0


class Link:
    """An open connection.

    Attributes:
        pending: sent and not answered, in the order of sending.
        answers: how many records were answered.
        max_payload: the server's limit on a record with its headers, bytes.
        ended: gets the reason when the link is of no more use.
    """

    def __init__(
        self,
        settings: NatsSettings,
        tokens: Iterator[int],
        *,
        tls_required: bool = False,
        on_no_responders: Callable[[Entry], None] = lambda _entry: None,
    ) -> None:
        """Not yet open.

        Args:
            settings: name, inbox and the server that is expected.
            tokens: numbers the requests of all links of one publisher.
            tls_required: nothing is sent in plain text but the server's own first line.
            on_no_responders: gets a record that nobody takes just now; it is no longer pending then.
        """
        self._loop = asyncio.get_running_loop()
        self._tokens = tokens
        self._on_no_responders = on_no_responders
        self._inbox = f"{settings.inbox_prefix}.{secrets.token_hex(11)}."
        self._name = settings.name
        self._out: list[bytes] = []
        self._congested = False
        self._asked: dict[int, tuple[str, asyncio.Future[bytes]]] = {}
        self._heard_at = self._loop.time()
        self.heard = False
        self.pending: dict[int, Entry] = {}
        self.answers = 0
        self.max_payload = 0
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self.client = NatsClient(self, tls_required=tls_required, server_name=settings.expected_server_name)

    # ---- life

    async def open(self, options: dict[str, Any]) -> None:
        """Connect and log in, within a few seconds.

        Raises:
            Exception: whatever the library raises; `faults.connect_reason` puts it in words. Nothing is left open.
        """
        try:
            await self._dial({**options, "name": self._name, "ping_interval": _PING_INTERVAL_S})
        except BaseException:
            await self.close()
            raise
        if self.ended.done():
            reason = self.ended.result()
            await self.close()
            raise CannotConnect(reason)
        self._heard_at = self._loop.time()

    async def _dial(self, options: dict[str, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- this is a coroutine
        cancelled_before = task.cancelling()
        try:
            async with asyncio.timeout(_DIAL_TIMEOUT_S):
                await self.client.dial(options, self._inbox)
        finally:
            # The library connects with `asyncio.wait_for`, which before Python 3.12 hands on what comes together with
            # a cancellation and forgets the cancellation: a publisher that was closed went on.
            if task.cancelling() > cancelled_before:
                raise asyncio.CancelledError

    async def close(self) -> None:
        """Drop the link at once. Idempotent."""
        self.end("closed")
        self.client.abandon()
        await self.client.ended()
        for _subject, future in self._asked.values():
            if not future.done():
                future.set_exception(LinkLost())
        self._asked.clear()

    def check_pulse(self) -> None:
        """End the link if its server has been silent for too long. To be called about once a second.

        Found so: half-open links, frozen servers, black holes. The library would need six minutes, or for ever.
        """
        now = self._loop.time()
        if self.heard:
            self.heard = False
            self._heard_at = now
        elif now - self._heard_at > _MAX_SILENCE_S:
            self.end("the broker has been silent for too long")

    def excuse_silence(self) -> None:
        """The silence was ours: the event loop stood still."""
        self._heard_at = self._loop.time()

    # ---- requests

    def send(self, entry: Entry) -> None:
        """Put a record on the wire; its future gets the answer. Too large or congested: it gets that error."""
        head, value, token = entry.head, entry.value, entry.token
        size = len(head) + len(value)
        if size > self.max_payload:
            # The server would not refuse it but end the link, and with it whatever else is under way.
            entry.fail(RecordTooLarge(size, self.max_payload))
            return
        if self._congested and self._still_congested():
            entry.fail(BrokerUnavailable("the broker takes in records too slowly"))
            return
        if entry.home:
            entry.home.pop(token, None)
        self.pending[token] = entry
        entry.home = self.pending
        entry.sent_at = self._loop.time()
        self._write(
            f"HPUB {entry.topic} {self._inbox}{token} {len(head)} {size}\r\n".encode(),
            head,
            value,
        )

    def oldest_age_s(self) -> float:
        """How long the oldest record has been on its way; 0: none is."""
        oldest = next(iter(self.pending.values()), None)
        return 0.0 if oldest is None else self._loop.time() - oldest.sent_at

    async def ask(self, subject: str, payload: bytes = b"") -> bytes:
        """One request outside the records' order. The caller owns the deadline.

        Raises:
            NoResponders: nobody is there to answer.
            Denied: our user may not ask this.
            LinkLost: the link ended meanwhile.
        """
        if self.ended.done():
            raise LinkLost
        token = next(self._tokens)
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._asked[token] = (subject, future)
        self._write(f"PUB {subject} {self._inbox}{token} {len(payload)}\r\n".encode(), payload)
        try:
            return await future
        finally:
            self._asked.pop(token, None)

    def _write(self, *parts: bytes) -> None:
        if not self._out:
            # One write for all that is sent in this turn of the loop: a system call costs as much as the rest.
            self._loop.call_soon(self._flush)
        self._out += parts
        self._out.append(b"\r\n")

    def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        if self.ended.done():
            return
        self.client.send(data)
        self._congested = self._still_congested()

    def _still_congested(self) -> bool:
        self._congested = self.client.unsent_bytes > _MAX_UNSENT_BYTES
        return self._congested

    # ---- Listener

    def answered(self, token: int, data: bytes) -> None:
        """Hand an answer to whom it is for; late ones are for nobody."""
        entry = self.pending.pop(token, None)
        if entry is not None:
            self.answers += 1
            if not entry.future.done():
                entry.future.set_result(data)
        elif (asked := self._asked.get(token)) is not None and not asked[1].done():
            asked[1].set_result(data)

    def unanswerable(self, token: int) -> None:
        """There is nobody to answer."""
        entry = self.pending.pop(token, None)
        if entry is not None:
            if not entry.future.done():
                self._on_no_responders(entry)
        elif (asked := self._asked.get(token)) is not None and not asked[1].done():
            asked[1].set_exception(NoResponders())

    def complained(self, text: str) -> None:
        """A permission is missing; the publish it is about will get no answer."""
        if "subscription" in text:
            self.lost(text)
            return
        subject = text.partition('"')[2].partition('"')[0]
        denied = [entry for entry in self.pending.values() if entry.topic.lower() == subject]
        for entry in denied:
            entry.fail(BrokerUnavailable(_DENIED))
        for asked, future in self._asked.values():
            if asked.lower() == subject and not future.done():
                future.set_exception(Denied())

    def lost(self, cause: BaseException | str) -> None:
        """The connection is gone, or the server said why it will be."""
        self.end(lost_reason(cause))

    def end(self, reason: str) -> None:
        """It is of no more use. May come several times."""
        if not self.ended.done():
            self.ended.set_result(reason)

    def informed(self, info: dict[str, Any]) -> None:
        """The server's INFO; the first one comes before the login."""
        if "max_payload" in info:
            self.max_payload = int(info["max_payload"])
