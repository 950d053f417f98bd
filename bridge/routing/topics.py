"""Topic names that both brokers take, and patterns of them with placeholders.

Not here: who goes where (`rules`, `table`).
"""

import difflib
import re
from collections.abc import Iterable

import msgspec

from bridge.events.open_types import MAX_TYPE_CHARS

__all__ = ["PLACEHOLDERS", "Pattern", "nearest", "topic_problem"]

PLACEHOLDERS = ("source", "type", "domain")

# Kafka: [a-zA-Z0-9._-], at most 249. NATS: tokens joined by dots, none empty; `*` and `>` are wildcards. This grammar
# is inside both.
_is_topic = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII).fullmatch
_MAX_CHARS = 249
_OWN_PREFIX = "bridge."
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def topic_problem(topic: str, *, own: bool = False) -> str | None:
    """What is wrong with a topic's name on either broker, or None; `own`: it is one of the bridge's own."""
    if len(topic) > _MAX_CHARS:
        return f"has {len(topic)} characters, Kafka takes {_MAX_CHARS}"
    if not _is_topic(topic):
        return "is not made of [A-Za-z0-9_-] tokens joined by single dots"
    if topic.startswith("_"):
        return "begins with _, as topics of the brokers' own do"
    if not own and (topic == _OWN_PREFIX[:-1] or topic.startswith(_OWN_PREFIX)):
        return "begins with bridge., which is kept for the bridge's own topics (bridge.dead-letter)"
    return None


def nearest(text: str, names: Iterable[str], *, most: int = 12) -> str:
    """For a problem's report: the name that was meant, perhaps, or all of them."""
    names = sorted(names)
    if near := difflib.get_close_matches(text.lower(), names, 1):
        return f"{near[0]}, perhaps"
    listed = ", ".join(names[:most])
    return f"one of {listed}" + (", …" if len(names) > most else "")


class Pattern(msgspec.Struct, frozen=True):
    """A topic with placeholders: `events.{source}.{type}`."""

    text: str

    def problem(self) -> tuple[str, str] | None:
        """What is wrong with it for every source and type, and what would be right; or None."""
        for name in _PLACEHOLDER.findall(self.text):
            if name not in PLACEHOLDERS:
                near = difflib.get_close_matches(name.lower(), PLACEHOLDERS, 1)
                expected = "{source}, {type} or {domain}" + "".join(f"; {meant}, perhaps" for meant in near)
                return f"has the placeholder {{{name}}}", expected
        if problem := topic_problem(_PLACEHOLDER.sub("x", self.text)):
            return problem, "a topic such as whatsapp.messages or events.{source}.{type}"
        return None

    @property
    def names_type(self) -> bool:
        """Whether each type has a topic of its own."""
        return "{type}" in self.text

    def topic(self, source: str, domain: str, name: str) -> str:
        """The topic of a type."""
        # in one pass, though no value can hold a brace
        values = {"source": source, "domain": domain, "type": name}
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.text)

    def prefix(self, source: str, domain: str) -> str | None:
        """What stands before the type where that is the rest of the topic, without the dot; None if it is not."""
        head = self.text.removesuffix(".{type}")
        if head == self.text or "{type}" in head:
            return None
        return Pattern(head).topic(source, domain, "")

    def open_problem(self, source: str, domain: str) -> tuple[str, str] | None:
        """Why types that payloads name cannot go into it, and what would be right; or None."""
        if not self.names_type:
            return None
        prefix = self.prefix(source, domain)
        if prefix is None or "{source}" not in self.text.split("."):
            expected = "{source} as a token of its own and .{type} at the end, such as events.{source}.{type}"
            return f"lets payloads of source {source} choose topics that may be those of others", expected
        if problem := topic_problem(f"{prefix}.{'x' * MAX_TYPE_CHARS}"):
            return f"with the longest type name of source {source} {problem}", "a shorter topic"
        return None
