"""BRIDGE_ROUTES as an operator writes it: what is taken, and every problem at once, by rule."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.routing import Rule, parse_rules


def problems(text: str) -> list[str]:
    found = parse_rules(text)[1]
    assert {problem.variable for problem in found} == {"BRIDGE_ROUTES"}
    return [f"{problem.found}; {problem.expected}" for problem in found]


def rules_of(text: str) -> tuple[Rule, ...]:
    rules, found = parse_rules(text)
    assert not found
    return rules


def test_rules_are_separated_by_semicolons_and_lines_and_numbered_as_people_count() -> None:
    rules = rules_of("a:b -> c;\n;  d-1:e.*  ->f.g ,h   key = {contact} \n*:x -> drop;")
    assert [
        (rule.number, rule.source, rule.type, [topic.text for topic in rule.topics], rule.key) for rule in rules
    ] == [
        (1, "a", "b", ["c"], "device"),
        (2, "d-1", "e.*", ["f.g", "h"], "contact"),
        (3, "*", "x", [], "device"),
    ]
    assert rules[1].text == "d-1:e.* ->f.g ,h key = {contact}"


@pytest.mark.parametrize("key", ["device", "contact", "subject", "id"])
def test_every_key_of_the_design_is_taken(key: str) -> None:
    assert rules_of(f"a:b -> c key={{{key}}}")[0].key == key


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("a", "is no rule; source:type -> topic"),
        ("a:b", "is no rule"),
        ("a:b ->", "is no rule"),
        ("a -> b", "is no rule"),
        ("a:b -> c -> d", "is no rule"),
        ("A:b -> c", "has the source 'A'"),
        ("a:B -> c", "has the type 'B'; a type such as message.*"),
        ("a:b? -> c", "has the type 'b?'"),
        ("a:[b] -> c", "has the type '[b]'"),
        (":b -> c", "has the source ''"),
        ("a:b -> c key=contact", "has the key 'contact'; one of {device}, {contact}, {subject}, {id}"),
        ("a:b -> c key={phone}", "has the key '{phone}'"),
        ("a:b -> c key={contact} d", "has the key '{contact} d'"),
        ("a:b -> key={contact}", "has the topic ''"),
        ("a:b -> c,", "has the topic ''"),
        ("a:b -> c d", "has the topic 'c d', which is not made of"),
        ("a:b -> c.>", "has the topic 'c.>', which is not made of"),
        ("a:b -> *", "has the topic '*', which is not made of"),
        ("a:b -> c..d", "is not made of [A-Za-z0-9_-] tokens joined by single dots"),
        ("a:b -> .", "is not made of"),
        ("a:b -> $JS.API.STREAM.DELETE.EVENTS", "is not made of"),
        ("a:b -> __consumer_offsets", "begins with _, as topics of the brokers' own do"),
        ("a:b -> _INBOX.x", "begins with _"),
        ("a:b -> bridge.dead-letter", "is kept for the bridge's own topics"),
        ("a:b -> bridge", "is kept for the bridge's own topics"),
        (f"a:b -> {'x' * 250}", "has 250 characters, Kafka takes 249"),
        ("a:b -> c.{typ}", "has the placeholder {typ}; {source}, {type} or {domain}; type, perhaps"),
        ("a:b -> c.{}", "has the placeholder {}"),
        ("a:b -> c.{type", "is not made of"),
        ("a:b -> c, c", "names a topic twice"),
        ("a:b -> drop, c", "has more than drop after the arrow"),
        ("a:b -> Drop", "has more than drop after the arrow; -> drop alone, in lower case"),
        ("a:b -> drop key={id}", "has more than drop after the arrow"),
    ],
)
def test_a_wrong_rule_is_told_with_what_would_be_right(rule: str, said: str) -> None:
    (problem,) = problems(f"x:y -> z; {rule}")
    assert problem.startswith("rule 2, ")
    assert said in problem


def test_a_placeholder_that_is_near_none_is_told_with_all_of_them_once() -> None:
    (problem,) = problems("a:b -> c.{x}")
    assert problem.endswith("has the placeholder {x}; {source}, {type} or {domain}")


def test_every_problem_of_every_rule_is_told_at_once() -> None:
    found = problems("A:B -> c key={x}; fine:one -> topic; a:b -> d..e, {typ}")
    assert [text.split(",")[0] for text in found] == ["rule 1", "rule 1", "rule 1", "rule 3", "rule 3"]


def test_separators_with_nothing_between_them_are_no_rules() -> None:
    (problem,) = problems(" ; \n ;")
    assert problem.startswith("has no rule in it; source:type -> topic")


RULE_TEXTS = st.lists(
    st.sampled_from(
        ["a", "*", ":", "->", " ", ",", ";", "\n", "key=", "{contact}", "{type}", "drop", ".", "x", "\0", "é"]
    )
    | st.text(max_size=4),
    max_size=14,
).map("".join)


@given(RULE_TEXTS)
@example("a:b -> c key={id}\x85")
def test_any_text_is_rules_or_problems(text: str) -> None:
    rules, found = parse_rules(text)
    assert rules or found
    assert all(len(str(problem)) < 500 for problem in found)


@given(st.from_regex(r"[a-z0-9.]{0,12}", fullmatch=True), st.from_regex(r"[a-z0-9.*]{1,8}", fullmatch=True))
def test_a_star_is_any_text_and_nothing_else_is_special(name: str, glob: str) -> None:
    def matches(name: str, glob: str) -> bool:
        if not glob:
            return not name
        if glob[0] == "*":
            return any(matches(name[start:], glob[1:]) for start in range(len(name) + 1))
        return name[:1] == glob[0] and matches(name[1:], glob[1:])

    (rule,) = rules_of(f"s:{glob} -> t")
    assert rule.matches("s", name) == matches(name, glob)


@given(*[st.from_regex(r"[a-c.*]{1,6}", fullmatch=True)] * 2, st.from_regex(r"[a-c.]{1,8}", fullmatch=True))
def test_what_is_said_to_be_included_is(wide: str, narrow: str, name: str) -> None:
    first, second = rules_of(f"s:{wide} -> t; s:{narrow} -> u")
    if first.includes(second) and second.matches("s", name):
        assert first.matches("s", name)
