"""What tables say: first match, fan-out, drop, credentials, rules that never match, and names both brokers take."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.events.messaging import TYPES
from bridge.routing import RoutedSource, subjects, topic_problem, topics
from tests.unit.routed import CHATLEVEL, HUB, problems, tables, where

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
    dropping = RoutedSource(name="chatlevel", types=TYPES, unknown="drop")
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
    dropping = RoutedSource(name="chatlevel", types=TYPES, unknown="drop")
    ((_, said),) = problems("chatlevel:unknown -> x", dropping)
    assert "never matches, since UNKNOWN=drop of the source comes first" in said


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


def test_a_rule_that_meets_no_event_is_told_of_beside_one_that_is_no_rule() -> None:
    found = problems("chatlevl:call -> x; a -> b; chatlevel:* -> y; chatlevel:call -> z")
    assert [said.partition(" ")[0] for _, said in found] == ["rule"] * 3
    (broken, unknown, late) = (said for _, said in found)
    assert "is no rule" in broken
    assert "names no source: there is none 'chatlevl'" in unknown
    assert "never matches: rule 3" in late


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


def test_a_table_of_many_rules_is_right_about_the_last() -> None:
    numbers = count()
    rules = ";".join(f"hub:t{next(numbers)} -> r{number}" for number in range(300))
    assert where(tables(rules, HUB)["hub"], "t299") == [("r299", "device")]


SOURCES = st.sampled_from(["*", "chatlevel", "hub", "chat*", "*l", "nobody"])
NAMED = st.sampled_from(["*", "message.*", "call", "connection.auth", "connection.*", "*n*", "unknown", "push", "c*.x"])
PLACES = st.sampled_from(
    ["drop", "a", "b, c", "{type}", "x.{source}.{type}", "{domain}.all", "x_hub", "x.hub", "a, a.{type}", "bridge.x"]
)
KEYED = st.sampled_from(["", " key={contact}", " key={id}"])
RULES = st.lists(st.builds("{}:{} -> {}{}".format, SOURCES, NAMED, PLACES, KEYED), min_size=1, max_size=4).map(
    "; ".join
)
TEMPLATES = st.sampled_from(["events.{source}.{type}", "{domain}.{type}", "all", "x.{source}", "x.{source}.{type}"])


@given(RULES, TEMPLATES, st.lists(st.sampled_from([CHATLEVEL, HUB]), min_size=1, max_size=2, unique=True))
def test_whatever_the_rules_the_tables_are_sound_or_refused(
    rules: str, template: str, sources: list[RoutedSource]
) -> None:
    try:
        made = tables(rules, *sources, template=template)
    except ConfigError:
        return
    all_topics = topics(made.values())
    assert all(topic_problem(topic) is None for topic in all_topics)
    assert len({topic.replace(".", "_") for topic in all_topics}) == len(all_topics)
    # subjects cover every topic, and none is inside another: `x.>` has no neighbour that begins with `x.`
    covered = subjects(made.values())
    prefixes = [subject[:-1] for subject in covered if subject.endswith(".>")]
    assert all(topic in covered or topic.startswith(tuple(prefixes)) for topic in all_topics)
    assert not [one for one in covered for prefix in prefixes if one.startswith(prefix) and one != f"{prefix}>"]
    for table in made.values():
        auth = table.known.get("connection.auth")
        if auth is not None and table.source is CHATLEVEL and "chatlevel:connection.auth" not in rules:
            assert auth.by == "template"
            others = {route.topic for name, found in table.known.items() if found is not auth for route in found.routes}
            assert not others & {route.topic for route in auth.routes}
