"""One message, status or call of WhatsApp Cloud as an event. Not here: what is around them (`whatsapp_cloud`).

Whoever has a username is named by an id of the business's own (`from_user_id`) in place of the phone number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from bridge.events import messaging
from bridge.events.model import Event, EventType
from bridge.providers.draft import Draft
from bridge.providers.passthrough import Fields, inner, text, time_of
from bridge.providers.values import contact, event_id

__all__ = ["KINDS", "Names", "array", "item_event", "names_of", "object_of", "unknown_event"]

_MAX_NAME_CHARS = 128
_MAX_DISPLAY_NAME_CHARS = 256  # a name is repeated in each event: one of 200 KiB would make a flood of one request

# Documented, and without a place in the schemas: kept, and no drift.
_DOCUMENTED = frozenset(
    """biz_opaque_callback_data context conversation deeplink_payload direction duration end_time errors event from
    from_logical_id from_parent_user_id from_user_id group_id identity message_echo_type pricing
    recipient_identity_key_hash recipient_parent_user_id recipient_participant_id recipient_participant_user_id
    recipient_type recipient_user_id referral session start_time status to to_logical_id to_parent_user_id
    to_user_id""".split()  # noqa: SIM905 -- thirty lines of quotes otherwise
)
_NOBODY_WROTE = frozenset({"request_welcome", "system"})
_CALL_STATES = {"connect": "offer"}  # of the rest Meta's own words

_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(Fields).decode


class Names(NamedTuple):
    """What people call themselves.

    Attributes:
        by_id: by phone number or user id; of a single contact also by the empty text, for Meta may write the numbers
            of a contact and of a message's sender differently.
        whole: whether that is all there is of the contacts.
    """

    by_id: dict[str, str]
    whole: bool


class _Party(NamedTuple):
    """The other one.

    Attributes:
        field: where it is named.
        contact: who it is.
    """

    field: str
    contact: messaging.Contact


def array(fields: Fields, name: str) -> list[msgspec.Raw] | None:
    """An array's items; None where there is no array."""
    try:
        return _decode_items(fields[name]) if name in fields else None
    except (msgspec.DecodeError, RecursionError):
        return None


def object_of(raw: msgspec.Raw) -> Fields:
    """An object's fields; none where it is none."""
    try:
        return _decode_object(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}


def names_of(value: Fields) -> Names:
    """Those of a change's contacts."""
    contacts = [object_of(raw) for raw in array(value, "contacts") or ()]
    names: dict[str, str] = {}
    whole = array(value, "contacts") is not None
    for fields in contacts:
        profile = inner(fields, "profile")
        name = text(profile, "name")
        if fields.keys() - {"profile", "wa_id"} or profile.keys() != {"name"} or len(name) > _MAX_DISPLAY_NAME_CHARS:
            whole = False
        if 0 < len(name) <= _MAX_DISPLAY_NAME_CHARS:
            names |= {text(fields, key): name for key in ("wa_id", "user_id") if key in fields}
            if len(contacts) == 1:
                names[""] = name
    return Names(names, whole)


def item_event(draft: Draft, kind: str, raw: msgspec.Raw, names: Names) -> Event:
    """The event of one item.

    Args:
        draft: with what goes with this item; its device is the business's phone number id.
        kind: the array it was in, one of `KINDS`.
        raw: the item.
        names: of the contacts beside it.
    """
    fields = object_of(raw)
    made = KINDS[kind](draft, fields, names)
    if made is not None:
        return made
    draft.name = ".".join(filter(None, (draft.name, text(fields, "type"))))
    draft.time = time_of(fields, "timestamp") or draft.time
    return unknown_event(draft, raw, unique=not fields.keys().isdisjoint({"id", "timestamp"}), device=draft.device)


def unknown_event(draft: Draft, raw: msgspec.Raw, *, unique: bool = False, device: str | None = None) -> Event:
    """What the vocabulary has no word for, whole.

    Args:
        draft: whose device is the key: the business account's id, where no phone number is told of.
        raw: the payload.
        unique: whether the payload alone tells it from every other one.
        device: the phone number's id.
    """
    if len(draft.name) > _MAX_NAME_CHARS:
        draft.keep("envelope.field", draft.name)
    unknown = messaging.Unknown(
        provider="whatsapp-cloud",
        event=draft.name[:_MAX_NAME_CHARS],
        device_id=device,
        payload=raw,
        extra=draft.extras(),
    )
    return draft.finish(messaging.UNKNOWN, draft.identity(raw, unique=unique), unknown)


def _received(draft: Draft, fields: Fields, names: Names) -> Event | None:
    return _message(draft, fields, _party(fields, names, "from", "from_user_id"), ours=False)


def _echo(draft: Draft, fields: Fields, names: Names) -> Event | None:
    """What the business wrote in its app."""
    return _message(draft, fields, _party(fields, names, "to", "to_user_id"), ours=True)


