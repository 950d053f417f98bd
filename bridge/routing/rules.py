"""BRIDGE_ROUTES as text -> rules. Whether a rule can ever match the table says, which knows sources and types."""

import re
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from bridge.errors import ConfigError, Problem
from bridge.routing.topics import Pattern

__all__ = ["DROP", "ROUTES", "KeyField", "Rule", "parse_rules"]

ROUTES = "BRIDGE_ROUTES"
DROP = "drop"

KeyField = Literal["device", "contact", "subject", "id"]
"""What of an event becomes its records' key; the device where the event has no such thing."""

_KEYS: dict[str, KeyField] = {"{device}": "device", "{contact}": "contact", "{subject}": "subject", "{id}": "id"}
_FORM = "source:type -> topic[, topic2] [key={contact}], or source:type -> drop"
_SEPARATORS = re.compile(r"[;\n]")
_KEY = re.compile(r"(?s:(?P<topics>.*?))(?:\s+|^)key\s*=\s*(?P<key>.*)")
# `*` is any text, dots included; nothing else is special
_is_source = re.compile(r"[a-z0-9*-]+", re.ASCII).fullmatch
_is_type = re.compile(r"[a-z0-9_.*-]+", re.ASCII).fullmatch
_MAX_SHOWN = 100


class Rule(msgspec.Struct, frozen=True):
    """One rule.

    Attributes:
        number: its place, from 1, as people count.
        text: as written, on one line.
        source: a source's name, `*` for any text in it.
        type: a type's name, likewise.
        topics: where to; empty: drop.
        key: what becomes the record's key.
    """

    number: int
    text: str
    source: str
    type: str
    topics: tuple[Pattern, ...]
    key: KeyField = "device"

    @property
    def literal(self) -> bool:
        """Whether it names one type of one source."""
        return "*" not in self.source + self.type

    def matches(self, source: str, name: str) -> bool:
        """Whether it is about this type of this source, credentials aside."""
        return fnmatchcase(source, self.source) and fnmatchcase(name, self.type)

    def includes(self, other: "Rule") -> bool:
        """Whether it takes whatever the other one could; true only where that is certain."""
        return self.matches(other.source, other.type)  # a `*` of the other is matched by a `*` alone

    def problem(self, found: str, expected: str) -> Problem:
        """A problem that names this rule."""
        return _problem(self.number, self.text, found, expected)


def parse_rules(text: str) -> tuple[tuple[Rule, ...], tuple[Problem, ...]]:
    """The rules that are right, in their order, and every problem of the others.

    Separators are `;` and line ends; empty ones count for nothing.
    """
    rules: list[Rule] = []
    problems: list[Problem] = []
    parts = [" ".join(part.split()) for part in _SEPARATORS.split(text)]
    for number, part in enumerate(filter(None, parts), start=1):
        try:
            rules.append(_rule(number, part))
        except ConfigError as error:
            problems += error.problems
    if not rules and not problems:
        problems.append(Problem(ROUTES, "has no rule in it", f"{_FORM}; or the variable unset"))
    return tuple(rules), tuple(problems)


def _rule(number: int, text: str) -> Rule:
    head, arrow, tail = text.partition("->")
    source, colon, name = (part.strip() for part in head.partition(":"))
    if not arrow or "->" in tail or not colon or not tail.strip():
        raise ConfigError([_problem(number, text, "is no rule", _FORM)])
    problems = []
    if not _is_source(source):
        problems.append(_problem(number, text, f"has the source {_shown(source)}", "a source's name, or * in it"))
    if not _is_type(name):
        problems.append(_problem(number, text, f"has the type {_shown(name)}", "a type such as message.*"))
    with_key = _KEY.fullmatch(tail.strip())
    key: KeyField = "device"
    if with_key:
        braced = with_key["key"].strip()
        if braced in _KEYS:
            key = _KEYS[braced]
        else:
            problems.append(_problem(number, text, f"has the key {_shown(braced)}", f"one of {', '.join(_KEYS)}"))
    topics, found = _topics(number, text, with_key["topics"] if with_key else tail, keyed=bool(with_key))
    problems += found
    if problems:
        raise ConfigError(problems)
    return Rule(number, text, source, name, topics, key)


def _topics(number: int, text: str, listed: str, *, keyed: bool) -> tuple[tuple[Pattern, ...], list[Problem]]:
    names = [name.strip() for name in listed.split(",")]
    if any(name.lower() == DROP for name in names):
        if names != [DROP] or keyed:
            return (), [_problem(number, text, "has more than drop after the arrow", "-> drop alone, in lower case")]
        return (), []
    problems = [
        _problem(number, text, f"has the topic {_shown(name)}, which {fault[0]}", fault[1])
        for name in names
        if (fault := Pattern(name).problem())
    ]
    if len(set(names)) < len(names):
        problems.append(_problem(number, text, "names a topic twice", "each topic once"))
    return tuple(map(Pattern, names)), problems


def _problem(number: int, text: str, found: str, expected: str) -> Problem:
    return Problem(ROUTES, f"rule {number}, {_shown(text)}, {found}", expected)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
