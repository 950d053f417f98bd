"""An event in the making: what every decoder of a messaging provider fills in, whatever the format.

It sees to it that nothing is thrown away (`keep`, `unknown`) and that what becomes a key or header is safe.
"""

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bridge.events.model import Event, EventType
from bridge.providers.shapes import drift_name
from bridge.providers.values import event_id, utc_time

__all__ = ["NO_DEVICE", "Draft"]

NO_DEVICE = "unknown"
"""The key of an event that belongs to no device: a key may not be empty."""

_MAX_DRIFT_NAMES = 16

_safe = re.compile(r"[\x21-\x7e]{1,256}").fullmatch
_decode_time = msgspec.json.Decoder(str | int | float | None).decode


class Draft(msgspec.Struct):
    """One event in the making.

    Attributes:
        device: the device's id, or empty.
        name: the provider's own name of the event.
        time: when it happened; the receive time until a usable one is found.
        received_at: when the request came in.
        moment: joins the identity of facts whose data is not unique; see `take_time`.
        extra: what the schema has no place for, by its path.
        drift: the paths of those that are not known at all.
    """

    device: str
    name: str
    time: datetime
    received_at: datetime
    moment: msgspec.Raw | None = None
    extra: dict[str, Any] = {}
    drift: list[str] = []

    def copy(self, *, extras: bool) -> "Draft":
        """For one item of a batch. What envelope and batch had beyond the schema goes with the first item alone.

        In each, a body of 256 KiB became hundreds of megabytes of records.
        """
        if extras:
            return msgspec.structs.replace(self, extra=dict(self.extra), drift=list(self.drift))
        return msgspec.structs.replace(self, extra={}, drift=[])

    def keep(self, path: str, value: object) -> str:
        """Keep a value as it came; where the path is taken, under one with underscores after it."""
        while path in self.extra:
            path += "_"
        self.extra[path] = value
        return path

    def unknown(self, fields: dict[str, msgspec.Raw], place: str = "") -> None:
        """Keep fields that the schema does not know, and count them.

        Args:
            fields: name -> value as sent.
            place: where they were, other than in the event's data: `envelope.`.
        """
        for name, value in fields.items():
            path = self.keep(place + name, value)
            if len(self.drift) < _MAX_DRIFT_NAMES:
                self.drift.append(drift_name(path))

    def extras(self) -> dict[str, Any] | msgspec.UnsetType:
        """The data's `extra`: absent where there is nothing."""
        return self.extra or msgspec.UNSET

    def read_time(self, raw: msgspec.Raw, path: str) -> datetime | None:
        """A time in any usual form, None for `null`; anything else is kept."""
        try:
            value = _decode_time(raw)
            if value is None:
                return None
            time = utc_time(value)
        except msgspec.DecodeError:
            time = None
        if time is None:
            self.keep(path, raw)
        return time

    def take_time(self, raw: msgspec.Raw, path: str) -> None:
        """Take the envelope's time, and its text as the `moment`.

        Without a usable time the moment is that of receiving: then a retry becomes a duplicate, but the second of
        two equal facts (a device that disconnects twice) is not lost as one.
        """
        time = self.read_time(raw, path)
        if time is not None:
            self.time = time
            self.moment = raw

    def identity(self, raw: msgspec.Raw, *, unique: bool) -> str:
        """The event id.

        Args:
            raw: the fact's data as sent.
            unique: the data alone tells this fact from every other one of its name; else the moment joins in.
        """
        if unique:
            return event_id(self.device, self.name, bytes(raw))
        moment = self.received_at.isoformat() if self.moment is None else bytes(self.moment).decode()
        return event_id(self.device, self.name, bytes(raw), moment)

    def finish(
        self,
        event_type: EventType,
        identity: str,
        data: msgspec.Struct,
        *,
        subject: str | None = None,
        contact: str | None = None,
        lifetime: timedelta | None = None,
    ) -> Event:
        """The event. A subject or contact that is no header text (CR, NUL, too long) stays in the data only."""
        return Event(
            id=identity,
            type=event_type,
            device=self.device or NO_DEVICE,
            time=self.time,
            recordedtime=self.received_at,
            data=data,
            subject=subject if subject and _safe(subject) else None,
            contact=contact if contact and _safe(contact) else None,
            expirytime=self.time + lifetime if lifetime else None,
            drift=tuple(self.drift),
        )
