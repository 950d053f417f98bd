"""What tables say: first match, fan-out, drop, credentials, types that payloads name, and names both brokers take."""

import re
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.events.messaging import TYPES
from bridge.events.model import EventType
from bridge.events.open_types import MAX_TYPE_CHARS, encode_type, open_type
from bridge.routing import (
    DEFAULT_TEMPLATE,
    MAX_OPEN_TYPES,
    RoutedSource,
    Table,
    build_tables,
    subjects,
    topic_problem,
    topics,
)
from tests.open_provider import FALLBACK, KNOWN

CHATLEVEL = RoutedSource(name="chatlevel", types=TYPES)
HUB = RoutedSource(name="hub", types=(KNOWN, FALLBACK), open_types=True)


def tables(
    routes: str | None = None,
    *sources: RoutedSource,
    template: str = DEFAULT_TEMPLATE,
    open_topics: bool = True,
) -> dict[str, Table]:
    return build_tables(sources or (CHATLEVEL,), routes=routes, template=template, open_topics=open_topics)


def problems(
    routes: str | None = None, *sources: RoutedSource, template: str = DEFAULT_TEMPLATE
) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        tables(routes, *sources, template=template)
    return [(problem.variable, f"{problem.found}; {problem.expected}") for problem in raised.value.problems]


def where(table: Table, name: str) -> list[tuple[str, str]]:
    return [(route.topic, route.key) for route in table.find(name).routes]


# ---- what decides


def test_without_rules_each_type_has_the_topic_of_the_template() -> None:
    table = tables()["chatlevel"]
    assert set(table.known) == {event_type.name for event_type in TYPES}
    for name in table.known:
        assert where(table, name) == [(f"events.chatlevel.{name}", "device")]


def test_the_first_rule_that_matches_wins_and_the_template_takes_the_rest() -> None:
    rules = "chatlevel:message.sent -> drop; chatlevel:message.* -> wa, audit.{type} key={contact}; *:call -> {domain}"
    table = tables(rules)["chatlevel"]
    assert where(table, "message.sent") == []
    assert where(table, "message.received") == [("wa", "contact"), ("audit.message.received", "contact")]
    assert where(table, "call") == [("messaging", "device")]
    assert where(table, "connection.open") == [("events.chatlevel.connection.open", "device")]
    assert [table.find(name).by for name in ("message.sent", "message.status", "call", "connection.open")] == [
        "rule 1",
        "rule 2",
        "rule 3",
        "template",
    ]


def test_a_rule_is_about_the_sources_it_names() -> None:
    shops = [RoutedSource(name=name, types=TYPES) for name in ("shop-1", "shop-2", "other")]
    made = tables("shop-*:call -> calls; other:call -> drop", *shops)
    assert [where(table, "call") for table in made.values()] == [[("calls", "device")], [("calls", "device")], []]


def test_two_topics_that_become_one_are_one_copy() -> None:
    assert where(tables("*:call -> a.{type}, a.call")["chatlevel"], "call") == [("a.call", "device")]


def test_unknown_events_can_be_dropped_before_any_rule() -> None:
    dropping = RoutedSource(name="chatlevel", types=TYPES, drop_unknown=True)
    found = tables("*:* -> all", dropping)["chatlevel"].find("unknown")
    assert (found.routes, found.by) == ((), "UNKNOWN=drop")


def test_sources_may_share_topics_and_each_has_its_fallback_there() -> None:
    both = [RoutedSource(name=name, types=TYPES) for name in ("a", "b")]
    made = tables(None, *both, template="wa.{type}")
    assert [where(table, "never seen") for table in made.values()] == [[("wa.unknown", "device")]] * 2


# ---- credentials


@pytest.mark.parametrize("rules", ["*:* -> all", "chatlevel:* -> all", "chatlevel:connection.* -> all"])
def test_no_glob_catches_credentials(rules: str) -> None:
    table = tables(rules)["chatlevel"]
    assert where(table, "connection.auth") == [("events.chatlevel.connection.auth", "device")]
    assert where(table, "connection.open") == [("all", "device")]


