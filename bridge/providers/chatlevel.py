"""Chatlevel: push notifications about WhatsApp devices. Its five generations of payload, and the next one.

It signs nothing, sends no delivery id and counts only 200 as success. Known events become the `messaging`
vocabulary; event names not known become `unknown`. Generations, by its documentation's history: 2025-10-21
(instanceId, batches, string content), 10-22 (deviceId), 10-23 (flat messages, edits), 2025-11 (call, connection.auth),
2025-12-14 (fromType, lid, phoneNumber).
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bridge.errors import UndecodableBody
from bridge.events import messaging
from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery
from bridge.providers.chatlevel_samples import SAMPLES, make_sample
from bridge.providers.chatlevel_wire import (
    Auth,
    Batch,
    CallData,
    Connection,
    Deleted,
    Envelope,
    Message,
    Party,
    Time,
    Update,
    Updated,
)
from bridge.providers.shapes import Shape, decode_error, drift_names
from bridge.providers.values import contact, e164, event_id, utc_time

__all__ = ["Chatlevel"]

# Not stated by Chatlevel: WhatsApp replaces a pairing code after about this long.
PAIRING_LIFETIME = timedelta(seconds=60)

_DEVICE = re.compile(r"[\x21-\x7e]{1,128}")
_SUBJECT = re.compile(r"[\x21-\x7e]{1,256}")


class _Fact(msgspec.Struct):
    """One event in the making: what its builder fills in."""

    device: str
    event: str
    time: datetime
    received_at: datetime
    extra: dict[str, Any]  # unknown fields, and known ones that could not be normalised
    unknown: dict[str, Any]  # only the unknown ones, for the drift count

    def finish(
        self,
        event_type: EventType,
        identity: str,
        data: msgspec.Struct,
        *,
        subject: str | None = None,
        other: str | None = None,
        lifetime: timedelta | None = None,
    ) -> Event:
        return Event(
            id=identity,
            type=event_type,
            device=self.device,
            time=self.time,
            recordedtime=self.received_at,
            data=data,
            subject=subject if subject is not None and _SUBJECT.fullmatch(subject) else None,
            contact=other,
            expirytime=self.time + lifetime if lifetime else None,
            drift=drift_names(self.unknown) if self.unknown else (),
        )

    def copy(self, *, extras: bool) -> "_Fact":
        """For one item of a batch. What envelope and batch had beyond the schema goes with the first item alone.

        In each, a body of 256 KiB became hundreds of megabytes of records.
        """
        if extras:
            return msgspec.structs.replace(self, extra=dict(self.extra), unknown=dict(self.unknown))
        return msgspec.structs.replace(self, extra={}, unknown={})

    def extras(self) -> dict[str, Any] | msgspec.UnsetType:
        return self.extra or msgspec.UNSET

    def set_time(self, value: Time | None) -> None:
        """Take the item's own time instead of the envelope's, where it has one."""
        if value is not None:
            time = utc_time(value)
            if time is None:
                self.extra["timestamp"] = value
            else:
                self.time = time


_Builder = Callable[[_Fact, msgspec.Raw, str], tuple[Event, ...]]

_ENVELOPE = Shape(Envelope)
_MESSAGE = Shape(Message)
_BATCH = Shape(Batch)
_UPDATE = Shape(Update)
_UPDATED = Shape(Updated)
_DELETED = Shape(Deleted)
_CALL = Shape(CallData)
_CONNECTION = Shape(Connection)
_AUTH = Shape(Auth)


class Chatlevel:
    """The provider."""

    name: str = "chatlevel"
    event_types: tuple[EventType, ...] = messaging.TYPES
    success_status: int = 200
    retry_plan_s: tuple[int, ...] = (30, 60, 300, 3600)
    sample_events: tuple[str, ...] = tuple(SAMPLES)

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A body of the current generation.

        Raises:
            KeyError: no such event.
        """
        return make_sample(event, now)


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    body = delivery.body
    try:
        # msgspec does not look at the UTF-8 of what it skips or keeps raw, and would republish bad bytes
        body.decode()
        envelope, unknown = _ENVELOPE.decode(body)
        fact = _begin(envelope, unknown, delivery.received_at)
        builder = _BUILDERS.get(envelope.event, _unknown)
        # Without a usable time of its own, what is told apart by time is told apart by ours: equal data may be another
        # fact, and a duplicate is better than a loss.
        usable = utc_time(envelope.timestamp) is not None
        return builder(fact, envelope.data, str(envelope.timestamp if usable else delivery.received_at))
    except (UnicodeError, RecursionError) as error:
        raise decode_error(error) from None


def _begin(envelope: Envelope, unknown: dict[str, Any], received_at: datetime) -> _Fact:
    device = envelope.deviceId if envelope.deviceId is not None else envelope.instanceId
    if device is None:
        raise UndecodableBody("Object missing required field `deviceId` - at `$`")
    device = str(device)
    if not _DEVICE.fullmatch(device):
        raise UndecodableBody("Expected an id of 1 to 128 printable ASCII characters - at `$.deviceId`")
    fact = _Fact(device, envelope.event, received_at, received_at, dict(unknown), dict(unknown))
    fact.set_time(envelope.timestamp)
    return fact


