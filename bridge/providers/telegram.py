"""Telegram: a bot's updates, payloads as they came. One bot a source, for ids are a bot's own.

It shows the `secret_token` of setWebhook in a header, and may take an answer's body for a call of its API: so the
answer is empty. Updates wait for 24 hours; when it tries again in that time it does not say.
"""

import itertools
import time
from datetime import datetime

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.providers.api_token import ApiSettings
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import Fields, fallback_type, inner, json_object, make_event, text, time_of
from bridge.providers.proof import Proof

__all__ = ["Telegram"]

_FALLBACK = fallback_type("telegram")
_PROOF = Proof(scheme="equal", header="x-telegram-bot-api-secret-token")
_HOUR = 3600
_numbers = itertools.count(time.time_ns() // 1000)


class Telegram(Provider):
    """The provider."""

    name: str = "telegram"
    event_types: tuple[EventType, ...] = (_FALLBACK,)
    open_types: bool = True
    proofs: tuple[Proof, ...] = (_PROOF,)
    success_status: int = 204
    retry_plan_s: tuple[int, ...] = (60, 300, 900, _HOUR, 4 * _HOUR, 18 * _HOUR)
    settings: type[msgspec.Struct] | None = ApiSettings
    registrar: str = "bridge.registration.telegram:Telegram"
    sample_events: tuple[str, ...] = ("message", "callback_query")

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        """An update of a private chat."""
        number = next(_numbers)
        sender = {"id": 1111111, "is_bot": False, "first_name": "Ada"}
        chat = {"id": 1111111, "type": "private", "first_name": "Ada"}
        message = {
            "message_id": number % 10**6,
            "from": sender,
            "chat": chat,
            "date": int(now.timestamp()),
            "text": "Hello",
        }
        about = {
            "message": message,
            "callback_query": {"id": str(number), "from": sender, "message": message, "data": "yes"},
        }
        return msgspec.json.encode({"update_id": number, event: about[event]})


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    fields = json_object(delivery.body)
    number = text(fields, "update_id")
    if not number:
        raise UndecodableBody("Object missing required field `update_id` - at `$`")
    kinds = [name for name in fields if name != "update_id"]
    about = inner(fields, kinds[0]) if len(kinds) == 1 else {}
    message = about if "chat" in about else inner(about, "message")
    return (
        make_event(
            delivery,
            _FALLBACK,
            delivery.body,
            name=kinds[0] if len(kinds) == 1 else "",
            identity=number,
            key=_key(about, message),
            subject=text(message, "message_id"),
            time=time_of(about, "edit_date", "date") or time_of(message, "date"),
        ),
    )


def _key(about: Fields, message: Fields) -> str:
    """The chat's id, or that of whoever did something outside of one."""
    return text(inner(message, "chat"), "id") or text(inner(about, "from"), "id")
