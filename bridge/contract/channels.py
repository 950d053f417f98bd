"""The route map as consumers see it: by topic, which events come there."""

from collections.abc import Mapping

import msgspec

from bridge.events.model import EventType
from bridge.events.open_types import open_type
from bridge.routing import Found, Table

__all__ = ["ANY_TYPE", "Carried", "Channel", "channels"]

ANY_TYPE = "{type}"
"""In a channel's address: any type that payloads name."""


class Carried(msgspec.Struct):
    """One kind of message on a channel.

    Attributes:
        event_type: the events' type; of those that payloads name, the fallback type.
        keys: source -> what of its events becomes the record's key.
        globs: which types payloads may name here, `*` for any text; empty: the event type alone.
    """

    event_type: EventType
    keys: dict[str, str] = {}
    globs: list[str] = []


Channel = dict[str, Carried]
"""By name: the CloudEvents `type`, or `<domain>.any` for those that payloads name."""


def channels(tables: Mapping[str, Table]) -> dict[str, Channel]:
    """Address -> what it carries, sorted. Dropped events are on none."""
    found: dict[str, Channel] = {}
    for table in tables.values():
        source = table.source
        types = {event_type.name: event_type for event_type in source.types}
        for name, where in table.known.items():
            _put(found, table, types.get(name) or open_type(source.fallback, name), where, None)
        for glob, where in table.open_ways():
            _put(found, table, source.fallback, where, glob)
        if table.open_patterns:
            _put(found, table, source.fallback, table.beyond, "*")
    return {address: dict(sorted(found[address].items())) for address in sorted(found)}


def _put(found: dict[str, Channel], table: Table, event_type: EventType, where: Found, glob: str | None) -> None:
    name = event_type.ce_type if glob is None else f"{event_type.domain}.any"
    for route in where.routes:
        address = route.topic if glob is None else route.topic.replace(glob, ANY_TYPE)
        carried = found.setdefault(address, {}).setdefault(name, Carried(event_type))
        carried.keys.setdefault(table.source.name, route.key)
        if glob is not None and glob not in carried.globs:
            carried.globs.append(glob)
