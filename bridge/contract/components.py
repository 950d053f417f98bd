"""Schemas as AsyncAPI documents hold them: what reads the same in draft-07, the one dialect that every tool knows.

In such a document a `$ref` counts from its root, so definitions inside a schema become schemas beside it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from bridge.events.model import EventType
from bridge.events.schemas import ENVELOPE_PATH, all_schemas

__all__ = ["ENVELOPE", "component_of", "components"]

_ELSEWHERE = ("$schema", "$id", "$defs")  # the dialect is the document's own; `dataschema` says the id


def components(types: Iterable[EventType]) -> dict[str, dict[str, Any]]:
    """Name -> schema: of the envelope, of every type's data, and of what these share."""
    found: dict[str, dict[str, Any]] = {}
    for path, content in all_schemas(types).items():
        schema, own = msgspec.json.decode(content), _name(path)
        parts = _parts(schema, own, prefix=own.partition(".")[0])
        if any(found.get(name, part) != part for name, part in parts.items()):  # one name, two definitions
            parts = _parts(schema, own, prefix=own)
        found |= parts
    return found


def _parts(schema: dict[str, Any], own: str, *, prefix: str) -> dict[str, dict[str, Any]]:
    definitions = schema.get("$defs", {})
    names = {name: f"{prefix}.{name}" for name in definitions}
    body = {key: value for key, value in schema.items() if key not in _ELSEWHERE}
    parts = {own: body} | {names[name]: definition for name, definition in definitions.items()}
    return {name: _relinked(part, names) for name, part in parts.items()}


def component_of(event_type: EventType) -> str:
    """The name of the schema of its data."""
    return _name(event_type.schema_path)


def _name(path: str) -> str:
    """`messaging/call/v1.0.json` -> `messaging.call.v1.0`."""
    return path.removesuffix(".json").replace("/", ".")


def _relinked(part: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(part, list):
        return [_relinked(item, names) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: f"#/components/schemas/{names[value.removeprefix('#/$defs/')]}"
        if key == "$ref" and value.startswith("#/$defs/")
        else _relinked(value, names)
        for key, value in part.items()
    }


ENVELOPE = _name(ENVELOPE_PATH)