def _absorb(fact: _Fact, unknown: dict[str, Any]) -> None:
    if unknown:
        for name in unknown.keys() & fact.extra.keys():  # the envelope had one of that name too: keep both
            fact.extra[f"envelope.{name}"] = fact.extra.pop(name)
        fact.extra.update(unknown)
        fact.unknown.update(unknown)


def _party(fact: _Fact, data: Party, *, outgoing: bool = False) -> messaging.Contact:
    identifier, kind = (data.to, data.to_type) if outgoing else (data.from_, data.from_type)
    if identifier is None:
        raise UndecodableBody(f"Object missing required field `{'to' if outgoing else 'from'}` - at `$.data`")
    other = contact(identifier, kind=kind, lid=data.lid, phone_number=data.phone_number, name=data.push_name)
    if data.phone_number and other.phone_number is None:
        fact.extra["phoneNumber"] = data.phone_number
    # Fields of the other direction have no place in the data; nothing is thrown away.
    for name, value in (
        (("from", data.from_), ("fromType", data.from_type))
        if outgoing
        else (
            ("to", data.to),
            ("toType", data.to_type),
        )
    ):
        if value is not None:
            fact.extra[name] = value
    if kind is not None and kind not in ("pn", "lid"):
        fact.extra["toType" if outgoing else "fromType"] = kind
    return other


def _content(content: dict[str, msgspec.Raw] | str) -> dict[str, Any]:
    return {"text": content} if isinstance(content, str) else content


def _messages(event_type: EventType, *, outgoing: bool) -> _Builder:
    struct = messaging.MessageSent if outgoing else messaging.MessageReceived

    def one(fact: _Fact, raw: msgspec.Raw, path: str) -> Event:
        data, unknown = _MESSAGE.decode(raw, path)
        _absorb(fact, unknown)
        fact.set_time(data.timestamp)
        other = _party(fact, data, outgoing=outgoing)
        normalised = struct(
            device_id=fact.device,
            message_id=data.id,
            contact=other,
            message_type=data.type,
            content=_content(data.content),
            extra=fact.extras(),
        )
        identity = event_id(fact.device, fact.event, bytes(raw))
        return fact.finish(event_type, identity, normalised, subject=data.id, other=other.id)

    def build(fact: _Fact, raw: msgspec.Raw, timestamp: str) -> tuple[Event, ...]:
        try:
            return (one(fact, raw, "$.data"),)
        except UndecodableBody:
            batch = _as_batch(raw)
            if batch is None:
                raise
        items, unknown = batch
        if not items:
            return _unknown(fact, raw, timestamp)  # nobody wrote; still a fact, and not to be retried for ever
        _absorb(fact, unknown)
        return tuple(
            one(fact.copy(extras=index == 0), item, f"$.data.messages[{index}]") for index, item in enumerate(items)
        )

    return build


def _as_batch(raw: msgspec.Raw) -> tuple[list[msgspec.Raw], dict[str, Any]] | None:
    """The first generation sent several messages at once."""
    try:
        batch, unknown = _BATCH.decode(raw)
    except UndecodableBody:
        return None
    return batch.messages, unknown


def _updated(fact: _Fact, raw: msgspec.Raw, timestamp: str) -> tuple[Event, ...]:
    data, unknown = _UPDATED.decode(raw, "$.data")
    update, unknown_update = _UPDATE.decode(data.update, "$.data.update")
    _absorb(fact, unknown)
    if unknown_update:
        fact.extra["update"] = unknown_update
        fact.unknown |= {f"update.{name}": value for name, value in unknown_update.items()}
    fact.set_time(data.timestamp)
    other = _party(fact, data)
    # an edit back to an earlier text has equal data: the time tells them apart
    identity = event_id(fact.device, fact.event, bytes(raw), timestamp)
    if update.edited_content is None and update.status is not None:
        if data.from_me is not None:
            fact.extra["fromMe"] = data.from_me
        status = messaging.MessageStatus(
            device_id=fact.device,
            message_id=data.message_id,
            contact=other,
            status=str(update.status),
            extra=fact.extras(),
        )
        return (fact.finish(messaging.MESSAGE_STATUS, identity, status, subject=data.message_id, other=other.id),)
    if update.status is not None:
        fact.extra.setdefault("update", {})["status"] = update.status
    edit = messaging.MessageUpdated(
        device_id=fact.device,
        message_id=data.message_id,
        contact=other,
        from_me=data.from_me,
        message_type=update.message_type,
        content=None if update.edited_content is None else _content(update.edited_content),
        extra=fact.extras(),
    )
    return (fact.finish(messaging.MESSAGE_UPDATED, identity, edit, subject=data.message_id, other=other.id),)


