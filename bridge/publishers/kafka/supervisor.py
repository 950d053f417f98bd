"""The one task that keeps a link to the brokers: dial, look, attend, dial again. The only retry of connections.

A link that ended is replaced when the brokers can be reached again; one that is only spoiled goes on until its
successor is up, so that what still works is not disturbed.
"""

import asyncio
import contextlib
from typing import Any

import msgspec

from bridge.publishers.kafka.dialer import Dialer
from bridge.publishers.kafka.faults import connect_reason, lost_reason
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
_LOGIN_S = 1.0
_RENEWED = "the login or the certificates have changed"
_RENEW_AGAIN_S = 5.0  # while the broker refuses them: the link still works, and the broker is not hammered
_MAX_WANTED = 1000

_Dialled = tuple[Link, Inspection]


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
        self._login: tuple[object, ...] | None = None
        self._login_checked_at = 0.0
        self._successor: _Dialled | None = None
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
        self._grace.begin()
        try:
            while True:
                try:
                    link = self._successor or await self._next_link()
                    self._successor = None
                    await self._attend(*link)
                except Exception as error:  # noqa: BLE001 -- a supervisor that dies silently is what this replaces
                    broker_facts.supervision_failed(error)
                    self._grace.begin()
                    await asyncio.sleep(self._backoff.next())
        finally:
            self._grace.end()
            if self._successor is not None:
                await self._successor[0].close()

    async def _next_link(self) -> _Dialled:
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

    async def _dial(self) -> _Dialled:
        """A link that was looked over: until then the one before it goes on, if there is one."""
        login = self._dialer.login()
        link = await self._dialer.dial()
        try:
            found = await self._look(link)
        except BaseException:
            await link.close()
            raise
        self._login = login
        return link, found

    async def _attend(self, link: Link, found: Inspection) -> None:
        """Use the link until it ends; or until it was spoiled and a successor is there."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._grace.end()
        self._status.connected(tls=self._settings.tls, brokers=len(link.producer.client.cluster.brokers()))
        self._status.inspected(found)
        looking = asyncio.create_task(self._keep_looking(link, found), name="kafka-look")
        try:
            self.outbox.attach(link, found)
            await self._watch(link, began)
            if self._successor is not None:
                broker_facts.replaced(link.spoiled.result())
                await self.outbox.settle(_SETTLE_S)
                return
        finally:
            self.outbox.detach()
            looking.cancel()
            await link.close()  # before anything else is waited for: a second cancellation would leave it open
            await asyncio.wait([looking])
        self._grace.begin()
        self._status.lost(link.ended.result())
        if loop.time() - began < _STABLE_S:
            await asyncio.sleep(self._backoff.next())

    async def _watch(self, link: Link, began: float) -> None:
        """Return when the link has ended, or has a successor."""
        loop = asyncio.get_running_loop()
        not_before: float | None = None
        dialling: asyncio.Task[_Dialled] | None = None
        try:
            while not link.ended.done():
                waited: set[asyncio.Future[Any]] = {link.ended, dialling or link.spoiled}
                await asyncio.wait(waited, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
                now = loop.time()
                self._check(link, now)
                if now - began > _STABLE_S:
                    self._backoff.reset()
                if dialling is not None and dialling.done():
                    self._successor, dialling, not_before = self._dialled(dialling, link, now)
                    if self._successor is not None:
                        return
                if link.spoiled.done() and dialling is None:
                    if not_before is None:  # the first one at once; a broker that fails each is not hammered
                        not_before = now if now - began > _STABLE_S else now + self._backoff.next()
                    if now >= not_before:
                        dialling = asyncio.create_task(self._dial(), name="kafka-dial")
                    else:
                        await asyncio.wait([link.ended], timeout=min(not_before - now, _TICK_S))
        finally:
            if dialling is not None:
                dialling.cancel()
                await asyncio.wait([dialling])
                if not dialling.cancelled() and dialling.exception() is None:
                    await dialling.result()[0].close()

    def _dialled(
        self, dialling: asyncio.Task[_Dialled], link: Link, now: float
    ) -> tuple[_Dialled | None, None, float | None]:
        try:
            return dialling.result(), None, None
        except Exception as error:  # noqa: BLE001 -- as in `_next_link`
            reason = connect_reason(error)
        if link.spoiled.result() == _RENEWED:
            self._status.renewal_refused(reason)
            return None, None, now + _RENEW_AGAIN_S
        self._status.publish_failed(reason, now)
        return None, None, now + self._backoff.next()

    def _check(self, link: Link, now: float) -> None:
        oldest_s, topic = self.outbox.check(now)
        self._status.tick(now)
        if oldest_s > _SLOW_S or link.disturbed.is_set():
            link.disturbed.clear()
            self._look_wanted.set()
        if oldest_s > _WEDGED_S and not self._status.explains(topic):
            link.spoil("a batch was not answered for seconds, though the brokers answer and its topic is well")
        if now - self._login_checked_at > _LOGIN_S:
            self._login_checked_at = now
            if self._login_changed():
                link.spoil(_RENEWED)

    def _login_changed(self) -> bool:
        with contextlib.suppress(Exception):  # what cannot be read now is no reason to part with a link
            if self._dialer.login() != self._login:
                return True
            self._status.renewal_refused(None)
        return False

    async def _keep_looking(self, link: Link, found: Inspection) -> None:
        loop = asyncio.get_running_loop()
        deaf, asked_pause_s = 0, _LOOK_PAUSE_S
        while True:
            pause_s = _LOOK_SOON_S if found.reasons or self._status.doubt or deaf else _LOOK_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._look_wanted.wait()
                    await asyncio.sleep(asked_pause_s)
                asked_pause_s = min(asked_pause_s * 2, _LOOK_SOON_S)  # slow brokers are not made slower by looks
            except TimeoutError:
                asked_pause_s = _LOOK_PAUSE_S
            self._look_wanted.clear()
            began = loop.time()
            try:
                found = await self._look(link)
                self._status.inspected(found)
                self.outbox.refresh(found)
                deaf = 0
            except Exception as error:  # noqa: BLE001 -- the library raises whatever its parts do
                deaf = 0 if self.outbox.acknowledged_at > began else deaf + 1
                if deaf >= _MAX_DEAF:
                    link.end(lost_reason(error))
                asked_pause_s = _LOOK_PAUSE_S  # an outage must be known soon
                self._look_wanted.set()

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
