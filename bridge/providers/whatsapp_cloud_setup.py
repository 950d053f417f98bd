"""WhatsApp Cloud's subscription handshake with its settings, and requests made up for `send`."""

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from bridge.providers.request import Handshake, Reply, Request
from bridge.secret import Secret

__all__ = ["SAMPLES", "Settings", "greeter", "make_sample"]

_ANA = "5511912340000"
_PHONE_NUMBER_ID = "106540352242922"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a source of this provider has besides."""

    verify_token: Annotated[
        tuple[Secret, ...],
        Meta(
            description="What Meta shows when the webhook is registered, as entered there; several are valid at once. "
            "Without one the registration is refused. It proves no event: that is the app secret's.",
            extra={"expected": "the verify token as entered at Meta", "default": "none"},
        ),
    ] = ()


def greeter(tokens: tuple[bytes, ...]) -> Handshake:
    """Answers `hub.challenge` to whoever shows one of the tokens."""

    def greet(request: Request) -> Reply | None:
        said = dict(parse_qsl(request.query.decode("latin-1"), encoding="latin-1"))
        if said.get("hub.mode") != "subscribe":
            return None
        shown, known = said.get("hub.verify_token", "").encode("latin-1"), False
        for token in tokens:
            known |= hmac.compare_digest(shown, token)
        if not known:
            return Reply(403, b"the verify token is not the configured one" if tokens else b"no verify token is set")
        return Reply(200, said.get("hub.challenge", "").encode("latin-1"))

    return greet


def _wamid() -> str:
    return f"wamid.{secrets.token_urlsafe(24)}"


def _text(party: dict[str, str], seconds: str) -> dict[str, Any]:
    return {**party, "id": _wamid(), "timestamp": seconds, "type": "text", "text": {"body": "Bom dia!"}}


def _change(party: dict[str, str], seconds: str, kind: str, content: object) -> dict[str, Any]:
    return {**party, "id": _wamid(), "timestamp": seconds, "type": kind, kind: content}


def _call(seconds: str) -> dict[str, Any]:
    about = {"to": "15550783881", "from": _ANA, "event": "connect", "direction": "USER_INITIATED"}
    return {"id": f"wacid.{secrets.token_urlsafe(16)}", "timestamp": seconds, **about}


_FROM, _TO = {"from": _ANA}, {"from": "15550783881", "to": _ANA}

# Event -> the change's field, the array in it, and its one item.
SAMPLES: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "message.received": ("messages", "messages", lambda at: _text(_FROM, at)),
    "message.status": (
        "messages",
        "statuses",
        lambda at: {"id": _wamid(), "status": "delivered", "timestamp": at, "recipient_id": _ANA},
    ),
    "message.sent": ("smb_message_echoes", "message_echoes", lambda at: _text(_TO, at)),
    "message.updated": (
        "messages",
        "messages",
        lambda at: _change(
            _FROM,
            at,
            "edit",
            {"original_message_id": _wamid(), "message": {"type": "text", "text": {"body": "Boa tarde!"}}},
        ),
    ),
    "message.deleted": (
        "messages",
        "messages",
        lambda at: _change(_FROM, at, "revoke", {"original_message_id": _wamid()}),
    ),
    "call": ("calls", "calls", _call),
}


def make_sample(event: str, now: datetime) -> bytes:
    """A request with one such event.

    Raises:
        KeyError: there is no such event.
    """
    field, kind, make = SAMPLES[event]
    value: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": _PHONE_NUMBER_ID},
    }
    if event.startswith("message") and kind == "messages":
        value["contacts"] = [{"profile": {"name": "Ana Lúcia"}, "wa_id": _ANA}]
    value[kind] = [make(str(int(now.timestamp())))]
    entry = {"id": "102290129340398", "changes": [{"value": value, "field": field}]}
    return msgspec.json.encode({"object": "whatsapp_business_account", "entry": [entry]})
