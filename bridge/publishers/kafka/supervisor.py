"""The one task that keeps a link to the brokers: dial, look, attend, dial again. The only retry of connections.

A link that ended is replaced when the brokers can be reached again; one that is only spoiled goes on until its
successor is up, so that what still works is not disturbed.
"""

import asyncio
import contextlib

import msgspec

from bridge.publishers.kafka.dialer import Dialer
from bridge.publishers.kafka.faults import CannotConnect, connect_reason, lost_reason
from bridge.publishers.kafka.link import Link
from bridge.publishers.kafka.outbox import Outbox
from bridge.publishers.kafka.permissions import examine
from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.kafka.status import KafkaStatus
from bridge.publishers.kafka.topics import Inspection, inspect
from bridge.publishers.supervision import Backoff, Grace
from bridge.telemetry import broker_facts

__all__ = ["Supervisor"]

_TICK_S = 0.25
_SLOW_S = 0.3  # a batch that is not answered for so long makes us look
_WEDGED_S = 6.0  # and for so long, while all else is well, it is the producer that does not work (K5)
_LOOK_S = 5.0
_LOOK_SOON_S = 1.0  # while not ready
_LOOK_PAUSE_S = 0.25  # between two that somebody asked for
_MAX_DEAF = 2  # looks in a row that nobody answered
_STABLE_S = 5.0  # a link that ended sooner counts as a failed attempt
_SETTLE_S = 1.0
_MAX_WANTED = 1000


