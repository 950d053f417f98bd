"""What the ops port serves for consumers: path -> bytes. Made at start, and the same as `export` prints."""

import contextlib
from collections.abc import Mapping

import msgspec

from bridge.config import Config
from bridge.contract.asyncapi import asyncapi
from bridge.events.model import EventType
from bridge.events.schemas import ENVELOPE_PATH, all_schemas
from bridge.providers.base import Provider

__all__ = ["documents", "schemas"]


def schemas(providers: Mapping[str, Provider]) -> dict[str, bytes]:
    """Path below `schemas/` -> the schema, of every type that this version can publish."""
    types: list[EventType] = []
    for name in providers:
        with contextlib.suppress(ImportError):  # of another package, and broken: whoever uses it is told by `check`
            types += providers[name].event_types
    return all_schemas(types)


def documents(config: Config, providers: Mapping[str, Provider]) -> dict[str, bytes]:
    """`asyncapi.json`, `schemas/<domain>/<type>/v1.0.json` of what `dataschema` names, and `schemas/` as their list."""
    found = schemas(providers)
    ids = {msgspec.json.decode(content)["$id"]: path for path, content in found.items() if path != ENVELOPE_PATH}
    index = msgspec.json.format(msgspec.json.encode(ids), indent=2) + b"\n"
    files = {f"schemas/{path}": content for path, content in found.items()}
    return {"asyncapi.json": asyncapi(config, providers), "schemas/": index, **files}
