"""CloudEvents 1.0 in structured form: the record's value is the whole event, so every consumer sees everything.

Not here: the binary mode, which will be a second encoder beside this one.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from bridge.events.model import Event

__all__ = ["CONTENT_TYPE", "CloudEvent", "StructuredEncoder", "record_headers"]

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"

_PERCENT_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class CloudEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The envelope of every event: CloudEvents 1.0 attributes and the extensions we use."""

    id: Annotated[str, Meta(description="Stable: the same on each of the provider's retries. Drop what you have seen.")]
    source: Annotated[str, Meta(description="Which device of which source.", examples=["/chatlevel/devices/480213"])]
    type: Annotated[str, Meta(description="Domain, type and schema major.", examples=["messaging.message.received.v1"])]
    subject: Annotated[str | None, Meta(description="The object: a message or call id.")] = None
    time: Annotated[datetime, Meta(tz=True, description="When it happened, by the provider's clock.")]
    recordedtime: Annotated[datetime, Meta(tz=True, description="When the bridge received it.")]
    dataschema: Annotated[str, Meta(description="The schema of `data`.")]
    partitionkey: Annotated[
        str, Meta(description="The record's key: events of one key keep their order.", min_length=1)
    ]
    expirytime: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="When the content stops being of use: pairing codes, 60 s after `time` (an assumption)."),
    ] = None
    traceparent: Annotated[str | None, Meta(description="The trace the webhook came with (W3C).")] = None
    data: Annotated[Any, Meta(description="As `dataschema` says.")]
    # Required attributes that never change stand last, as defaults that are encoded all the same.
    specversion: str
    datacontenttype: str


class StructuredEncoder:
    """Encodes the events of one source."""

    def __init__(self, source_name: str) -> None:
        self._prefix = f"/{source_name}/devices/"
        self._encode = msgspec.json.Encoder().encode

    def encode(self, event: Event, *, key: str, traceparent: str | None = None) -> bytes:
        """The whole event as JSON on one line, however the provider broke its lines.

        Args:
            event: the normalised event.
            key: the record's key, sent along as `partitionkey`.
            traceparent: a valid W3C traceparent, or None.
        """
        event_type = event.type
        device = event.device
        value = self._encode(
            CloudEvent(
                id=event.id,
                source=self._prefix + (device if device.isalnum() and device.isascii() else quote(device, safe="")),
                type=event_type.ce_type,
                subject=event.subject,
                time=event.time,
                recordedtime=event.recordedtime,
                dataschema=event_type.dataschema,
                partitionkey=key,
                expirytime=event.expirytime,
                traceparent=traceparent,
                data=event.data,
                specversion="1.0",
                datacontenttype="application/json",
            )
        )
        return _on_one_line(value) if b"\n" in value else value


def _on_one_line(value: bytes) -> bytes:
    """What is republished raw may hold line breaks, which end a record for line-based tools (kcat, jq -c)."""
    try:
        return msgspec.json.format(value, indent=-1)
    except RecursionError:  # nested as deep as can be decoded: valid all the same
        return value


def record_headers(
    *, prefix: str, content_type: str, percent_encode: bool
) -> Callable[[Event, str | None], dict[str, str]]:
    """A function that makes the few headers of a structured record: content type, id, type, traceparent.

    Args:
        prefix: `ce-` (NATS) or `ce_` (Kafka).
        content_type: the name of the content type header.
        percent_encode: as the NATS and HTTP bindings ask; Kafka takes plain UTF-8.
    """
    id_name, type_name = f"{prefix}id", f"{prefix}type"

    def headers(event: Event, traceparent: str | None) -> dict[str, str]:
        event_id = event.id
        if percent_encode and not (event_id.isascii() and event_id.isalnum()):
            event_id = quote(event_id, safe=_PERCENT_SAFE)
        result = {content_type: CONTENT_TYPE, id_name: event_id, type_name: event.type.ce_type}
        if traceparent is not None:
            result["traceparent"] = traceparent
        return result

    return headers
