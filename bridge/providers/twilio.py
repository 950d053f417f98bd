"""Twilio: webhooks of messages, calls and other products as forms, and Event Streams as CloudEvents; as they came.

A form becomes a JSON object of texts. It says its kind by which fields it has, and holds no credential of ours.

Answered without a body: Twilio takes what is in one for instructions (TwiML). So a call that waits for instructions
is not to be sent here; its status callbacks are. A webhook is given 15 s, one of Event Streams 5 s. What was answered
with failure is not sent again, but for Event Streams, unless the URL asks for it: `#rc=5&rp=all` at its end.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import (
    Fields,
    Payload,
    fallback_type,
    form_fields,
    header,
    inner,
    is_form,
    items,
    json_object,
    make_event,
    text,
    time_of,
)
from bridge.providers.proof import Proof, Scheme
from bridge.providers.values import utc_time

__all__ = ["Twilio"]

_FALLBACK = fallback_type("twilio")
_RETRY_TOKEN = "i-twilio-idempotency-token"  # noqa: S105 -- no secret: the same on each attempt
_CLOUDEVENTS = "com.twilio."


def _proof(scheme: Scheme, signed: str) -> Proof:
    return Proof(scheme=scheme, header="x-twilio-signature", encoding="base64", signed=signed)


_SIGNED = ("{url:bodySHA256}", "{url}{form}")  # JSON, forms
_SCHEMES: tuple[Scheme, ...] = ("hmac-sha1", "hmac-sha256")  # with the auth token, with a shared key
_PROOFS = tuple(_proof(scheme, signed) for signed in _SIGNED for scheme in _SCHEMES)

# What a form is about: the first of these that has an id and a state.
_OBJECTS = (
    ("recording", "RecordingSid", "RecordingStatus"),
    ("transcription", "TranscriptionSid", "TranscriptionStatus"),
    ("message", "MessageSid", "MessageStatus"),
    ("message", "MessageSid", "SmsStatus"),
    ("message", "SmsSid", "SmsStatus"),
    ("call", "CallSid", "CallStatus"),
)
_SIDS = ("MessageSid", "SmsSid", "RoomSid", "ConferenceSid", "CallSid", "ConversationSid", "ResourceSid", "Sid")
_EVENT_NAMES = ("EventType", "StatusCallbackEvent")  # of all else: of TaskRouter, Conversations; rooms, conferences


class Twilio(Provider):
    """The provider."""

    name: str = "twilio"
    event_types: tuple[EventType, ...] = (
        *(
            EventType("twilio", name, Payload, schema=_FALLBACK.schema)
            for name in ("message.received", "message.status", "call.status")
        ),
        _FALLBACK,
    )
    open_types: bool = True
    proofs: tuple[Proof, ...] = _PROOFS
    headers: frozenset[str] = frozenset({"content-type", _RETRY_TOKEN})
    success_status: int = 204
    deadline_ms: int = 4000
    sample_events: tuple[str, ...] = (
        "message.received",
        "message.status",
        "call.status",
        "messaging.message.delivered",
    )

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A form with what consumers read most; for the names of Event Streams a batch of one."""
        if event not in self.sample_events:
            raise KeyError(event)
        number = uuid.uuid4().hex
        if event.startswith("messaging."):
            return msgspec.json.encode([_cloudevent(event, number, now.isoformat())])
        account = {"AccountSid": f"AC{'0' * 32}", "ApiVersion": "2010-04-01"}
        return urlencode({**_samples(number, now)[event], **account}).encode()

    def sample_headers(self, event: str, body: bytes) -> Mapping[str, str]:  # noqa: ARG002 -- the body says enough
        """What kind of body it is, and a token that is the same for the same one."""
        form = not body.startswith(b"[")
        kind = "application/x-www-form-urlencoded; charset=UTF-8" if form else "application/json"
        return {"content-type": kind, _RETRY_TOKEN: str(uuid.uuid5(uuid.NAMESPACE_OID, body.hex()))}


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    if is_form(delivery):
        return (_event(delivery, msgspec.json.encode(form_fields(delivery.body))),)
    if delivery.body.lstrip()[:1] == b"[":
        return tuple(_event(delivery, item) for item in items(delivery.body))
    return (_event(delivery, delivery.body),)


