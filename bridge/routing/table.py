"""(source, event type) -> where its records go: tables built at start, so that no payload chooses a topic.

A source whose types are all known has a table that never changes. Where payloads name types (`open_types`), a table
learns up to `MAX_OPEN_TYPES` of them, each below the source's own prefix; what is beyond goes where unknown events go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from bridge.events.model import EventType
from bridge.events.open_types import encode_type
from bridge.routing.rules import KeyField, Rule
from bridge.routing.topics import Pattern

__all__ = [
    "DEFAULT_TEMPLATE",
    "MAX_OPEN_TYPES",
    "Found",
    "Route",
    "RoutedSource",
    "Table",
    "prefixes_of",
    "subjects",
    "topics",
]

DEFAULT_TEMPLATE = "events.{source}.{type}"

MAX_OPEN_TYPES = 256
"""Of one source and process: a sender must not fill broker and metrics with topics. GitHub has about as many."""


class Route(msgspec.Struct, frozen=True, gc=False):
    """Where one copy of an event goes, and what of the event is the record's key."""

    topic: str
    key: KeyField = "device"


Routes = tuple[Route, ...]
"""Several: a copy to each. None: the event is dropped."""


class RoutedSource(msgspec.Struct, frozen=True, kw_only=True):
    """What routing knows of a source.

    Attributes:
        name: the source's.
        types: all of its provider, the fallback type last.
        open_types: whether payloads name further ones.
        unknown: what becomes of events of the fallback type, before any rule is asked; `publish` asks the rules.
    """

    name: str
    types: tuple[EventType, ...]
    open_types: bool = False
    unknown: Literal["publish", "dead-letter", "drop"] = "publish"

    @property
    def fallback(self) -> EventType:
        """The type of what has no other."""
        return self.types[-1]


class Found(msgspec.Struct, frozen=True):
    """What a table says of a type.

    Attributes:
        routes: where its events go.
        label: the type's name for counters: that of the fallback type beyond the cap.
        rule: what decided; None: the template, or UNKNOWN.
        unknown: `UNKNOWN=drop` or `UNKNOWN=dead-letter` where that decided.
    """

    routes: Routes
    label: str
    rule: Rule | None = None
    unknown: str = ""

    @property
    def by(self) -> str:
        """What decided, in words: `rule 2`, `template`, `UNKNOWN=drop`."""
        if self.rule is not None:
            return f"rule {self.rule.number}"
        return self.unknown or "template"


