"""Chatlevel: push notifications about WhatsApp devices. Its five generations of payload, and the next one.

It signs nothing, sends no delivery id and counts only 200 as success. Known events become the `messaging`
vocabulary; event names not known become `unknown`. Generations, by its documentation's history: 2025-10-21
(instanceId, batches, string content), 10-22 (deviceId), 10-23 (flat messages, edits), 2025-11 (call, connection.auth),
2025-12-14 (fromType, lid, phoneNumber).
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bridge.errors import UndecodableBody
from bridge.events import messaging
from bridge.events.model import Event, EventType
from bridge.providers import chatlevel_wire as wire
from bridge.providers.api_token import ApiSettings
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.chatlevel_samples import SAMPLES, make_sample
from bridge.providers.draft import Draft
from bridge.providers.shapes import Shape, decode_error
from bridge.providers.values import contact, e164

__all__ = ["Chatlevel"]

# Not stated by Chatlevel: WhatsApp replaces a pairing code after about this long.
PAIRING_LIFETIME = timedelta(seconds=60)

_MAX_EVENT_NAME_CHARS = 128
_EMPTY = msgspec.Raw(b"{}")

_Builder = Callable[[Draft, msgspec.Raw], tuple[Event, ...]]

_is_device = re.compile(r"[\x21-\x7e]{1,128}").fullmatch
_decode_device = msgspec.json.Decoder(Annotated[int, Meta(ge=1, le=2**63 - 1)] | str).decode

_ENVELOPE = Shape(wire.Envelope)
_RECEIVED = Shape(wire.Received)
_SENT = Shape(wire.Sent)
_BATCH = Shape(wire.Batch)
_UPDATED = Shape(wire.Updated)
_UPDATE = Shape(wire.Update)
_DELETED = Shape(wire.Deleted)
_CALL = Shape(wire.CallData)
_OPEN = Shape(wire.Open)
_CLOSED = Shape(wire.Closed)
_AUTH = Shape(wire.Auth)
_NOTHING = Shape(wire.Empty)


class Chatlevel(Provider):
    """The provider."""

    name: str = "chatlevel"
    event_types: tuple[EventType, ...] = messaging.TYPES
    success_status: int = 200
    any_2xx: bool = False
    retry_plan_s: tuple[int, ...] = (30, 60, 300, 3600)
    settings: type[msgspec.Struct] | None = ApiSettings
    registrar: str = "bridge.registration.chatlevel:Chatlevel"
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
        builder = _BUILDERS.get(envelope.event, _unknown)
        draft = Draft("", envelope.event, delivery.received_at, delivery.received_at)
        if unknown:
            draft.unknown(unknown, "envelope.")
        _take_device(draft, envelope, required=builder is not _unknown)
        draft.take_time(envelope.timestamp, "envelope.timestamp")
        return builder(draft, envelope.data)
    except (UnicodeError, RecursionError) as error:
        raise decode_error(error) from None


def _take_device(draft: Draft, envelope: wire.Envelope, *, required: bool) -> None:
    path, raw = "deviceId", envelope.deviceId
    if not _is_there(raw):
        path, raw = "instanceId", envelope.instanceId
        if not _is_there(raw):
            if required:
                raise UndecodableBody("Object missing required field `deviceId` - at `$`")
            return
    elif _is_there(envelope.instanceId):
        draft.keep("envelope.instanceId", envelope.instanceId)
    try:
        draft.device = _device(raw, path)
    except UndecodableBody:
        if required:
            raise
        draft.keep(f"envelope.{path}", raw)


def _is_there(raw: msgspec.Raw) -> bool:
    return raw is not wire.ABSENT and bytes(raw) != b"null"


def _object(raw: msgspec.Raw) -> msgspec.Raw:
    """No data is empty data, where data may be empty."""
    return raw if _is_there(raw) else _EMPTY


def _device(raw: msgspec.Raw, path: str) -> str:
    try:
        device = str(_decode_device(raw))
    except msgspec.DecodeError as error:
        raise decode_error(error, f"$.{path}") from None
    if not _is_device(device):  # it becomes the record's key and part of the event's source
        raise UndecodableBody(f"Expected an id of 1 to 128 printable ASCII characters - at `$.{path}`")
    return device


def _contact(draft: Draft, data: wire.Party, path: str, name: str | None = None) -> messaging.Contact:
    identifier, kind = data.party, data.party_type
    side = "to" if isinstance(data, wire.Sent) else "from"
    if not identifier:
        identifier, kind = (data.phone_number, "pn") if data.phone_number else (data.lid, "lid")
        if not identifier:
            raise UndecodableBody(f"Object missing required field `{side}` - at `{path}`")
    elif kind is not None and kind not in ("pn", "lid"):
        draft.keep(f"{side}Type", kind)
    other = contact(identifier, kind=kind, lid=data.lid, phone_number=data.phone_number, name=name)
    if data.phone_number and data.phone_number != identifier and e164(data.phone_number) is None:
        draft.keep("phoneNumber", data.phone_number)
    return other


def _content(content: dict[str, msgspec.Raw] | str | None) -> dict[str, Any]:
    return {"text": content} if isinstance(content, str) else content or {}


def _take_own_time(draft: Draft, data: wire.Party) -> None:
    """The first generation's items have their own times; the envelope's is that of sending."""
    if data.timestamp is not wire.ABSENT:
        draft.time = draft.read_time(data.timestamp, "timestamp") or draft.time


_Message = messaging.MessageReceived | messaging.MessageSent


def _messages(
    shape: Shape[wire.Received] | Shape[wire.Sent], event_type: EventType, struct: type[_Message]
) -> _Builder:
    def make(draft: Draft, raw: msgspec.Raw, data: wire.Received | wire.Sent, path: str) -> Event:
        _take_own_time(draft, data)
        other = _contact(draft, data, path, data.push_name if isinstance(data, wire.Received) else None)
        content = _content(data.content)
        message = struct(
            device_id=draft.device,
            message_id=data.id,
            contact=other,
            message_type=data.type or ("text" if "text" in content else "unknown"),
            content=content,
            extra=draft.extras(),
        )
        identity = draft.identity(raw, unique=True)
        return draft.finish(event_type, identity, message, subject=data.id, contact=other.id)

    def make_item(draft: Draft, raw: msgspec.Raw, path: str) -> Event:
        data, unknown = shape.decode(raw, path)
        draft.unknown(unknown)
        return make(draft, raw, data, path)

    def build(draft: Draft, raw: msgspec.Raw) -> tuple[Event, ...]:
        try:
            data, unknown = shape.decode(raw, "$.data")
        except UndecodableBody:
            batch = _as_batch(raw)
            if batch is None:
                raise
        else:
            if unknown:
                draft.unknown(unknown)
            return (make(draft, raw, data, "$.data"),)
        items, unknown = batch
        draft.unknown(unknown, "batch.")
        if not items:
            return _unknown(draft, raw)  # nobody wrote; still a fact, and not to be retried for ever
        return tuple(
            make_item(draft.copy(extras=index == 0), item, f"$.data.messages[{index}]")
            for index, item in enumerate(items)
        )

    return build


def _as_batch(raw: msgspec.Raw) -> tuple[list[msgspec.Raw], dict[str, msgspec.Raw]] | None:
    try:
        batch, unknown = _BATCH.decode(raw)
    except UndecodableBody:
        return None
    return batch.messages, unknown


def _updated(draft: Draft, raw: msgspec.Raw) -> tuple[Event, ...]:
    data, unknown = _UPDATED.decode(raw, "$.data")
    update, unknown_update = _UPDATE.decode(_object(data.update), "$.data.update")
    draft.unknown(unknown)
    draft.unknown(unknown_update, "update.")
    _take_own_time(draft, data)
    other = _contact(draft, data, "$.data")
    # an edit back to an earlier text has equal data: the time tells them apart
    identity = draft.identity(raw, unique=False)
    if update.status is not None and update.edited_content is None:
        event_type, made = messaging.MESSAGE_STATUS, _status(draft, data, update, other)
    else:
        event_type, made = messaging.MESSAGE_UPDATED, _edit(draft, data, update, other)
    return (draft.finish(event_type, identity, made, subject=data.message_id, contact=other.id),)


def _status(draft: Draft, data: wire.Updated, update: wire.Update, other: messaging.Contact) -> msgspec.Struct:
    for path, value in (("fromMe", data.from_me), ("update.messageType", update.message_type)):
        if value is not None:
            draft.keep(path, value)
    return messaging.MessageStatus(
        device_id=draft.device,
        message_id=data.message_id,
        contact=other,
        status=str(update.status),
        extra=draft.extras(),
    )


def _edit(draft: Draft, data: wire.Updated, update: wire.Update, other: messaging.Contact) -> msgspec.Struct:
    if update.status is not None:
        draft.keep("update.status", update.status)
    return messaging.MessageUpdated(
        device_id=draft.device,
        message_id=data.message_id,
        contact=other,
        from_me=data.from_me,
        message_type=update.message_type,
        content=None if update.edited_content is None else _content(update.edited_content),
        extra=draft.extras(),
    )


def _deleted(draft: Draft, raw: msgspec.Raw) -> tuple[Event, ...]:
    data, unknown = _DELETED.decode(raw, "$.data")
    draft.unknown(unknown)
    _take_own_time(draft, data)
    other = _contact(draft, data, "$.data")
    deleted = messaging.MessageDeleted(
        device_id=draft.device,
        message_id=data.message_id,
        contact=other,
        from_me=data.from_me,
        extra=draft.extras(),
    )
    identity = draft.identity(raw, unique=True)
    return (draft.finish(messaging.MESSAGE_DELETED, identity, deleted, subject=data.message_id, contact=other.id),)


def _call(draft: Draft, raw: msgspec.Raw) -> tuple[Event, ...]:
    data, unknown = _CALL.decode(raw, "$.data")
    draft.unknown(unknown)
    _take_own_time(draft, data)
    other = _contact(draft, data, "$.data")
    called_at = draft.read_time(data.date, "date")
    call = messaging.Call(
        device_id=draft.device,
        call_id=data.id,
        contact=other,
        status=data.status,
        is_video=data.is_video,
        is_group=data.is_group,
        called_at=called_at,
        extra=draft.extras(),
    )
    identity = draft.identity(raw, unique=True)
    return (draft.finish(messaging.CALL, identity, call, subject=data.id, contact=other.id),)


def _connection(shape: Shape[Any], event_type: EventType, make: Callable[[Draft, Any], msgspec.Struct]) -> _Builder:
    """Their data is often empty, so the time is part of the identity."""
    lifetime = PAIRING_LIFETIME if event_type.sensitive else None

    def build(draft: Draft, raw: msgspec.Raw) -> tuple[Event, ...]:
        data, unknown = shape.decode(_object(raw), "$.data")
        draft.unknown(unknown)
        return (draft.finish(event_type, draft.identity(raw, unique=False), make(draft, data), lifetime=lifetime),)

    return build


def _make_open(draft: Draft, data: wire.Open) -> msgspec.Struct:
    number = e164(data.phone_number)
    if data.phone_number and number is None:
        draft.keep("phoneNumber", data.phone_number)
    return messaging.ConnectionOpen(
        device_id=draft.device, display_name=data.display_name, phone_number=number, extra=draft.extras()
    )


def _make_closed(draft: Draft, data: wire.Closed) -> msgspec.Struct:
    return messaging.ConnectionClosed(device_id=draft.device, reason=data.reason, extra=draft.extras())


def _make_auth(draft: Draft, data: wire.Auth) -> msgspec.Struct:
    return messaging.ConnectionAuth(
        device_id=draft.device, qr_code=data.qr_code, pairing_code=data.pairing_code, extra=draft.extras()
    )


def _make_timeout(draft: Draft, _: wire.Empty) -> msgspec.Struct:
    return messaging.ConnectionTimeout(device_id=draft.device, extra=draft.extras())


def _make_logout(draft: Draft, _: wire.Empty) -> msgspec.Struct:
    return messaging.ConnectionLogout(device_id=draft.device, extra=draft.extras())


def _unknown(draft: Draft, raw: msgspec.Raw) -> tuple[Event, ...]:
    """A name this version does not know, as the sixth generation will bring: kept whole, never refused."""
    if len(draft.name) > _MAX_EVENT_NAME_CHARS:
        draft.keep("envelope.event", draft.name)
    unknown = messaging.Unknown(
        provider=Chatlevel.name,
        event=draft.name[:_MAX_EVENT_NAME_CHARS],
        device_id=draft.device or None,
        payload=raw,
        extra=draft.extras(),
    )
    return (draft.finish(messaging.UNKNOWN, draft.identity(raw, unique=False), unknown),)


_open = _connection(_OPEN, messaging.CONNECTION_OPEN, _make_open)
_closed = _connection(_CLOSED, messaging.CONNECTION_CLOSED, _make_closed)
_auth = _connection(_AUTH, messaging.CONNECTION_AUTH, _make_auth)
_timeout = _connection(_NOTHING, messaging.CONNECTION_TIMEOUT, _make_timeout)
_logout = _connection(_NOTHING, messaging.CONNECTION_LOGOUT, _make_logout)

_BUILDERS: dict[str, _Builder] = {
    "message.received": _messages(_RECEIVED, messaging.MESSAGE_RECEIVED, messaging.MessageReceived),
    "message.sent": _messages(_SENT, messaging.MESSAGE_SENT, messaging.MessageSent),
    "message.updated": _updated,
    "message.deleted": _deleted,
    "call": _call,
    "connection.open": _open,
    "connection.closed": _closed,
    "connection.auth": _auth,
    "connection.timeout": _timeout,
    "connection.logout": _logout,
    # names of earlier generations
    "connection.qr": _auth,
    "connection.qr.timeout": _timeout,
    "device.connected": _open,
    "device.disconnected": _closed,
    "qr": _auth,
    "qr.timeout": _timeout,
}
