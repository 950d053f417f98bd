"""Sources, rules and template -> tables, or every problem there is. Called once at start, and by `check`."""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from bridge.errors import ConfigError, Problem
from bridge.routing.rules import Rule, parse_rules
from bridge.routing.table import RoutedSource, Table
from bridge.routing.topics import Pattern, nearest, topic_problem

__all__ = ["TEMPLATE", "build_tables", "text_problems"]

TEMPLATE = "BRIDGE_TOPIC_TEMPLATE"


def build_tables(
    sources: Sequence[RoutedSource], *, routes: str | None, template: str, open_topics: bool = True
) -> dict[str, Table]:
    """The tables by source name.

    Args:
        sources: all that are configured.
        routes: the text of BRIDGE_ROUTES, if it is set.
        template: the text of BRIDGE_TOPIC_TEMPLATE.
        open_topics: see `Table`.

    Raises:
        ConfigError: with every problem of rules, template and names.
    """
    pattern, rules, problems = _read(routes, template)
    if pattern.problem():  # whatever else there is would follow from it
        raise ConfigError(problems)
    tables = {source.name: Table(source, rules, pattern, open_topics=open_topics) for source in sources}
    idle = list(_idle_rules(rules, tables))
    if problems:  # a rule that is idle stays so; what topics there are is not known yet
        raise ConfigError([*problems, *idle])
    made = tuple(tables.values())
    for table in made:
        table.others = frozenset(topic for other in made if other is not table for topic, _ in other.topics())
    problems = [*idle, *_bad_names(made), *_colliding(made), *_intruding(made), *_exposed(made)]
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return tables


def text_problems(routes: str | None, template: str) -> Sequence[Problem]:
    """What is wrong with rules and template whatever sources there are.

    Args:
        routes: the text of BRIDGE_ROUTES, if it is set.
        template: the text of BRIDGE_TOPIC_TEMPLATE.
    """
    return _read(routes, template)[2]


def _read(routes: str | None, template: str) -> tuple[Pattern, tuple[Rule, ...], list[Problem]]:
    problems: list[Problem] = []
    pattern = Pattern(template)
    if fault := pattern.problem():
        problems.append(Problem(TEMPLATE, f"{template!r} {fault[0]}", fault[1]))
    rules, wrong = parse_rules(routes) if routes is not None else ((), ())
    return pattern, rules, [*problems, *wrong]


def _idle_rules(rules: Sequence[Rule], tables: dict[str, Table]) -> Iterator[Problem]:
    """Rules that no event will ever meet: most often a misspelt name, or an order that was not meant."""
    for rule in rules:
        about = [table for name, table in tables.items() if fnmatchcase(name, rule.source)]
        if not about:
            yield rule.problem(f"names no source: there is none {rule.source!r}", nearest(rule.source, tables))
        elif not any(_has_effect(rule, table) for table in about):
            yield rule.problem(*_why_idle(rule, rules, about))


def _has_effect(rule: Rule, table: Table) -> bool:
    if any(found.rule == rule for found in table.known.values()):
        return True
    if not table.source.open_types or "*" not in rule.type:
        return False
    return not any(earlier.includes(rule) for earlier in table.rules if earlier.number < rule.number)