def test_a_literal_rule_moves_credentials() -> None:
    table = tables("*:* -> all; chatlevel:connection.auth -> secrets.pairing")["chatlevel"]
    assert where(table, "connection.auth") == [("secrets.pairing", "device")]
    assert where(table, "connection.open") == [("all", "device")]


@pytest.mark.parametrize(
    "rule", ["*:connection.auth -> x", "chatlevel:connection.au* -> x", "chat*:connection.auth -> x"]
)
def test_a_glob_for_credentials_alone_is_told_to_name_them(rule: str) -> None:
    ((variable, said),) = problems(rule)
    assert variable == "BRIDGE_ROUTES"
    assert "would catch nothing but credentials" in said
    assert "chatlevel:connection.auth, a rule without *" in said


def test_a_template_that_mixes_credentials_with_other_events_is_refused() -> None:
    ((variable, said),) = problems(template="all.{source}")
    assert variable == "BRIDGE_TOPIC_TEMPLATE"
    assert "puts chatlevel:connection.auth, which holds credentials, on 'all.chatlevel' together with" in said
    made = tables("chatlevel:connection.auth -> secrets.pairing", template="all.{source}")["chatlevel"]
    assert where(made, "connection.auth") == [("secrets.pairing", "device")]


# ---- rules that never match


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("chatlvel:call -> x", "names no source: there is none 'chatlvel'; chatlevel, perhaps"),
        ("chatlevel:message.recieved -> x", "names no event type of chatlevel; message.received, perhaps"),
        ("*:mesage.* -> x", "names no event type of chatlevel"),
        ("*:* -> x; *:call -> y", "never matches: rule 1, '*:* -> x', comes first and takes all"),
        ("*:message.* -> x; *:call -> y; *:message.s* -> z", "rule 3, '*:message.s* -> z', never matches: rule 1,"),
        ("*:call -> x; chatlevel:call -> y", "never matches: rule 1"),
        (
            "*:connection.auth -> x; chatlevel:connection.auth -> y",
            "rule 1, '*:connection.auth -> x', would catch nothing but credentials",
        ),
    ],
)
def test_a_rule_that_never_matches_is_a_problem(routes: str, said: str) -> None:
    ((variable, found),) = problems(routes)
    assert variable == "BRIDGE_ROUTES"
    assert said in found


def test_a_rule_for_what_unknown_drop_drops_is_a_problem() -> None:
    dropping = RoutedSource(name="chatlevel", types=TYPES, drop_unknown=True)
    ((_, said),) = problems("chatlevel:unknown -> x", dropping)
    assert "never matches, since UNKNOWN=drop of the source comes first" in said


def test_on_an_open_source_only_what_is_certain_is_a_problem() -> None:
    assert tables("hub:anything.* -> x; hub:push -> y", HUB)
    ((_, said),) = problems("hub:a.* -> x; hub:a.b.* -> y", HUB)
    assert "never matches: rule 1, 'hub:a.* -> x', comes first" in said
    ((_, said),) = problems("hub:.push -> x", HUB)
    assert "names no type that a payload could have" in said


# ---- names


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("events.{source}.{typ}", "has the placeholder {typ}"),
        ("events..{type}", "is not made of"),
        ("bridge.{type}", "is kept for the bridge's own topics"),
        ("_{source}.{type}", "begins with _"),
        (f"{'x' * 240}.{{type}}", "has 257 characters, Kafka takes 249"),
    ],
)
def test_a_wrong_template_is_told(template: str, said: str) -> None:
    found = problems(template=template)
    assert {variable for variable, _ in found} == {"BRIDGE_TOPIC_TEMPLATE"}
    assert said in found[0][1]


def test_a_source_called_bridge_is_not_the_bridges_own_namespace() -> None:
    found = problems(None, RoutedSource(name="bridge", types=TYPES), template="{source}.{type}")
    assert "makes the topic 'bridge.message.received', which begins with bridge." in found[0][1]


def test_topics_that_kafka_takes_for_one_are_a_problem() -> None:
    ((variable, said),) = problems("*:call -> wa.calls; *:message.* -> wa_calls")
    assert variable == "BRIDGE_ROUTES"
    assert "'wa.calls'" in said
    assert "'wa_calls'" in said


