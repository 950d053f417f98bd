"""The bridge's own topics, dead letters and raw deliveries: no event may get onto them, nor they among events."""

from collections.abc import Iterable, Iterator, Mapping

from bridge.errors import Problem
from bridge.routing.table import Table, prefixes_of, topics
from bridge.routing.topics import topic_problem

__all__ = ["own_topic_problems"]

_EXPECTED = "a topic that no event goes to, such as bridge.dead-letter"


def own_topic_problems(own: Mapping[str, str | None], tables: Iterable[Table]) -> Iterator[Problem]:
    """What is wrong with them.

    Args:
        own: variable -> topic, None where it is off.
        tables: of all sources.
    """
    tables = tuple(tables)
    events = {topic.replace(".", "_"): topic for topic in topics(tables)}
    prefixes = sorted(prefixes_of(tables))
    seen: dict[str, str] = {}
    for variable, topic in own.items():
        if topic is None:
            continue
        name = topic.replace(".", "_")  # which Kafka does not tell apart
        if fault := topic_problem(topic, own=True):
            yield Problem(variable, f"{topic!r} {fault}", "a topic such as bridge.dead-letter")
        elif other := seen.get(name):
            yield Problem(variable, f"{topic!r} is the topic of {other}, too", "a topic of its own")
        elif name in events:
            yield Problem(variable, f"{topic!r} gets events, by template or rules: {events[name]}", _EXPECTED)
        elif prefix := next((prefix for prefix in prefixes if topic.startswith(f"{prefix}.")), None):
            yield Problem(
                variable, f"{topic!r} is below {prefix}, where events go or a later version's will", _EXPECTED
            )
        seen.setdefault(name, variable)