def _deleted(fact: _Fact, raw: msgspec.Raw, _timestamp: str) -> tuple[Event, ...]:
    data, unknown = _DELETED.decode(raw, "$.data")
    _absorb(fact, unknown)
    fact.set_time(data.timestamp)
    other = _party(fact, data)
    normalised = messaging.MessageDeleted(
        device_id=fact.device,
        message_id=data.message_id,
        contact=other,
        from_me=data.from_me,
        extra=fact.extras(),
    )
    identity = event_id(fact.device, fact.event, bytes(raw))
    return (fact.finish(messaging.MESSAGE_DELETED, identity, normalised, subject=data.message_id, other=other.id),)


def _call(fact: _Fact, raw: msgspec.Raw, _timestamp: str) -> tuple[Event, ...]:
    data, unknown = _CALL.decode(raw, "$.data")
    _absorb(fact, unknown)
    fact.set_time(data.timestamp)
    other = _party(fact, data)
    called_at = utc_time(data.date)
    if data.date is not None and called_at is None:
        fact.extra["date"] = data.date
    normalised = messaging.Call(
        device_id=fact.device,
        call_id=data.id,
        contact=other,
        status=data.status,
        is_video=data.is_video,
        is_group=data.is_group,
        called_at=called_at,
        extra=fact.extras(),
    )
    identity = event_id(fact.device, fact.event, bytes(raw))
    return (fact.finish(messaging.CALL, identity, normalised, subject=data.id, other=other.id),)


def _connection(event_type: EventType) -> _Builder:
    """Open, closed, timeout and logout. Their data is often empty, so the time is part of the identity."""
    makers: dict[EventType, Callable[[_Fact, Connection], msgspec.Struct]] = {
        messaging.CONNECTION_OPEN: lambda fact, data: messaging.ConnectionOpen(
            device_id=fact.device,
            display_name=data.display_name,
            phone_number=e164(data.phone_number),
            extra=fact.extras(),
        ),
        messaging.CONNECTION_CLOSED: lambda fact, data: messaging.ConnectionClosed(
            device_id=fact.device, reason=data.reason, extra=fact.extras()
        ),
        messaging.CONNECTION_TIMEOUT: lambda fact, _: messaging.ConnectionTimeout(
            device_id=fact.device, extra=fact.extras()
        ),
        messaging.CONNECTION_LOGOUT: lambda fact, _: messaging.ConnectionLogout(
            device_id=fact.device, extra=fact.extras()
        ),
    }
    make = makers[event_type]
    kept = {messaging.CONNECTION_OPEN: ("display_name",), messaging.CONNECTION_CLOSED: ("reason",)}.get(event_type, ())

    def build(fact: _Fact, raw: msgspec.Raw, timestamp: str) -> tuple[Event, ...]:
        data, unknown = _CONNECTION.decode(raw, "$.data")
        _absorb(fact, unknown)
        for field in msgspec.structs.fields(Connection):
            value = getattr(data, field.name)
            normalised = field.name in kept or (field.name == "phone_number" and e164(value) and "display_name" in kept)
            if value is not None and not normalised:
                fact.extra[field.encode_name] = value
        identity = event_id(fact.device, fact.event, bytes(raw), timestamp)
        return (fact.finish(event_type, identity, make(fact, data)),)

    return build


def _auth(fact: _Fact, raw: msgspec.Raw, timestamp: str) -> tuple[Event, ...]:
    data, unknown = _AUTH.decode(raw, "$.data")
    _absorb(fact, unknown)
    normalised = messaging.ConnectionAuth(
        device_id=fact.device, qr_code=data.qr_code, pairing_code=data.pairing_code, extra=fact.extras()
    )
    identity = event_id(fact.device, fact.event, bytes(raw), timestamp)
    return (fact.finish(messaging.CONNECTION_AUTH, identity, normalised, lifetime=PAIRING_LIFETIME),)


def _unknown(fact: _Fact, raw: msgspec.Raw, timestamp: str) -> tuple[Event, ...]:
    """A name this version does not know, as the sixth generation will bring: kept whole, never refused."""
    normalised = messaging.Unknown(
        provider=Chatlevel.name, event=fact.event, device_id=fact.device, payload=raw, extra=fact.extras()
    )
    return (fact.finish(messaging.UNKNOWN, event_id(fact.device, fact.event, bytes(raw), timestamp), normalised),)


_BUILDERS: dict[str, _Builder] = {
    "message.received": _messages(messaging.MESSAGE_RECEIVED, outgoing=False),
    "message.sent": _messages(messaging.MESSAGE_SENT, outgoing=True),
    "message.updated": _updated,
    "message.deleted": _deleted,
    "call": _call,
    "connection.open": _connection(messaging.CONNECTION_OPEN),
    "connection.closed": _connection(messaging.CONNECTION_CLOSED),
    "connection.auth": _auth,
    "connection.timeout": _connection(messaging.CONNECTION_TIMEOUT),
    "connection.logout": _connection(messaging.CONNECTION_LOGOUT),
    # names of earlier generations
    "connection.qr": _auth,
    "connection.qr.timeout": _connection(messaging.CONNECTION_TIMEOUT),
    "device.connected": _connection(messaging.CONNECTION_OPEN),
    "device.disconnected": _connection(messaging.CONNECTION_CLOSED),
    "qr": _auth,
    "qr.timeout": _connection(messaging.CONNECTION_TIMEOUT),
}
