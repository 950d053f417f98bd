"""Slack: the Events API, slash commands and interactivity, payloads as they came without the verification token.

It waits for 3 s, and tries again at once, after a minute and after five.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import (
    Fields,
    fallback_type,
    form_fields,
    inner,
    is_form,
    json_object,
    make_event,
    text,
    time_of,
    without,
)
from bridge.providers.proof import Plain, Proof, Timestamp
from bridge.providers.request import Handshake, Reply, Request

__all__ = ["Slack"]

_FALLBACK = fallback_type("slack")
_PROOF = Proof(
    scheme="hmac-sha256",
    header="x-slack-signature",
    grammar=Plain("v0="),
    signed="v0:{timestamp}:{body}",
    timestamp=Timestamp("x-slack-request-timestamp"),
)
_REDACTED = frozenset({"token"})  # proves requests of old; whoever has it can still pretend to be Slack to somebody


class Slack(Provider):
    """The provider."""

    name: str = "slack"
    event_types: tuple[EventType, ...] = (_FALLBACK,)
    open_types: bool = True
    proofs: tuple[Proof, ...] = (_PROOF,)
    headers: frozenset[str] = frozenset({"content-type"})
    deadline_ms: int = 2500
    retry_plan_s: tuple[int, ...] = (0, 60, 300)
    sample_events: tuple[str, ...] = ("message", "app_mention")

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def handshakes(self) -> Mapping[str, Handshake]:
        """A new request URL is asked for a challenge."""
        return {"POST": _answer_challenge}

    def sample(self, event: str, *, now: datetime) -> bytes:
        """An event of a channel."""
        if event not in self.sample_events:
            raise KeyError(event)
        number = uuid.uuid4().hex.upper()
        seconds = int(now.timestamp())
        said = {
            "type": event,
            "channel": "C0AN8SE8Z",
            "user": "U2CERLKJA",
            "text": "Hello",
            "ts": f"{now.timestamp():.6f}",
            "client_msg_id": str(uuid.uuid4()),
        }
        return msgspec.json.encode(
            {
                "token": "XXYYZZ",
                "team_id": "T1DC2JH3J",
                "api_app_id": "A0BCDEFGH",
                "event": said,
                "type": "event_callback",
                "event_id": f"Ev{number[:10]}",
                "event_time": seconds,
            }
        )


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    if not is_form(delivery):
        return (_event(delivery),)
    form = form_fields(delivery.body)
    payload = form.get("payload")
    if isinstance(payload, str):
        return (_interaction(delivery, payload.encode()),)
    return (_command(delivery, form),)


def _event(delivery: Delivery) -> Event:
    fields = json_object(delivery.body)
    event = inner(fields, "event")
    outer, kind, subtype = text(fields, "type"), text(event, "type"), text(event, "subtype")
    if not outer:
        raise UndecodableBody("Object missing required field `type` - at `$`")
    name = ".".join(filter(None, (kind, subtype))) if outer == "event_callback" else outer
    return make_event(
        delivery,
        _FALLBACK,
        without(delivery.body, fields, _REDACTED),
        name=name,
        identity=text(fields, "event_id"),
        key=_key(text(fields, "team_id"), _channel(event)),
        subject=text(event, "client_msg_id") or text(event, "ts"),
        time=time_of(fields, "event_time"),
    )


def _channel(event: Fields) -> str:
    """The channel's id: the field itself, in it, or that of the item the event is about."""
    return text(event, "channel") or text(inner(event, "channel"), "id") or text(inner(event, "item"), "channel")


def _key(team: str, channel: str) -> str:
    return f"{team}:{channel}" if channel else team


def _interaction(delivery: Delivery, payload: bytes) -> Event:
    fields = json_object(payload)
    channel = text(inner(fields, "channel"), "id")
    return make_event(
        delivery,
        _FALLBACK,
        without(payload, fields, _REDACTED),
        name=f"interaction.{text(fields, 'type')}",
        identity=text(fields, "trigger_id"),
        key=_key(text(inner(fields, "team"), "id"), channel),
        subject=text(fields, "callback_id"),
    )


def _command(delivery: Delivery, form: Mapping[str, str | list[str]]) -> Event:
    fields = json_object(msgspec.json.encode(form))
    command = text(fields, "command")
    if not command:
        raise UndecodableBody("Expected a form field `payload` or `command`")
    body = msgspec.json.encode({name: value for name, value in form.items() if name not in _REDACTED})
    return make_event(
        delivery,
        _FALLBACK,
        body,
        name="slash_command",
        identity=text(fields, "trigger_id"),
        key=_key(text(fields, "team_id"), text(fields, "channel_id")),
        subject=command,
    )


def _answer_challenge(request: Request) -> Reply | None:
    if b"url_verification" not in request.body:
        return None
    try:
        fields = json_object(request.body)
    except UndecodableBody:
        return None
    if text(fields, "type") != "url_verification":
        return None
    return Reply(200, text(fields, "challenge").encode(errors="replace"))
