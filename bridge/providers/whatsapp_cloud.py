"""WhatsApp Cloud (Meta): messages, statuses and calls of business numbers, in the `messaging` vocabulary.

A request holds many facts: entry x changes x messages or statuses. Each becomes an event of its own; one that does not
fit, and whatever else a business account tells, becomes `unknown`, so that it holds up none of the others. It wants
200 within some seconds, and tries again ever more rarely for up to 7 days.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Self

import msgspec

from bridge.errors import UndecodableBody
from bridge.events import messaging
from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.draft import Draft
from bridge.providers.passthrough import Fields, inner, json_object, text
from bridge.providers.proof import Plain, Proof
from bridge.providers.request import Handshake
from bridge.providers.whatsapp_cloud_items import KINDS, Names, array, item_event, names_of, object_of, unknown_event
from bridge.providers.whatsapp_cloud_setup import SAMPLES, Settings, greeter, make_sample

__all__ = ["WhatsAppCloud"]

_ACCOUNT = "whatsapp_business_account"
_PROOF = Proof(scheme="hmac-sha256", header="x-hub-signature-256", grammar=Plain("sha256="))
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_MAX_KEY_CHARS = 128


class WhatsAppCloud(Provider):
    """The provider."""

    name: str = "whatsapp-cloud"
    event_types: tuple[EventType, ...] = (
        messaging.MESSAGE_RECEIVED,
        messaging.MESSAGE_SENT,
        messaging.MESSAGE_UPDATED,
        messaging.MESSAGE_STATUS,
        messaging.MESSAGE_DELETED,
        messaging.CALL,
        messaging.UNKNOWN,
    )
    proofs: tuple[Proof, ...] = (_PROOF,)
    any_2xx: bool = False
    deadline_ms: int = 4000
    retry_plan_s: tuple[int, ...] = (_MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 12 * _HOUR, *(_DAY,) * 6)
    settings: type[msgspec.Struct] | None = Settings
    sample_events: tuple[str, ...] = tuple(SAMPLES)

    def __init__(self, verify_tokens: tuple[bytes, ...] = ()) -> None:
        self._verify_tokens = verify_tokens

    def configured(self, settings: msgspec.Struct | None) -> Self:
        """With the tokens that a new subscription shows."""
        if not isinstance(settings, Settings):
            return self
        return type(self)(tuple(token.reveal().encode(errors="surrogateescape") for token in settings.verify_token))

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def handshakes(self) -> Mapping[str, Handshake]:
        """A new subscription is verified with a GET."""
        return {"GET": greeter(self._verify_tokens)}

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A request with one fact in it."""
        return make_sample(event, now)


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    body = json_object(delivery.body)
    entries = array(body, "entry")
    if entries is None:
        raise UndecodableBody("Object missing required field `entry`, an array - at `$`")
    about = text(body, "object")
    draft = Draft("", about, delivery.received_at, delivery.received_at)
    if not entries:  # nothing happened; still a fact, and not to be retried for ever
        return (unknown_event(draft, msgspec.Raw(delivery.body)),)
    draft.unknown(_but(body, "object", "entry"), "envelope.")
    events: list[Event] = []
    for entry in entries:
        events += _of_entry(draft, entry)
        draft = draft.copy(extras=False)
    return tuple(events)


def _of_entry(around: Draft, raw: msgspec.Raw) -> Iterator[Event]:
    entry, draft = object_of(raw), around.copy(extras=True)
    account = text(entry, "id")
    draft.device = account if _is_key(account) else ""
    changes = array(entry, "changes")
    if not changes:
        yield unknown_event(draft, raw)
        return
    for name in ("id", "time"):
        if name in entry:
            draft.keep(f"envelope.{name}", entry[name])
    draft.unknown(_but(entry, "id", "time", "changes"), "envelope.")
    if "time" in entry:
        draft.take_time(entry["time"], "envelope.time")
    for change in changes:
        yield from _of_change(draft, around.name, change)
        draft = draft.copy(extras=False)


def _of_change(around: Draft, about: str, raw: msgspec.Raw) -> Iterator[Event]:
    change, draft = object_of(raw), around.copy(extras=True)
    value = inner(change, "value")
    draft.name = text(change, "field") or about
    draft.unknown(_but(change, "field", "value"), "envelope.")
    device = text(inner(value, "metadata"), "phone_number_id")
    found = {kind: array(value, kind) or [] for kind in KINDS}
    if about != _ACCOUNT or not _is_key(device) or not any(found.values()):
        yield unknown_event(draft, change.get("value", raw))
        return
    draft.device = device
    names = names_of(value)
    _keep_around(draft, value, names)
    for kind, items in found.items():
        for item in items:
            yield item_event(draft.copy(extras=True), kind, item, names)
            draft = draft.copy(extras=False)


def _keep_around(draft: Draft, value: Fields, names: Names) -> None:
    """What a change holds besides its items goes with the first of them."""
    for name, raw in _but(value, "messaging_product", *KINDS).items():
        if name in ("metadata", "errors") or (name == "contacts" and not names.whole):
            draft.keep(f"batch.{name}", raw)
        elif name != "contacts":
            draft.unknown({name: raw}, "batch.")
    for kind in KINDS:
        if kind in value and array(value, kind) is None:
            draft.unknown({kind: value[kind]}, "batch.")


def _but(fields: Fields, *names: str) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}


def _is_key(text: str) -> bool:
    return 0 < len(text) <= _MAX_KEY_CHARS and text.isascii() and text.isprintable() and " " not in text