def test_problems_of_rules_and_template_come_together() -> None:
    found = problems("*:cal -> x; a -> b", template="{x}")
    assert [variable for variable, _ in found] == ["BRIDGE_TOPIC_TEMPLATE", "BRIDGE_ROUTES"]


# ---- types that payloads name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("push", "push"),
        ("pull_request.opened", "pull_request.opened"),
        ("orders/create", "orders.create"),
        ("Push Hook", "push_hook"),
        ("issues:opened", "issues.opened"),
        ("", None),
        (".", None),
        ("a..b", None),
        ("a.", None),
        ("a.*", None),
        (">", None),
        ("a b\n", None),
        ("a\r\nb", None),
        ("é", None),
        ("ﬁ", None),
        ("\u212a", None),  # the Kelvin sign, whose lower case is an ASCII k
        ("x" * 100, "x" * 100),
        ("x" * 101, None),
    ],
)
def test_the_encoder_is_strict(text: str, name: str | None) -> None:
    assert encode_type(text) == name


@given(st.text(max_size=120))
def test_what_the_encoder_makes_is_a_topic_token_by_token(text: str) -> None:
    name = encode_type(text)
    if name is not None:
        assert re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name)
        assert len(name) <= MAX_TYPE_CHARS
        assert topic_problem(f"events.{'s' * 40}.{name}") is None


def test_an_open_type_has_domain_and_schema_of_the_fallback() -> None:
    made = open_type(FALLBACK, "Pull_Request/opened")
    assert made.ce_type == "open.pull_request.opened.v1"
    assert made.dataschema == FALLBACK.dataschema == "urn:webhook-bridge:schema:open:event:v1.0"
    assert made.schema_path == "open/event/v1.0.json"
    assert open_type(FALLBACK, "unknown") is open_type(FALLBACK, "\n") is FALLBACK
    without = EventType("open", "unknown", FALLBACK.data)
    assert open_type(without, "push").dataschema == without.dataschema


def test_open_types_have_topics_below_the_sources_prefix_up_to_the_cap() -> None:
    table = tables(None, HUB)["hub"]
    for number in range(MAX_OPEN_TYPES):
        assert where(table, f"t{number}") == [(f"events.hub.t{number}", "device")]
    beyond = table.find("one.more")
    assert (beyond.label, [route.topic for route in beyond.routes]) == ("unknown", ["events.hub.unknown"])
    assert where(table, "t7") == [("events.hub.t7", "device")]
    assert where(table, "ping") == [("events.hub.ping", "device")]


def test_beyond_the_cap_a_fixed_topic_of_a_rule_still_takes_what_it_takes() -> None:
    table = tables("hub:ci.* -> ci.all, by-type.{source}.{type} key={id}", HUB)["hub"]
    for number in range(MAX_OPEN_TYPES):
        table.find(f"t{number}")
    found = table.find("ci.late")
    assert found.label == "unknown"
    assert [(route.topic, route.key) for route in found.routes] == [("ci.all", "id"), ("events.hub.unknown", "device")]


def test_a_hostile_sender_fills_neither_memory_nor_the_label_set() -> None:
    table = tables("hub:ci.* -> ci.all", HUB)["hub"]
    labels = {table.find(f"ci.{number}").label for number in range(10 * MAX_OPEN_TYPES)}
    assert len(labels) == MAX_OPEN_TYPES + 1
    assert len(table._learned) == MAX_OPEN_TYPES


def test_where_the_broker_makes_no_topics_only_types_that_rules_name_have_their_own() -> None:
    table = tables("hub:push -> events.{source}.{type}; hub:ci.* -> ci.all", HUB, open_topics=False)["hub"]
    assert where(table, "push") == [("events.hub.push", "device")]
    assert where(table, "ci.x") == [("ci.all", "device")]
    assert where(table, "star") == [("events.hub.unknown", "device")]
    assert topics([table]) == ("ci.all", "events.hub.ping", "events.hub.push", "events.hub.unknown")


