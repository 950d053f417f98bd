"""The pure part of an event's way: copies, their keys, and what the table's answer becomes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.ingest.pipeline import Pipeline, Prepared
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect
from bridge.routing import DEFAULT_TEMPLATE, MAX_OPEN_TYPES, RoutedSource, build_tables
from tests.open_provider import OpenProvider

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
FULL = {"type": "push", "device": "d", "subject": "s", "contact": "c"}


def pipeline(routes: str | None) -> Pipeline:
    routed = RoutedSource(name="hub", types=OpenProvider.event_types, open_types=True)
    return Pipeline(
        source="hub",
        provider=OpenProvider(),
        table=build_tables([routed], routes=routes, template=DEFAULT_TEMPLATE)["hub"],
        dialect=HeaderDialect(prefix="ce_", content_type="content-type", percent_encode=False),
    )


def prepare(made: Pipeline, **content: Any) -> Prepared:
    (prepared,) = made.prepare(Delivery(json.dumps(content).encode(), {}, NOW))
    return prepared


@pytest.mark.parametrize("key", ["device", "subject", "contact", "id"])
def test_the_key_is_what_the_rule_says_and_the_device_where_the_event_has_no_such_thing(key: str) -> None:
    made = pipeline(f"hub:push -> t key={{{key}}}")
    full = prepare(made, **FULL)
    assert [record.key for record in full.records] == [getattr(full.event, key)]
    bare = prepare(made, type="push", device="d")
    assert [record.key for record in bare.records] == [bare.event.id if key == "id" else "d"]


def test_copies_with_one_key_are_encoded_once_and_share_no_headers() -> None:
    first, second = prepare(pipeline("hub:push -> a, b"), **FULL).records
    assert first.value is second.value
    assert first.headers == second.headers
    assert first.headers is not second.headers  # publishers add to them
    assert [first.dedup_id, second.dedup_id] == [f"{first.dedup_id[:-2]}@a", f"{first.dedup_id[:-2]}@b"]


def test_each_copy_says_its_own_key() -> None:
    made = pipeline("hub:ci.* -> ci.all, by-type.{source}.{type} key={subject}")
    for number in range(MAX_OPEN_TYPES):
        prepare(made, type=f"t{number}")
    late = prepare(made, **FULL | {"type": "ci.late"})
    assert late.label == "unknown"
    assert [(record.topic, record.key) for record in late.records] == [("ci.all", "s"), ("events.hub.unknown", "d")]
    for record in late.records:
        assert json.loads(record.value)["partitionkey"] == record.key
        assert json.loads(record.value)["type"] == "open.ci.late.v1"  # the envelope keeps what the payload says


def test_what_is_dropped_has_no_records_and_is_not_encoded() -> None:
    assert prepare(pipeline("hub:push -> drop"), **FULL).records == ()


def test_a_type_beyond_the_cap_costs_no_memory() -> None:
    made = pipeline(None)
    for number in range(3 * MAX_OPEN_TYPES):
        prepare(made, type=f"t{number}")
    assert len(made._plans) == MAX_OPEN_TYPES + 2


def test_an_open_sources_dedup_ids_name_it_where_another_source_publishes_too() -> None:
    sources = [RoutedSource(name=name, types=OpenProvider.event_types, open_types=True) for name in ("hub", "other")]
    tables = build_tables(sources, routes="*:ci.* -> ci.all", template=DEFAULT_TEMPLATE)
    dialect = HeaderDialect(prefix="ce_", content_type="content-type", percent_encode=False)
    made = Pipeline(source="hub", provider=OpenProvider(), table=tables["hub"], dialect=dialect)
    for name, suffix in (("ci.run", "@ci.all@hub"), ("push", "@events.hub.push"), ("\n", "@events.hub.unknown")):
        prepared = prepare(made, **FULL | {"type": name})
        assert [record.dedup_id for record in prepared.records] == [prepared.event.id + suffix]
