"""The one task that keeps a link to the broker: dial, attend, dial again. The only retry of connections there is."""

import asyncio
import contextlib
from collections.abc import Iterator

import msgspec

from bridge.publishers.nats.dialer import Dialer
from bridge.publishers.nats.faults import LinkLost, connect_reason
from bridge.publishers.nats.link import Link
from bridge.publishers.nats.outbox import Outbox
from bridge.publishers.nats.permissions import examine
from bridge.publishers.nats.settings import NatsSettings
from bridge.publishers.nats.status import NatsStatus
from bridge.publishers.nats.stream import Inspection, inspect
from bridge.publishers.nats.weakness import weaknesses
from bridge.publishers.status import Weakness
from bridge.publishers.supervision import Backoff, Grace
from bridge.telemetry import broker_facts

__all__ = ["SILENCE", "Supervisor"]

_TICK_S = 1.0
_STALL_S = 2.5  # a tick that comes so late: it was our loop, or machine, that stood still
_PROBE_S = 5.0
_PROBE_SOON_S = 1.0  # while not ready
_PROBE_PAUSE_S = 0.25  # between two that somebody asked for
_RENEWED = "the login or the certificates have changed"
_RENEW_AGAIN_S = 5.0  # while the broker refuses them: the link still works, and the broker is not hammered
_SLOW_S = 2.0  # a record that is not acknowledged for so long: the stream takes none
SILENCE = "the broker does not acknowledge records in time"
_STABLE_S = 5.0  # a link that ended sooner counts as a failed attempt


class Supervisor:
    """Keeps the link, looks at the stream, and tells outbox and status."""

    def __init__(self, settings: NatsSettings, outbox: Outbox, status: NatsStatus, tokens: Iterator[int]) -> None:
        self._settings = settings
        self._outbox = outbox
        self._status = status
        self._tokens = tokens
        self._dialer = Dialer(settings)
        self._backoff = Backoff()
        self._probe_wanted = asyncio.Event()
        self._grace = Grace(self._give_up)
        self._login: tuple[object, ...] | None = None
        self._successor: Link | None = None

    def look_soon(self) -> None:
        """Something is wrong with publishing: look at the stream again."""
        self._probe_wanted.set()

    async def run(self) -> None:
        """Never ends but by cancellation, and leaves no link behind."""
        loop = asyncio.get_running_loop()
        self._grace.begin()
        try:
            while True:
                try:
                    successor, self._successor = self._successor, None
                    link = successor or await self._next_link()
                    began = loop.time()
                    await self._attend(link, in_exchange=link is successor)
                    if self._successor is None and loop.time() - began < _STABLE_S:
                        await asyncio.sleep(self._backoff.next())
                except Exception as error:  # noqa: BLE001 -- a supervisor that dies silently is what this replaces
                    broker_facts.supervision_failed(error)
                    await asyncio.sleep(self._backoff.next())
        finally:
            self._grace.end()
            if self._successor is not None:
                await self._successor.close()

    async def _next_link(self) -> Link:
        failures = 0
        while True:
            try:
                return await self._dial()
            except Exception as error:  # noqa: BLE001 -- the library raises whatever its parts do
                reason = connect_reason(error)
            self._status.unreachable(reason)
            if self._grace.over:
                self._outbox.give_up(_outage(reason))
            failures += 1
            if failures % self._dialer.servers == 0:
                await asyncio.sleep(self._backoff.next())

    async def _dial(self) -> Link:
        login = self._dialer.login()
        link = await self._dialer.dial(self._make_link)
        self._login = login
        return link

    def _make_link(self, tls_required: bool) -> Link:  # noqa: FBT001 -- the dialer's callback
        return Link(self._settings, self._tokens, tls_required=tls_required, on_no_responders=self._outbox.stall)

    async def _attend(self, link: Link, *, in_exchange: bool) -> None:
        """Use the link until it ends."""
        info = link.client.info
        self._grace.end()
        self._status.linked(
            server_version=str(info.get("version", "unknown")),
            tls=bool(info.get("tls_required")),
            max_payload=link.max_payload,
            in_exchange=in_exchange,
        )
        self._outbox.attach(link)
        probing = asyncio.create_task(self._keep_probing(link), name="nats-probe")
        renewing = asyncio.create_task(self._keep_current(link), name="nats-renew")
        try:
            await self._watch(link)
        finally:
            self._outbox.detach()
            self._grace.begin()
            self._dialer.learn(link.client.info)
            probing.cancel()
            renewing.cancel()
            await link.close()
            await asyncio.wait([probing, renewing])
        if link.ended.result() == _RENEWED:
            broker_facts.replaced(_RENEWED)
        else:
            self._status.lost(link.ended.result())

    async def _watch(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        began = last = loop.time()
        answers = 0
        while not link.ended.done():
            await asyncio.wait([link.ended], timeout=_TICK_S)
            now = loop.time()
            if now - last > _STALL_S:
                link.excuse_silence()
            elif link.answers == answers and link.oldest_age_s() > _SLOW_S:
                self._status.publish_failed(SILENCE, now)
                self.look_soon()
            last, answers = now, link.answers
            link.check_pulse()
            self._status.tick(now)
            if now - began > _STABLE_S:
                self._backoff.reset()

    async def _keep_current(self, link: Link) -> None:
        """Exchange the link when what links are made with has changed; it goes on until the new one is up.

        A link outlives its login, so that without this a bad new one would be found at the next outage.
        """
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                if self._dialer.login() == self._login:
                    self._status.renewal_refused(None)
                    continue
                self._successor = await self._dial()
            except Exception as error:  # noqa: BLE001 -- as in `_next_link`
                self._status.renewal_refused(connect_reason(error))
                await asyncio.sleep(_RENEW_AGAIN_S)
                continue
            link.end(_RENEWED)
            return

    async def _keep_probing(self, link: Link) -> None:
        while True:
            self._probe_wanted.clear()
            try:
                found = await self._probe(link)
            except LinkLost:
                return
            except Exception as error:  # noqa: BLE001 -- as in `run`
                broker_facts.supervision_failed(error)
                found = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_S if found is not None and not found.reasons else _PROBE_SOON_S):
                    await self._probe_wanted.wait()
                    await asyncio.sleep(_PROBE_PAUSE_S)

    async def _probe(self, link: Link) -> Inspection:
        settings = self._settings
        found = Inspection() if settings.provision == "off" else await inspect(link.ask, settings)
        if settings.dry_run:
            found = await _with_permissions(link, settings, found)
        version = str(link.client.info.get("version", "unknown"))
        weak = weaknesses(settings, found.config, server_version=version, max_payload=link.max_payload)
        weak += tuple(Weakness(doubt, durability=False) for doubt in found.doubts)
        self._status.inspected(found, weak)
        if found.missing:
            self._outbox.fail_stalled(found.reasons[0])
        return found

    def _give_up(self) -> None:
        self._outbox.give_up(_outage(self._status.absence))


async def _with_permissions(link: Link, settings: NatsSettings, found: Inspection) -> Inspection:
    may = await examine(link.ask, settings.subjects)
    return msgspec.structs.replace(found, reasons=found.reasons + may.reasons, doubts=found.doubts + may.doubts)


def _outage(reason: str) -> str:
    return f"no link to the broker: {reason}"
