"""JSON Schemas (2020-12) of every event type, generated from the structs.

Written so that draft-07 tools read them as well: no `prefixItems`, no `unevaluated…`, no `$dynamicRef`.
Objects stay open: consumers must ignore what they do not know.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from bridge.events.cloudevents import CloudEvent
from bridge.events.model import EventType

__all__ = ["ENVELOPE_PATH", "all_schemas"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE_PATH = "cloudevents/event/v1.0.json"
_ENVELOPE_ID = "urn:webhook-bridge:schema:cloudevents:event:v1.0"


def all_schemas(types: Iterable[EventType]) -> dict[str, bytes]:
    """Path below `schemas/` -> the file's bytes; the envelope's among them. Deterministic.

    Raises:
        ValueError: two providers give one type and version different data.
    """
    schemas = {ENVELOPE_PATH: _envelope()}
    for event_type in types:
        schema = _schema(event_type.data, event_type.dataschema, f"data of {_shared_type(event_type)}")
        if event_type.sensitive:
            schema["x-sensitive"] = True
        if schemas.setdefault(event_type.schema_path, schema) != schema:
            raise ValueError(f"{event_type.ce_type} v{event_type.version} has two different schemas")
    return {path: _format(schema) for path, schema in sorted(schemas.items())}


def _shared_type(event_type: EventType) -> str:
    """The `type` that a schema speaks of: where several types share it, as if it were called as the schema."""
    return msgspec.structs.replace(event_type, name=event_type.schema or event_type.name).ce_type


def _envelope() -> dict[str, Any]:
    schema = _schema(CloudEvent, _ENVELOPE_ID, "CloudEvents 1.0 envelope of webhook-bridge")
    schema["properties"]["specversion"] = {"const": "1.0"}
    schema["properties"]["datacontenttype"] = {"const": "application/json"}
    return schema


def _schema(struct: type[msgspec.Struct], schema_id: str, title: str) -> dict[str, Any]:
    (_,), components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    body = components.pop(struct.__name__)
    description = body.pop("description", "")
    schema = {"$schema": _DIALECT, "$id": schema_id, "title": title, "description": description}
    schema |= {key: value for key, value in body.items() if key != "title"}
    if components:
        schema["$defs"] = components
    return schema


def _format(schema: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
