"""Types that the payload names: for providers whose list of event types is not ours to know (GitHub and the like).

What a payload says becomes part of a topic's name, so it goes through a strict encoder. That a topic stays inside what
the operator allowed, and how many there are, is the routing table's to see to.
"""

import re
from functools import lru_cache

import msgspec

from bridge.events.model import EventType

__all__ = ["MAX_TYPE_CHARS", "encode_type", "open_type"]

MAX_TYPE_CHARS = 100
"""Of an open type's name: with source and template it stays below Kafka's 249 characters of a topic."""

_REMEMBERED = 1024
_SEPARATORS = str.maketrans({"/": ".", ":": ".", " ": "_"})
_is_name = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII).fullmatch


def encode_type(text: str) -> str | None:
    """The name of an open type: tokens of `[a-z0-9_-]` joined by single dots, at most `MAX_TYPE_CHARS` characters.

    `orders/create` is `orders.create`, `Push Hook` is `push_hook`. None for whatever would need more than that: two
    texts that a person tells apart shall not become one name by what is thrown away.
    """
    if len(text) > MAX_TYPE_CHARS or not text.isascii():
        return None
    name = text.lower().translate(_SEPARATORS)
    return name if _is_name(name) else None


def open_type(fallback: EventType, text: str) -> EventType:
    """The type that a payload names, with domain, data and schema of the provider's fallback type.

    Args:
        fallback: the provider's last event type, which it is itself where the text names none.
        text: from a place in the delivery that is proven genuine.
    """
    return fallback if len(text) > MAX_TYPE_CHARS else _open_type(fallback, text)


@lru_cache(_REMEMBERED)
def _open_type(fallback: EventType, text: str) -> EventType:
    name = encode_type(text)
    if name is None or name == fallback.name:
        return fallback
    return msgspec.structs.replace(fallback, name=name, schema=fallback.schema or fallback.name)
