"""What a publisher knows of its broker, as health, and as a log line at each change. No I/O.

Three witnesses: the link, the last look at where records are kept, and the last publishes. What a look sees is the
broker's own business: each has a subclass.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from bridge.publishers.base import BrokerHealth
from bridge.telemetry import broker_facts

__all__ = ["Status", "Weakness"]

# Without traffic nothing would ever disprove that publishing fails, and what is not ready gets no traffic.
_DOUBT_S = 10.0

_STALE = "no link comes up with the changed login or certificates, the one made before goes on"

Details = dict[str, str | int | bool]


class Weakness(msgspec.Struct, frozen=True):
    """Something in the broker's settings that weakens our promises, with its remedy.

    Attributes:
        text: for people.
        durability: an acknowledged event may be lost, or stored twice, because of it. Else it merely will hurt.
    """

    text: str
    durability: bool = True


class Status:
    """The state now.

    Attributes:
        health: as the publisher tells it.
        ready: set while `health.ready`.
    """

    def __init__(self, *, require_durable: bool, unseen: str) -> None:
        """Not started.

        Args:
            require_durable: weak durability makes not ready.
            unseen: the reason for not being ready until the first look.
        """
        self._require_durable = require_durable
        self._unseen = unseen
        self._phase: str | None = "the publisher was not started"
        self._absence: str | None = "the broker is not connected yet"
        self._seen: tuple[str, ...] | None = None
        self._weaknesses: tuple[Weakness, ...] = ()
        self._plans: tuple[str, ...] = ()
        self._renewal: str | None = None
        self._server: Details = {}
        self._doubts: dict[str, tuple[str, float]] = {}
        self._told_reasons: tuple[str, ...] = ()
        self._told_warnings: tuple[str, ...] = ()
        self._told_absence: str | None = None
        self.ready = asyncio.Event()
        self.health = self._compose()

    @property
    def doubt(self) -> str | None:
        """Why the last publish failed; None: it did not."""
        return next((reason for reason, _at in self._doubts.values()), None)

    @property
    def absence(self) -> str:
        """Why there is no link."""
        return self._absence or ""

    def started(self) -> None:
        """Connecting has begun."""
        self._phase = None
        self._update()

    def closed(self) -> None:
        """It is over."""
        self._phase = "the publisher is closed"
        self._update()

    def connected(self, **server: str | int | bool) -> None:
        """A link is up; what the broker keeps is not known yet.

        Args:
            server: small facts about it, for the log and for health.
        """
        self._seen = None
        self.exchanged(**server)

    def exchanged(self, **server: str | int | bool) -> None:
        """Another link to the same broker is up in place of one that worked: what was seen there stands."""
        self._absence = self._told_absence = self._renewal = None
        self._doubts.pop("", None)  # a topic's own trouble outlives links
        self._server = server
        broker_facts.connected(**server)
        self._update()

    def renewal_refused(self, reason: str | None) -> None:
        """The login or the certificates have changed, and no link comes up with them; None: they work or are as before.

        The link made before goes on, so this is a warning.
        """
        if reason != self._renewal:
            self._renewal = reason
            self._update()

    def lost(self, reason: str) -> None:
        """The link is gone."""
        self._absence = self._told_absence = reason
        self._renewal = None  # whatever is changed, is now the reason itself
        broker_facts.lost(reason)
        self._update()

    def unreachable(self, reason: str) -> None:
        """An attempt to connect failed."""
        self._absence = reason
        if reason != self._told_absence:
            self._told_absence = reason
            broker_facts.unreachable(reason)
        self._update()

    def looked(self, reasons: Sequence[str], weaknesses: Sequence[Weakness], plans: Sequence[str] = ()) -> None:
        """The stream or the topics were looked at: why records are not taken, what is weak, what would be made."""
        if self._seen and not reasons:
            self._doubts.clear()  # why publishes failed was seen, and is gone
        self._seen = tuple(reasons)
        self._weaknesses = tuple(weaknesses)
        self._plans = tuple(plans)
        self._update()

    def publish_failed(self, reason: str, now: float, *, about: str = "") -> None:
        """The broker did not take a record that it should have.

        Args:
            reason: with its remedy.
            now: by the loop's clock.
            about: the topic, where it is that topic's own trouble.
        """
        known = self._doubts.get(about)
        self._doubts[about] = (reason, now)
        if known is None or known[0] != reason:
            self._update()

    def publish_succeeded(self, *, about: str = "") -> None:
        """The broker takes records again, or those of this topic."""
        if self._doubts.pop(about, None) is not None:
            self._update()

    def tick(self, now: float) -> None:
        """To be called about once a second."""
        for about, (_reason, doubted_at) in list(self._doubts.items()):
            if now - doubted_at > _DOUBT_S:
                self.publish_succeeded(about=about)

    def _details(self) -> Details:
        """Small facts of this kind of broker."""
        return {}

    def _update(self) -> None:
        old, self.health = self.health, self._compose()
        if self.health.ready:
            self.ready.set()
        else:
            self.ready.clear()
        self._tell(old)

    def _tell(self, old: BrokerHealth) -> None:
        health = self.health
        if health.warnings and health.warnings != self._told_warnings:
            self._told_warnings = health.warnings
            broker_facts.weak(health.warnings)
        if health.ready:
            if not old.ready:
                self._told_reasons = ()
                broker_facts.ready()
        elif self._is_news(health.reasons):
            self._told_reasons = health.reasons
            broker_facts.not_ready(health.reasons)

    def _is_news(self, reasons: tuple[str, ...]) -> bool:
        """Without a link there are other lines, and not yet looked at is no news."""
        looked = self._phase is None and self._absence is None and self._seen is not None
        return looked and reasons != self._told_reasons

    def _compose(self) -> BrokerHealth:
        reasons = self._reasons()
        # While there is no link, what was weak still is.
        warnings = tuple(weakness.text for weakness in self._weaknesses)
        if self._renewal is not None:
            warnings += (f"{_STALE}: {self._renewal}",)
        details = {"connected": self._absence is None, **self._server, **self._details()}
        return BrokerHealth(
            ready=not reasons,
            reasons=reasons,
            warnings=warnings,
            plans=self._plans,
            looked=self._seen is not None and self._absence is None,
            details=details,
        )

    def _reasons(self) -> tuple[str, ...]:
        if self._phase is not None:
            return (self._phase,)
        if self._absence is not None:
            return (self._absence,)
        if self._seen is None:
            return (self._unseen,)
        reasons = list(self._seen)
        if self._require_durable:
            reasons += [
                f"{weakness.text} (BRIDGE_REQUIRE_DURABLE)" for weakness in self._weaknesses if weakness.durability
            ]
        if not reasons:
            reasons += [reason for reason, _at in self._doubts.values()]
        return tuple(reasons)