def _event(delivery: Delivery, payload: bytes | msgspec.Raw) -> Event:
    fields = json_object(payload)
    if text(fields, "specversion"):
        return _streamed(delivery, payload, fields)
    kind, status = _state(fields)
    name = kind or next(filter(None, (text(fields, name) for name in _EVENT_NAMES)), "")
    return make_event(
        delivery,
        _FALLBACK,
        payload,
        name=name,
        identity=_identity(fields, name, status) or header(delivery, _RETRY_TOKEN),
        key=_own_number(fields, name) or text(fields, "AccountSid"),
        subject=_subject(fields),
        time=_time(fields),
    )


def _streamed(delivery: Delivery, payload: bytes | msgspec.Raw, fields: Fields) -> Event:
    """One of Event Streams."""
    data = inner(fields, "data")
    return make_event(
        delivery,
        _FALLBACK,
        payload,
        name=text(fields, "type").removeprefix(_CLOUDEVENTS),
        identity=text(fields, "id"),
        key=text(data, "accountSid") or text(data, "account_sid") or text(data, "AccountSid"),
        subject=text(fields, "subject") or text(data, "messageSid") or text(data, "callSid"),
        time=time_of(fields, "time") or time_of(data, "timestamp"),
    )


def _state(fields: Fields) -> tuple[str, str]:
    """The type by what the form is about, and the state that this is in; empty where it is about nothing known."""
    for about, sid, status in _OBJECTS:
        if text(fields, sid) and (state := text(fields, status)):
            return f"{about}.{'received' if (about, state) == ('message', 'received') else 'status'}", state
    return "", ""


def _subject(fields: Fields) -> str:
    return text(fields, "RecordingSid") or next(filter(None, (text(fields, sid) for sid in _SIDS)), "")


def _identity(fields: Fields, name: str, status: str) -> str:
    """The id of what can happen once alone.

    A message comes into each state once, on each channel. Of all else only a number says so, and only together with
    whose it is: a call asks several times while it is in progress.
    """
    subject, number = _subject(fields), text(fields, "SequenceNumber")
    if status and name.startswith("message."):
        return ":".join(filter(None, (subject, status, text(fields, "ChannelPrefix"))))
    return f"{subject}:{status or name}:{number}" if subject and number else ""


def _own_number(fields: Fields, name: str) -> str:
    """Of the two that talk, the one that is the account's; the other is a person's."""
    places = {"message.received": "To", "message.status": "From", "inbound": "To", "outbound-api": "From"}
    return text(fields, places.get(name) or places.get(text(fields, "Direction"), ""))


def _time(fields: Fields) -> datetime | None:
    """When it happened, where it says so: in RFC 3339, seconds, or as mail does."""
    try:
        mail = datetime.strptime(text(fields, "Timestamp"), "%a, %d %b %Y %H:%M:%S %z")
    except ValueError:
        return time_of(fields, "Timestamp")
    return utc_time(mail.isoformat())


def _samples(number: str, now: datetime) -> dict[str, dict[str, str]]:
    ours, theirs = "+15557122661", "+15558675310"
    message = {"MessageSid": f"SM{number}", "SmsSid": f"SM{number}"}
    received = {"SmsMessageSid": f"SM{number}", "SmsStatus": "received", "NumMedia": "0", "NumSegments": "1"}
    call = {"CallSid": f"CA{number}", "CallStatus": "completed", "Direction": "inbound", "SequenceNumber": "3"}
    return {
        "message.received": {**message, **received, "From": theirs, "To": ours, "Body": "Hello"},
        "message.status": {
            **message,
            "MessageStatus": "delivered",
            "SmsStatus": "delivered",
            "From": ours,
            "To": theirs,
        },
        "call.status": {
            **call,
            "From": theirs,
            "To": ours,
            "CallDuration": "15",
            "Timestamp": now.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        },
    }


def _cloudevent(event: str, number: str, now: str) -> dict[str, object]:
    data = {
        "messageSid": f"SM{number}",
        "accountSid": f"AC{'0' * 32}",
        "messageStatus": "DELIVERED",
        "from": "+15557122661",
        "to": "+15558675310",
        "timestamp": now,
    }
    return {
        "specversion": "1.0",
        "type": _CLOUDEVENTS + event,
        "source": f"/2010-04-01/Accounts/{data['accountSid']}/Messages/{data['messageSid']}.json",
        "id": f"EZ{number}",
        "dataschema": "https://events-schemas.twilio.com/Messaging.MessageStatus/8",
        "datacontenttype": "application/json",
        "time": now,
        "data": data,
    }
