"""CloudEvents 1.0 on records, in either mode.

Structured: the record's value is the whole event, so every consumer sees everything, beside a few headers to filter by.
Binary: the value is `data` alone and every attribute is a header. Names and encodings by the protocol bindings 1.0.2,
binary on NATS by the draft of 1.0.3. Not here: reading them back (`reading`).
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from bridge.events.model import Event

__all__ = [
    "CONTENT_TYPE",
    "BinaryEncoder",
    "CloudEvent",
    "StructuredEncoder",
    "binary_headers",
    "percent_encoded",
    "record_headers",
]

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"

_DATA_CONTENT_TYPE = "application/json"
_SPEC_VERSION = "1.0"
_PERCENT_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_encode_time = msgspec.json.Encoder().encode
_is_percent_safe = re.compile(r"[!#$&-~]*", re.ASCII).fullmatch

_Headers = Callable[[Event, str, str | None], dict[str, str]]


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
        value = self._encode(
            CloudEvent(
                id=event.id,
                source=self._prefix + _segment(event.device),
                type=event_type.ce_type,
                subject=event.subject,
                time=event.time,
                recordedtime=event.recordedtime,
                dataschema=event_type.dataschema,
                partitionkey=key,
                expirytime=event.expirytime,
                traceparent=traceparent,
                data=event.data,
                specversion=_SPEC_VERSION,
                datacontenttype=_DATA_CONTENT_TYPE,
            )
        )
        return _on_one_line(value) if b"\n" in value else value


class BinaryEncoder:
    """Encodes the data of events: a record's value in binary mode."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode

    def encode(self, event: Event, *, key: str, traceparent: str | None = None) -> bytes:  # noqa: ARG002 -- as the other
        """The event's data as JSON on one line; key and traceparent are in headers alone."""
        value = self._encode(event.data)
        return _on_one_line(value) if b"\n" in value else value


def _segment(device: str) -> str:
    """The device as one segment of a URI reference."""
    return device if device.isalnum() and device.isascii() else quote(device, safe="")


def _on_one_line(value: bytes) -> bytes:
    """What is republished raw may hold line breaks, which end a record for line-based tools (kcat, jq -c)."""
    try:
        return msgspec.json.format(value, indent=-1)
    except RecursionError:  # nested as deep as can be decoded: valid all the same
        return value


def record_headers(*, prefix: str, content_type: str, percent_encode: bool) -> _Headers:
    """A function that makes the few headers of a structured record: content type, id, type, traceparent.

    It takes event, key and traceparent.

    Args:
        prefix: `ce-` (NATS) or `ce_` (Kafka).
        content_type: the name of the content type header.
        percent_encode: as the NATS and HTTP bindings ask; Kafka takes plain UTF-8.
    """
    id_name, type_name = f"{prefix}id", f"{prefix}type"
    text = percent_encoded if percent_encode else str

    def headers(event: Event, _key: str, traceparent: str | None) -> dict[str, str]:
        result = {content_type: CONTENT_TYPE, id_name: text(event.id), type_name: event.type.ce_type}
        if traceparent is not None:
            result["traceparent"] = traceparent
        return result

    return headers


def binary_headers(source_name: str, *, prefix: str, data_content_type: str, percent_encode: bool) -> _Headers:
    """A function that makes the headers of a binary record: every attribute of the event.

    It takes event, key and traceparent. The traceparent is there twice: as the attribute, where the trace began, and
    as the header that tracing tools look for.

    Args:
        source_name: part of every event's `source`.
        prefix: `ce-` (NATS) or `ce_` (Kafka).
        data_content_type: the name of the header that holds `datacontenttype`.
        percent_encode: as the NATS and HTTP bindings ask; Kafka takes plain UTF-8.
    """
    name = {field: f"{prefix}{field}" for field in CloudEvent.__struct_fields__}
    fixed = {data_content_type: _DATA_CONTENT_TYPE, name["specversion"]: _SPEC_VERSION}
    text = percent_encoded if percent_encode else str
    source_prefix = f"/{source_name}/devices/"

    def headers(event: Event, key: str, traceparent: str | None) -> dict[str, str]:
        event_type = event.type
        result = {
            **fixed,
            name["id"]: text(event.id),
            name["source"]: text(source_prefix + _segment(event.device)),
            name["type"]: event_type.ce_type,
            name["time"]: _timestamp(event.time),
            name["recordedtime"]: _timestamp(event.recordedtime),
            name["dataschema"]: event_type.dataschema,
            name["partitionkey"]: text(key),
        }
        if event.subject is not None:
            result[name["subject"]] = text(event.subject)
        if event.expirytime is not None:
            result[name["expirytime"]] = _timestamp(event.expirytime)
        if traceparent is not None:
            result[name["traceparent"]] = result["traceparent"] = traceparent
        return result

    return headers


def percent_encoded(text: str) -> str:
    """A header's value by the HTTP binding, 3.1.3.2: space, `"`, `%` and what is not printable ASCII, as UTF-8."""
    return text if _is_percent_safe(text) else quote(text, safe=_PERCENT_SAFE)


def _timestamp(time: datetime) -> str:
    """As the structured mode writes it, and three times as fast as `isoformat`."""
    return _encode_time(time)[1:-1].decode()