class Table:
    """The routes of one source. `find` is all that a pipeline needs.

    Attributes:
        source: whose.
        rules: those about this source, in their order.
        template: where to without one.
        known: by type name, what is known at start, the fallback type among it.
        beyond: where types that payloads name go when there are too many, or no topic for them.
        others: the topics that other sources publish to, set when all tables are there.
    """

    def __init__(
        self, source: RoutedSource, rules: Sequence[Rule], template: Pattern, *, open_topics: bool = True
    ) -> None:
        """Decide everything that can be decided now.

        Args:
            source: its types.
            rules: in their order.
            template: where no rule matches.
            open_topics: whether the broker takes topics that nobody made before (NATS does, Kafka does not). Without
                it a type that payloads name has a topic of its own only where a rule names the type.
        """
        self.source = source
        self.rules = tuple(rule for rule in rules if fnmatchcase(source.name, rule.source))
        self.template = template
        self.others: frozenset[str] = frozenset()
        self._open_topics = open_topics
        self._learned: dict[str, Found] = {}
        self._fallback = self._decide(source.fallback)
        self.beyond = self._routed(source.fallback)  # of named types without a topic: UNKNOWN is not about them
        types = {event_type.name: event_type for event_type in source.types}
        if source.open_types:
            for rule in self.rules:
                if encode_type(rule.type) == rule.type:
                    types.setdefault(rule.type, msgspec.structs.replace(source.fallback, name=rule.type))
        self.known: Mapping[str, Found] = {name: self._decide(event_type) for name, event_type in types.items()}

    def find(self, name: str) -> Found:
        """Where events of a type go. Whatever the name is, the topics are some that the operator allowed."""
        found = self.known.get(name) or self._learned.get(name)
        if found is not None:
            return found
        if not self.source.open_types or encode_type(name) != name:
            return self._fallback
        if len(self._learned) >= MAX_OPEN_TYPES:
            return self._decide_open(name, learned=False)
        return self._learned.setdefault(name, self._decide_open(name, learned=True))

    def rule_for(self, name: str, *, sensitive: bool = False) -> Rule | None:
        """The first rule that matches; credentials are matched by a literal one alone."""
        for rule in self.rules:
            if (rule.literal or not sensitive) and fnmatchcase(name, rule.type):
                return rule
        return None

    def topics(self) -> Iterator[tuple[str, Rule | None]]:
        """Every topic that is known now, and what makes it; some of them more than once."""
        for found in self.known.values():
            for route in found.routes:
                yield route.topic, found.rule
        if self.open_patterns:
            for route in self.beyond.routes:
                yield route.topic, self.beyond.rule
        if self.source.open_types:
            for rule in self.rules:
                for pattern in rule.topics:
                    if "*" in rule.type and not pattern.names_type:
                        yield pattern.topic(self.source.name, self.source.fallback.domain, ""), rule

    @property
    def open_patterns(self) -> tuple[Pattern, ...]:
        """The topics that types named by payloads may have; empty where there are none."""
        if not self.source.open_types:
            return ()
        of_rules = (pattern for rule in self.rules if "*" in rule.type for pattern in rule.topics)
        return tuple(pattern for pattern in (self.template, *of_rules) if pattern.names_type)

    def open_ways(self) -> Iterator[tuple[str, Found]]:
        """For people: which types that payloads name go where; globs in the order of asking, `*` the last."""
        rules = [rule for rule in self.rules if "*" in rule.type] if self.source.open_types else []
        for rule in rules:
            yield rule.type, self._decide_for(rule, rule.type, learned=True)
            if rule.type == "*":
                return
        if self.source.open_types:
            yield "*", self._decide_for(None, "*", learned=True)

    @property
    def open_prefixes(self) -> frozenset[str]:
        """What their topics are below."""
        name, domain = self.source.name, self.source.fallback.domain
        prefixes = (pattern.prefix(name, domain) for pattern in self.open_patterns)
        return frozenset(prefix for prefix in prefixes if prefix is not None)

    def _decide(self, event_type: EventType) -> Found:
        unknown = self.source.unknown
        if unknown != "publish" and event_type.name == self.source.fallback.name:
            return Found((), event_type.name, unknown=f"UNKNOWN={unknown}")
        return self._routed(event_type)

    def _routed(self, event_type: EventType) -> Found:
        name = event_type.name
        rule = self.rule_for(name, sensitive=event_type.sensitive)
        patterns, key = self._way(rule)
        routes = (Route(pattern.topic(self.source.name, event_type.domain, name), key) for pattern in patterns)
        return Found(_each_once(routes), name, rule)

    def _decide_open(self, name: str, *, learned: bool) -> Found:
        return self._decide_for(self.rule_for(name), name, learned=learned)

    def _decide_for(self, rule: Rule | None, name: str, *, learned: bool) -> Found:
        patterns, key = self._way(rule)
        routes: list[Route] = []
        for pattern in patterns:
            if pattern.names_type and not (learned and self._open_topics):
                routes += self.beyond.routes
            else:
                routes.append(Route(pattern.topic(self.source.name, self.source.fallback.domain, name), key))
        return Found(_each_once(routes), name if learned else self._fallback.label, rule)

    def _way(self, rule: Rule | None) -> tuple[tuple[Pattern, ...], KeyField]:
        return ((self.template,), "device") if rule is None else (rule.topics, rule.key)


def topics(tables: Iterable[Table]) -> tuple[str, ...]:
    """Every topic that is known at start, sorted: what a Kafka cluster must have."""
    return tuple(sorted({topic for table in tables for topic, _ in table.topics()}))


def subjects(tables: Iterable[Table]) -> tuple[str, ...]:
    """What a JetStream stream must cover, none of them inside another: `events.<source>.>` and the topics of rules.

    The template's part of a source is one subject, so that a type that a later version adds needs no change of the
    stream.
    """
    tables = tuple(tables)
    prefixes = prefixes_of(tables)
    widest = sorted(prefix for prefix in prefixes if not _is_below(prefix, prefixes))
    literal = (topic for topic in topics(tables) if not _is_below(topic, prefixes))
    return (*(f"{prefix}.>" for prefix in widest), *literal)


def prefixes_of(tables: Iterable[Table]) -> frozenset[str]:
    """What the topics of types are below, where the type is the rest of the topic: without the dot."""
    return frozenset(
        prefix
        for table in tables
        for pattern in {table.template, *table.open_patterns}
        if (prefix := pattern.prefix(table.source.name, table.source.fallback.domain)) is not None
    )


def _is_below(topic: str, prefixes: Iterable[str]) -> bool:
    return any(topic.startswith(f"{prefix}.") for prefix in prefixes)


def _each_once(routes: Iterable[Route]) -> Routes:
    """Without a second copy to the same topic, which a rule with placeholders may come to."""
    return tuple({route.topic: route for route in reversed(tuple(routes))}.values())[::-1]
