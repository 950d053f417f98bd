"""The published schemas as TypeScript: types of every event, told apart by `type`. Called by `tests.generated`.

A renderer of our own: the schemas use six words of JSON Schema, and `make gen` needs Python alone.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridge.events.model import EventType
from bridge.events.schemas import ENVELOPE_PATH, all_schemas

_HEAD = """\
// Made from the schemas in this folder by `make gen`. Types alone, nothing to run: `import type` them.
//
// A property that may be absent or null means the same either way: not known. Fields and types may be added, so have a
// default where you look at `type`, and ignore what you do not know.
"""
_SHARED = "messaging"  # the vocabulary of many providers: its types need no prefix


def typescript(types: Iterable[EventType]) -> bytes:
    """The content of `schemas/events.d.ts`."""
    types = tuple(types)
    schemas = {path: json.loads(content) for path, content in all_schemas(types).items()}
    envelope = schemas.pop(ENVELOPE_PATH)
    definitions: dict[str, dict[str, Any]] = {}
    for schema in schemas.values():
        for name, definition in schema.get("$defs", {}).items():
            if definitions.setdefault(name, definition) != definition:
                raise ValueError(f"two definitions of {name}: the types need names of their own")
    bodies = definitions | {_name(path): schema for path, schema in schemas.items()}
    parts = [_HEAD, _envelope(envelope), *(_interface(name, schema) for name, schema in sorted(bodies.items()))]
    domains = sorted({event_type.domain for event_type in types})
    for domain in domains:
        members = sorted({_member(event_type) for event_type in types if event_type.domain == domain})
        parts.append("\n".join([f"export type {_camel(domain)}Event =", *members]) + ";\n")
    union = "\n".join(f"  | {_camel(domain)}Event" for domain in domains)
    parts.append(
        f"/** What a record's value is, unless BRIDGE_EVENT_FORMAT=binary. */\nexport type BridgeEvent =\n{union};\n"
    )
    return "\n".join(parts).encode()


def _camel(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^a-zA-Z0-9]+", text))


def _name(path: str) -> str:
    """`messaging/message.received/v1.0.json` -> `MessageReceived`, `github/event/v1.0.json` -> `GithubPayload`."""
    domain, name, version = path.split("/")
    major = version.partition(".")[0]
    of_domain = "" if domain == _SHARED else _camel(domain)
    return of_domain + ("Payload" if name == "event" else _camel(name)) + ("" if major == "v1" else major.upper())


def _member(event_type: EventType) -> str:
    """The event of a type; of types that share a schema, of any name."""
    major = event_type.ce_type.rpartition(".")[2]
    shared = f"`{event_type.domain}.${{string}}.{major}`"
    name = shared if event_type.schema else json.dumps(event_type.ce_type)
    return f"  | CloudEvent<{name}, {_name(event_type.schema_path)}>"


def _envelope(schema: Mapping[str, Any]) -> str:
    body = _interface("CloudEvent", schema).replace(
        "interface CloudEvent", "interface CloudEvent<Type extends string, Data>"
    )
    return body.replace("  type: string;", "  type: Type;").replace("  data: unknown;", "  data: Data;")


def _interface(name: str, schema: Mapping[str, Any]) -> str:
    if not schema["properties"]:
        return "\n".join([*_comment(schema, ""), f"export type {name} = {_type({'type': 'object'})};"]) + "\n"
    lines = [*_comment(schema, ""), f"export interface {name} {{"]
    for field, content in schema["properties"].items():
        optional = "" if field in schema.get("required", ()) else "?"
        lines += [*_comment(content, "  "), f"  {field}{optional}: {_type(content)};"]
    return "\n".join([*lines, "}"]) + "\n"


def _comment(schema: Mapping[str, Any], indent: str) -> Iterator[str]:
    if text := schema.get("description"):
        examples = "; ".join(json.dumps(example, ensure_ascii=False) for example in schema.get("examples", ()))
        said = " ".join(text.split()) + (f" Such as {examples}." if examples else "")
        yield f"{indent}/** {said.replace('*/', '* /')} */"


def _type(schema: Mapping[str, Any]) -> str:
    """The type of a value. A word that is not known here is an error: nothing is left out silently."""
    words = schema.keys() - {
        "description",
        "examples",
        "default",
        "title",
        "format",
        "pattern",
        "minLength",
        "maxLength",
    }
    if words == {"$ref"}:
        return str(schema["$ref"]).removeprefix("#/$defs/")
    if words == {"anyOf"}:
        return " | ".join(map(_type, schema["anyOf"]))
    if words == {"const"}:
        return json.dumps(schema["const"])
    if words == {"type", "items"}:
        return f"({_type(schema['items'])})[]"
    if words == {"type"}:
        plain = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
        return {**plain, "object": "{ [name: string]: unknown }", "array": "unknown[]"}[schema["type"]]
    if words:
        raise ValueError(f"no TypeScript for {sorted(words)}")
    return "unknown"
