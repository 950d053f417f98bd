"""(source, event type) -> where its records go: a table built at start, so that no payload chooses a topic.

Not here: rules from the environment (they come with BRIDGE_ROUTES) and anything about brokers beyond the names
both of them take.
"""

import re
from collections.abc import Iterable

import msgspec

from bridge.events.model import EventType

__all__ = ["Route", "build_table", "source_subjects", "topic_problem"]

# Kafka: [a-zA-Z0-9._-], at most 249, and `.` collides with `_` in its metric names, so types use dots only.
# NATS: tokens joined by dots, none empty; `*` and `>` are wildcards. This grammar is inside both.
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_TOPIC_MAX_CHARS = 249


class Route(msgspec.Struct, frozen=True, gc=False):
    """Where the records of one type of one source go."""

    topic: str


def topic_problem(topic: str) -> str | None:
    """What is wrong with a topic name on either broker, or None."""
    if len(topic) > _TOPIC_MAX_CHARS:
        return f"{len(topic)} characters, Kafka takes {_TOPIC_MAX_CHARS}"
    if not _TOPIC.fullmatch(topic):
        return "not made of [A-Za-z0-9_-] tokens joined by single dots"
    return None


def build_table(source: str, event_types: Iterable[EventType]) -> dict[str, Route]:
    """The routes of a source by type name: `events.<source>.<type>`.

    Raises:
        ValueError: a name no broker would take; a fault of ours, since sources and types are checked before.
    """
    table = {}
    for event_type in event_types:
        topic = f"events.{source}.{event_type.name}"
        if problem := topic_problem(topic):
            raise ValueError(f"topic {topic!r}: {problem}")
        table[event_type.name] = Route(topic)
    return table


def source_subjects(sources: Iterable[str]) -> tuple[str, ...]:
    """What a JetStream stream must cover to take every topic of these sources."""
    return tuple(f"events.{source}.>" for source in sources)