class Supervisor:
    """Keeps the link, looks at the topics, and tells outbox and status."""

    def __init__(self, settings: KafkaSettings, status: KafkaStatus) -> None:
        self._settings = settings
        self._status = status
        self._dialer = Dialer(settings)
        self._backoff = Backoff()
        self._grace = Grace(self._give_up)
        self._wanted: set[str] = set()
        self._look_wanted = asyncio.Event()
        self._login: tuple[str, ...] | None = None
        self.outbox = Outbox(status, self.look_up, linger_s=settings.linger_ms / 1000)

    def look_up(self, topic: str) -> None:
        """A topic is published to that is not known, or not known well enough: look at it soon."""
        if len(self._wanted) < _MAX_WANTED:
            self._wanted.add(topic)
        self._look_wanted.set()

    def look_soon(self) -> None:
        """Something is wrong with publishing: look again."""
        self._look_wanted.set()

    async def run(self) -> None:
        """Never ends but by cancellation, and leaves no link behind."""
        successor: Link | None = None
        self._grace.begin()
        try:
            while True:
                try:
                    link = successor or await self._next_link()
                    successor = None
                    successor = await self._attend(link)
                except Exception as error:  # noqa: BLE001 -- a supervisor that dies silently is what this replaces
                    broker_facts.supervision_failed(error)
                    await asyncio.sleep(self._backoff.next())
        finally:
            self._grace.end()

    async def _next_link(self) -> Link:
        failures = 0
        while True:
            try:
                return await self._dial()
            except Exception as error:  # noqa: BLE001 -- the library raises whatever its parts do
                reason = connect_reason(error)
            self._status.unreachable(reason)
            if self._grace.over:
                self.outbox.give_up(_outage(reason))
            failures += 1
            if failures % self._dialer.servers == 0:
                await asyncio.sleep(self._backoff.next())

    async def _dial(self) -> Link:
        self._login = self._dialer.login()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- this is a coroutine
        cancelled_before = task.cancelling()
        link = await self._dialer.dial()
        if task.cancelling() > cancelled_before:  # before Python 3.12 a library's wait can swallow a cancellation
            await link.close()
            raise asyncio.CancelledError
        return link

    async def _attend(self, link: Link) -> Link | None:
        """Use the link until it ends; or until it was spoiled and a successor is there, which is given back."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        looking: asyncio.Task[None] | None = None
        try:
            found = await self._look(link)
            self._grace.end()
            self._status.connected(tls=self._settings.tls, brokers=len(link.producer.client.cluster.brokers()))
            self._status.inspected(found)
            self.outbox.attach(link, found.limits, found.missing)
            looking = asyncio.create_task(self._keep_looking(link, found), name="kafka-look")
            successor = await self._watch(link, began)
            if successor is not None:
                await self.outbox.settle(_SETTLE_S)
                return successor
        finally:
            self.outbox.detach()
            if looking is not None:
                looking.cancel()
                await asyncio.wait([looking])
            await link.close()
        self._grace.begin()
        self._status.lost(link.ended.result())
        if loop.time() - began < _STABLE_S:
            await asyncio.sleep(self._backoff.next())
        return None

    async def _watch(self, link: Link, began: float) -> Link | None:
        loop = asyncio.get_running_loop()
        not_before = 0.0
        while not link.ended.done():
            waited: list[asyncio.Future[str]] = [link.ended]
            if not link.spoiled.done():
                waited.append(link.spoiled)
            await asyncio.wait(waited, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
            now = loop.time()
            self._check(link, now)
            if now - began > _STABLE_S:
                self._backoff.reset()
            if link.spoiled.done() and now >= not_before and not link.ended.done():
                try:
                    successor = await self._dial()
                except Exception as error:  # noqa: BLE001 -- as in `_next_link`
                    self._status.publish_failed(connect_reason(error), now)
                    not_before = now + self._backoff.next()
                else:
                    broker_facts.replaced(link.spoiled.result())
                    return successor
        return None

    def _check(self, link: Link, now: float) -> None:
        oldest_s = self.outbox.check(now)
        self._status.tick(now)
        if oldest_s > _SLOW_S or link.disturbed.is_set():
            link.disturbed.clear()
            self._look_wanted.set()
        if oldest_s > _WEDGED_S and self._status.sees_all_well:
            link.spoil("a batch was not answered for seconds, though the brokers answer and the topics are well")
        if self._login_changed():
            link.spoil("the login has changed")

    def _login_changed(self) -> bool:
        if self._login is None or self._settings.sasl == "OAUTHBEARER":  # whose tokens change all the time
            return False
        try:
            return self._dialer.login() != self._login
        except CannotConnect as error:
            broker_facts.login_unreadable(str(error))
            self._login = None  # until the next link
            return False

    async def _keep_looking(self, link: Link, found: Inspection) -> None:
        deaf = 0
        while True:
            pause_s = _LOOK_SOON_S if found.reasons or self._status.doubt or deaf else _LOOK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look_wanted.wait()
                    await asyncio.sleep(_LOOK_PAUSE_S)
            self._look_wanted.clear()
            try:
                found = await self._look(link)
                deaf = 0
            except Exception as error:  # noqa: BLE001 -- the library raises whatever its parts do
                deaf += 1
                if deaf >= _MAX_DEAF:
                    link.end(lost_reason(error))
                self._look_wanted.set()
                continue
            self._status.inspected(found)
            self.outbox.refresh(found.limits, found.missing)

    async def _look(self, link: Link) -> Inspection:
        brokers = list(link.producer.client.cluster.brokers())
        node = brokers[0].nodeId if brokers and self._settings.provision != "off" else None
        found = await inspect(link.producer.ask, self._settings, self._wanted, node)
        if self._settings.dry_run:
            may = await examine(link.producer.ask, found.present)
            found = msgspec.structs.replace(found, reasons=found.reasons + may.reasons, doubts=may.doubts)
        await link.track(found.present)
        self._dialer.learn((broker.host, broker.port) for broker in link.producer.client.cluster.brokers())
        if found.created:
            self._look_wanted.set()  # they are there in a moment
        return found

    def _give_up(self) -> None:
        self.outbox.give_up(_outage(self._status.absence))


def _outage(reason: str) -> str:
    return f"no link to the broker: {reason}"
