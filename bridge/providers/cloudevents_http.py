"""CloudEvents over HTTP: binary, structured, batched. Events are published whole, in structured form, as `data`.

Proven by a token: as a bearer, in the query or in the path. A sender may ask first with OPTIONS (`http-webhook.md`).
"""

import uuid
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import unquote

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import fallback_type, header, items, json_object, make_event, text, time_of
from bridge.providers.request import Handshake, Reply, Request
from bridge.providers.shapes import decode_error
from bridge.providers.values import event_id

__all__ = ["CloudEventsHttp"]

_FALLBACK = fallback_type("cloudevents-http")
_STRUCTURED, _BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_ATTRIBUTES = ("id", "source", "specversion", "type", "subject", "time", "dataschema", "partitionkey", "traceparent")
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_REQUIRED = ("specversion", "id", "source", "type")


class CloudEventsHttp(Provider):
    """The provider."""

    name: str = "cloudevents-http"
    event_types: tuple[EventType, ...] = (_FALLBACK,)
    open_types: bool = True
    headers: frozenset[str] = frozenset({"content-type", *(f"ce-{name}" for name in _ATTRIBUTES)})
    sample_events: tuple[str, ...] = ("com.example.thing.created",)

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def handshakes(self) -> Mapping[str, Handshake]:
        """A sender asks whether it may send."""
        return {"OPTIONS": _consent}

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A structured event."""
        if event not in self.sample_events:
            raise KeyError(event)
        about = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/things", "type": event}
        return msgspec.json.encode({**about, "subject": "1", "time": now.isoformat(), "data": {"id": 1}})

    def sample_headers(self, event: str, body: bytes) -> Mapping[str, str]:  # noqa: ARG002 -- the same for all
        """Structured mode."""
        return {"content-type": _STRUCTURED}


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    kind = header(delivery, "content-type").partition(";")[0].strip().lower()
    if kind == _BATCH:
        return tuple(_event(delivery, item, f"$[{number}]") for number, item in enumerate(items(delivery.body)))
    if kind.startswith("application/cloudevents"):
        if kind != _STRUCTURED:
            raise UndecodableBody(f"Expected the JSON format, {_STRUCTURED} or {_BATCH}")
        return (_event(delivery, delivery.body, "$"),)
    return (_event(delivery, _structured(delivery, kind), "the headers `ce-…`"),)


def _structured(delivery: Delivery, kind: str) -> bytes:
    """What a binary request would be in structured mode."""
    event: dict[str, object] = {}
    for name, value in delivery.headers.items():
        if name.startswith(b"ce-"):
            event[name[3:].decode("latin-1")] = unquote(value.decode("latin-1"), errors="replace")
    if kind:
        event["datacontenttype"] = header(delivery, "content-type")
    if delivery.body and (kind == "application/json" or kind.endswith("+json")):
        event["data"] = _json(delivery.body)
    elif delivery.body:
        event["data_base64"] = b64encode(delivery.body).decode()
    return msgspec.json.encode(event)


def _json(body: bytes) -> msgspec.Raw:
    """A body that is JSON of any kind."""
    try:
        body.decode()  # what is kept raw is not looked at otherwise
        return _decode_raw(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error) from None


def _event(delivery: Delivery, raw: bytes | msgspec.Raw, place: str) -> Event:
    fields = json_object(raw)
    said = {name: text(fields, name) for name in _ATTRIBUTES}
    for name in _REQUIRED:
        if not said[name]:
            raise UndecodableBody(f"Object missing required field `{name}` - at `{place}`")
    return make_event(
        delivery,
        _FALLBACK,
        raw,
        name=said["type"],
        identity=event_id("", said["source"], said["id"].encode()),  # an id is unique within its source
        key=said["partitionkey"] or said["source"],
        subject=said["subject"],
        time=time_of(fields, "time"),
    )


def _consent(request: Request) -> Reply | None:
    """Whoever asks may send, at any rate: what counts is the token, and an event shows it."""
    origins = [value for name, value in request.headers if name == b"webhook-request-origin"]
    if len(origins) != 1 or not origins[0].isascii():
        return None
    allowed = (("webhook-allowed-origin", origins[0].decode()), ("webhook-allowed-rate", "*"), ("allow", "POST"))
    return Reply(200, headers=allowed)