def _message(draft: Draft, fields: Fields, party: _Party | None, *, ours: bool) -> Event | None:
    message_id, kind = text(fields, "id"), text(fields, "type")
    if not message_id or party is None or kind in _NOBODY_WROTE:
        return None
    original = text(inner(fields, kind), "original_message_id") if kind in ("edit", "revoke") else message_id
    if not original:
        return None
    _take(draft, fields, "id", "type", party.field, *((kind,) if kind else ()))
    common: dict[str, Any] = {"device_id": draft.device, "message_id": original, "contact": party.contact}
    identity = _identity(draft, "echo" if ours else "message", message_id)
    if kind == "revoke":
        _keep_rest(draft, fields, kind, "original_message_id")
        deleted = messaging.MessageDeleted(**common, from_me=ours, extra=draft.extras())
        return _finish(draft, messaging.MESSAGE_DELETED, identity, deleted, subject=original, party=party)
    if kind == "edit":
        _keep_rest(draft, fields, kind, "original_message_id", "message")
        edited = inner(fields, kind, "message")
        new_kind = text(edited, "type")
        for name, value in edited.items():
            if name not in ("type", new_kind):
                draft.keep(f"edit.message.{name}", value)
        updated = messaging.MessageUpdated(
            **common,
            from_me=ours,
            message_type=new_kind or None,
            content=_content(edited, new_kind) if edited else None,
            extra=draft.extras(),
        )
        return _finish(draft, messaging.MESSAGE_UPDATED, identity, updated, subject=original, party=party)
    event_type = messaging.MESSAGE_SENT if ours else messaging.MESSAGE_RECEIVED
    struct = messaging.MessageSent if ours else messaging.MessageReceived
    content = _content(fields, kind)
    message = struct(**common, message_type=kind or "unknown", content=content, extra=draft.extras())
    return _finish(draft, event_type, identity, message, subject=original, party=party)


def _content(fields: Fields, kind: str) -> dict[str, Any]:
    """The object named as the message's kind; of a text its words are `text`, as with all gateways."""
    if kind not in fields or kind == "type":
        return {}
    content: dict[str, Any] = dict(inner(fields, kind))
    if not content:
        return {kind: fields[kind]}
    if kind == "text" and "text" not in content and text(inner(fields, kind), "body"):
        content = {"text": content.pop("body"), **content}
    return content


def _status(draft: Draft, fields: Fields, names: Names) -> Event | None:
    message_id, state = text(fields, "id"), text(fields, "status")
    party = _party(fields, names, "recipient_id", "recipient_user_id")
    if not message_id or not state or party is None or text(fields, "type") == "call":
        return None
    _take(draft, fields, "id", "status", party.field)
    status = messaging.MessageStatus(
        device_id=draft.device, message_id=message_id, contact=party.contact, status=state, extra=draft.extras()
    )
    whose = [text(fields, f"recipient_{name}") for name in ("id", "user_id", "participant_id", "participant_user_id")]
    identity = _identity(draft, "status", message_id, state, *whose)
    return _finish(draft, messaging.MESSAGE_STATUS, identity, status, subject=message_id, party=party)


def _call(draft: Draft, fields: Fields, names: Names) -> Event | None:
    """Calls by people; those that the business makes are no call in the vocabulary's sense."""
    call_id, what = text(fields, "id"), text(fields, "event")
    party = _party(fields, names, "from", "from_user_id")
    if not call_id or not what or party is None or text(fields, "direction") == "BUSINESS_INITIATED":
        return None
    _take(draft, fields, "id", "event", party.field)
    call = messaging.Call(
        device_id=draft.device,
        call_id=call_id,
        contact=party.contact,
        status=_CALL_STATES.get(what, what),
        called_at=draft.time if draft.moment is not None else None,
        extra=draft.extras(),
    )
    return _finish(draft, messaging.CALL, _identity(draft, "call", call_id, what), call, subject=call_id, party=party)


def _party(fields: Fields, names: Names, *places: str) -> _Party | None:
    for place in places:
        if identifier := text(fields, place):
            name = names.by_id.get(identifier) or names.by_id.get("")
            other = contact(identifier, kind=None, lid=None, phone_number=None, name=name)
            return _Party(place, other)
    return None


def _take(draft: Draft, fields: Fields, *taken: str) -> None:
    """The item's own time, and in `extra` what is not taken from it."""
    draft.moment = None
    for name, value in fields.items():
        if name == "timestamp":
            draft.time = draft.received_at
            draft.take_time(value, "timestamp")
        elif name in taken:
            continue
        elif name in _DOCUMENTED:
            draft.keep(name, value)
        else:
            draft.unknown({name: value})


def _keep_rest(draft: Draft, fields: Fields, kind: str, *taken: str) -> None:
    draft.unknown({name: value for name, value in inner(fields, kind).items() if name not in taken}, f"{kind}.")


def _identity(draft: Draft, kind: str, *parts: str) -> str:
    """By Meta's own ids: a retry may put the same facts into other batches."""
    return event_id(draft.device, kind, msgspec.json.encode(parts))


def _finish(
    draft: Draft, event_type: EventType, identity: str, data: msgspec.Struct, *, subject: str, party: _Party
) -> Event:
    return draft.finish(event_type, identity, data, subject=subject, contact=party.contact.id)


KINDS: dict[str, Callable[[Draft, Fields, Names], Event | None]] = {
    "messages": _received,
    "message_echoes": _echo,
    "statuses": _status,
    "calls": _call,
}
"""The arrays of a change whose items are facts."""
