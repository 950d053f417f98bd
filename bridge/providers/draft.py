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
_decode_time = msgspec.json.Decoder(str | int | float).decode


class Draft(msgspec.Struct):
    """One event in the making.

    Attributes:
        device: the device's id, or empty.
        name: the provider's own name of the event.
        time: when it happened; the receive time until a usable one is found.
        received_at: when the request came in.
        moment: of the identity of facts whose data is not unique; see `take_time`.
        extra: what the schema has no place for, by its path.
        drift: the paths of those that are not known at all.
    """

    device: str
    name: str
    time: datetime
    received_at: datetime
    moment: str = ""
    extra: dict[str, Any] = {}
    drift: list[str] = []

    def copy(self) -> "Draft":
        """For one item of a batch, which adds to what the envelope gave."""
        return msgspec.structs.replace(self, extra=dict(self.extra), drift=list(self.drift))

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

    def read_time(self, raw: msgspec.Raw | None, path: str) -> datetime | None:
        """A time in any usual form; what is none is kept."""
        if raw is None:
            return None
        try:
            time = utc_time(_decode_time(raw))
        except msgspec.DecodeError:
            time = None
        if time is None:
            self.keep(path, raw)
        return time

    def take_time(self, raw: msgspec.Raw | None, path: str) -> None:
        """Take the envelope's time, and as `moment` its text.

        Without a usable time the moment is that of receiving: then a retry becomes a duplicate, but the second of
        two equal facts (a device that disconnects twice) is not lost as one.
        """
        time = self.read_time(raw, path)
        if raw is None or time is None:
            self.moment = self.received_at.isoformat()
        else:
            self.time = time
            self.moment = bytes(raw).decode()

    def identity(self, raw: msgspec.Raw, *, unique: bool) -> str:
        """The event id.

        Args:
            raw: the fact's data as sent.
            unique: the data alone tells this fact from every other one of its name; else the moment joins in.
        """
        return event_id(self.device, self.name, bytes(raw), "" if unique else self.moment)

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