def _why_idle(rule: Rule, rules: Sequence[Rule], about: Sequence[Table]) -> tuple[str, str]:
    """What is wrong with a rule that never matches, and what would be right."""
    types = [(table, event_type) for table in about for event_type in table.source.types]
    matched = [(table, found) for table, found in types if fnmatchcase(found.name, rule.type)]
    if not matched and any(table.source.open_types for table in about) and "*" not in rule.type:
        return "names no type that a payload could have", "tokens of a-z 0-9 _ - joined by single dots"
    if not matched and not any(table.source.open_types for table in about):
        source = about[0].source.name if len(about) == 1 else "any of its sources"
        names = {event_type.name for _, event_type in types}
        return f"names no event type of {source}", nearest(rule.type.replace("*", ""), names)
    if matched and all(event_type.sensitive for _, event_type in matched) and not rule.literal:
        table, event_type = matched[0]
        expected = f"{table.source.name}:{event_type.name}, a rule without *, for credentials"
        return "would catch nothing but credentials, which take a rule that names them", expected
    if matched and all(
        table.source.unknown != "publish" and found == table.source.fallback for table, found in matched
    ):
        return (
            f"never matches, since UNKNOWN={matched[0][0].source.unknown} of the source comes first",
            "one of the two",
        )
    takers = [table.known[event_type.name].rule for table, event_type in matched]
    takers += [earlier for earlier in rules if earlier.includes(rule)]
    first = next((taker for taker in takers if taker is not None and taker.number < rule.number), None)
    by = (
        "others come first and take" if first is None else f"rule {first.number}, {first.text!r}, comes first and takes"
    )
    return f"never matches: {by} all that it is about", "the narrower rule first"


def _bad_names(tables: Iterable[Table]) -> Iterator[Problem]:
    """Topics that are right as patterns and wrong with a source's or type's name in them."""
    for table in tables:
        source = table.source
        for topic, rule in table.topics():
            if fault := topic_problem(topic):
                yield _blamed(rule, table, f"makes the topic {topic!r}, which {fault}", "another topic")
        if source.open_types:
            ways = [(None, table.template), *((rule, pattern) for rule in table.rules for pattern in rule.topics)]
            for rule, pattern in ways:
                if (rule is None or "*" in rule.type) and (
                    problem := pattern.open_problem(source.name, source.fallback.domain)
                ):
                    yield _blamed(rule, table, *problem)


def _colliding(tables: Iterable[Table]) -> Iterator[Problem]:
    """Kafka takes `.` and `_` for one character in metric names, and refuses the second of two such topics."""
    seen: dict[str, str] = {}
    for table in tables:
        for topic, rule in table.topics():
            first = seen.setdefault(topic.replace(".", "_"), topic)
            if first != topic:
                said = f"makes the topic {topic!r} beside {first!r}, which Kafka does not tell apart"
                yield _blamed(rule, table, said, "names that differ in more than . and _")


def _intruding(tables: Sequence[Table]) -> Iterator[Problem]:
    """Payloads of an open source name the topics below its prefix: no other source may publish there."""
    for owner in tables:
        for prefix in owner.open_prefixes:
            for table in tables:
                for topic, rule in table.topics():
                    if table is not owner and topic.startswith(f"{prefix}."):
                        said = (
                            f"puts events of {table.source.name} on {topic!r}, where {owner.source.name}'s may go too"
                        )
                        yield _blamed(rule, table, said, f"a topic that is not below {prefix}")


def _exposed(tables: Sequence[Table]) -> Iterator[Problem]:
    """Credentials are on a topic with other events only where a rule that names them says so."""
    others = {
        route.topic: (table, found)
        for table in tables
        for event_type in table.source.types
        for found in (table.known[event_type.name],)
        for route in found.routes
        if not event_type.sensitive
    }
    for table in tables:
        for event_type in table.source.types:
            found = table.known[event_type.name]
            shared = [route.topic for route in found.routes if route.topic in others]
            if event_type.sensitive and found.rule is None and shared:
                other_table, other = others[shared[0]]
                name = f"{table.source.name}:{event_type.name}"
                said = f"puts {name}, which holds credentials, on {shared[0]!r} together with {other.label}"
                expected = f"{{type}} in the template, or a rule that names it: {name} -> secrets.pairing"
                yield _blamed(other.rule, other_table, said, expected)


def _blamed(rule: Rule | None, table: Table, found: str, expected: str) -> Problem:
    if rule is not None:
        return rule.problem(found, expected)
    return Problem(TEMPLATE, f"{table.template.text!r} {found}", expected)