@pytest.mark.parametrize("name", ["Push", "a..b", "a.>", "*", "", "connection.auth\n", "x" * 101, "../etc"])
def test_a_provider_that_makes_a_bad_type_gets_the_fallback(name: str) -> None:
    assert where(tables(None, HUB)["hub"], name) == [("events.hub.unknown", "device")]


def test_a_closed_source_never_learns() -> None:
    assert where(tables()["chatlevel"], "push") == [("events.chatlevel.unknown", "device")]


@pytest.mark.parametrize(
    ("routes", "template", "variable"),
    [
        (None, "events.{type}", "BRIDGE_TOPIC_TEMPLATE"),
        (None, "events.{source}-{type}", "BRIDGE_TOPIC_TEMPLATE"),
        (None, "events.{type}.{source}", "BRIDGE_TOPIC_TEMPLATE"),
        (None, "{type}", "BRIDGE_TOPIC_TEMPLATE"),
        ("hub:* -> all.{type}", DEFAULT_TEMPLATE, "BRIDGE_ROUTES"),
        (None, f"{'x' * 150}.{{source}}.{{type}}", "BRIDGE_TOPIC_TEMPLATE"),
    ],
)
def test_payloads_may_name_topics_only_below_a_prefix_of_their_source(
    routes: str | None, template: str, variable: str
) -> None:
    assert problems(routes, HUB, template=template)[0][0] == variable


# ---- for the brokers


def test_a_stream_covers_every_topic_and_no_subject_is_inside_another() -> None:
    rules = (
        "*:message.* -> wa.messages, events.chatlevel.copies; hub:c* -> ci.all, deep.{source}.{type}; *:call -> drop"
    )
    made = tables(rules, CHATLEVEL, HUB)
    found = subjects(made.values())
    assert found == ("deep.hub.>", "events.chatlevel.>", "events.hub.>", "ci.all", "wa.messages")


def test_subjects_of_other_templates() -> None:
    assert subjects(tables(template="{domain}.{type}").values()) == ("messaging.>",)
    assert subjects(tables("*:message.* -> x; *:c* -> y; *:unknown -> x", template="{type}.{source}").values()) == (
        "connection.auth.chatlevel",
        "x",
        "y",
    )
    nested = [RoutedSource(name=name, types=TYPES) for name in ("a", "b")]
    assert subjects(tables("a:* -> e.a.x.{type}", *nested, template="e.{source}.{type}").values()) == ("e.a.>", "e.b.>")
    assert subjects(tables("hub:ci.* -> events.{source}.deep.{type}", HUB).values()) == ("events.hub.>",)


NAMES = (
    st.from_regex(r"[a-z0-9_.*>/ \n-]{0,30}", fullmatch=True)
    | st.text(max_size=30)
    | st.sampled_from(
        ["connection.auth", "unknown", "$JS.API.STREAM.DELETE.EVENTS", "events.chatlevel.call", "../x", "a" * 300]
    )
)
ROUTES = st.sampled_from(
    [
        None,
        "hub:* -> one.topic",
        "hub:*.* -> deep.{source}.{type}, fixed key={subject}",
        "hub:push -> ci.pushes; hub:p* -> drop; *:connection.* -> conn",
    ]
)


@settings(max_examples=60)
@given(ROUTES, st.lists(NAMES, min_size=1, max_size=20), st.booleans())
def test_no_name_of_a_type_leads_outside_what_the_operator_allowed(
    routes: str | None, names: list[str], open_topics: bool
) -> None:
    made = tables(routes, HUB, CHATLEVEL, open_topics=open_topics)
    covered = subjects(made.values())
    for name in names:
        for text in (name, open_type(FALLBACK, name).name):
            for route in made["hub"].find(text).routes:
                assert topic_problem(route.topic) is None
                assert any(route.topic == one or route.topic.startswith(one.removesuffix(">")) for one in covered)
                assert not route.topic.startswith("events.chatlevel.")
                assert open_topics or route.topic in topics(made.values())


def test_a_table_of_many_rules_is_right_about_the_last() -> None:
    numbers = count()
    rules = ";".join(f"hub:t{next(numbers)} -> r{number}" for number in range(300))
    assert where(tables(rules, HUB)["hub"], "t299") == [("r299", "device")]
