"""Types that payloads name: the strict encoder, and tables that learn some of them and no more."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.cli.routes import _rows
from bridge.events.model import EventType
from bridge.events.open_types import MAX_TYPE_CHARS, encode_type, open_type
from bridge.events.schemas import all_schemas
from bridge.routing import DEFAULT_TEMPLATE, MAX_OPEN_TYPES, subjects, topic_problem, topics
from tests.open_provider import FALLBACK, KNOWN
from tests.unit.routed import CHATLEVEL, HUB, problems, tables, where


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


def test_types_that_share_a_schema_are_published_with_one() -> None:
    made = all_schemas([KNOWN, FALLBACK, open_type(FALLBACK, "push")])
    assert sorted(made) == ["cloudevents/event/v1.0.json", "open/event/v1.0.json"]
    assert b'"title": "data of open.event.v1"' in made["open/event/v1.0.json"]


def test_on_an_open_source_only_what_is_certain_is_a_problem() -> None:
    assert tables("hub:anything.* -> x; hub:push -> y", HUB)
    ((_, said),) = problems("hub:a.* -> x; hub:a.b.* -> y", HUB)
    assert "never matches: rule 1, 'hub:a.* -> x', comes first" in said
    ((_, said),) = problems("hub:.push -> x", HUB)
    assert "names no type that a payload could have" in said


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


@pytest.mark.parametrize("open_topics", [True, False])
def test_dropping_what_is_unknown_drops_no_type_that_has_a_name(*, open_topics: bool) -> None:
    hub = msgspec.structs.replace(HUB, unknown="drop")
    table = tables(None, hub, open_topics=open_topics)["hub"]
    for number in range(MAX_OPEN_TYPES):
        table.find(f"t{number}")
    assert where(table, "one.more") == [("events.hub.unknown", "device")]
    assert where(table, "a..b") == where(table, "unknown") == []
    assert "events.hub.unknown" in topics([table])


def test_no_other_source_publishes_where_payloads_name_the_topics() -> None:
    ((variable, said),) = problems("chatlevel:call -> events.hub.push", HUB, CHATLEVEL)
    assert variable == "BRIDGE_ROUTES"
    assert "'events.hub.push'" in said
    assert "not below events.hub" in said
    assert tables("chatlevel:call -> events.hub-push; hub:push -> events.hub.x.y", HUB, CHATLEVEL)


def test_routes_shows_where_named_types_go_in_the_order_of_asking() -> None:
    rules = "hub:ci.* -> ci.all, by.{source}.{type} key={id}; hub:cd.* -> drop"

    def shown(routes: str, *, open_topics: bool = True) -> list[tuple[str, tuple[str, ...], str, str]]:
        rows = _rows(tables(routes, HUB, open_topics=open_topics)["hub"], None)
        return [(row.type, row.topics, row.key, row.by) for row in rows if "*" in row.type]

    first, second = ("ci.*", ("ci.all", "by.hub.ci.*"), "id", "rule 1"), ("cd.*", (), "", "rule 2")
    assert shown(rules) == [first, second, ("*", ("events.hub.*",), "device", "template")]
    assert shown(f"{rules}; hub:* -> rest") == [first, second, ("*", ("rest",), "device", "rule 3")]
    assert shown(rules, open_topics=False) == [
        ("ci.*", ("ci.all", "events.hub.unknown"), "id", "rule 1"),
        second,
        ("*", ("events.hub.unknown",), "device", "template"),
    ]
