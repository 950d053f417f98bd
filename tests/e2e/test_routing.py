"""Routing as the broker sees it: what a whole bridge in this process puts on the wire of a real NATS."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import nats
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg

from bridge.events.reading import read_event
from bridge.routing import MAX_OPEN_TYPES
from tests.brokers import NatsAddress, stored, stream_api
from tests.conftest import NatsSpace
from tests.e2e.in_process import (
    HOSTILE_POSTS,
    TOKEN,
    WORST,
    BridgeThread,
    Hostile,
    message,
    post,
    serving,
    settings_of,
)


async def on_topics(space: NatsSpace) -> list[tuple[str, str]]:
    """Topic below the test's prefix and event id, in order."""
    records = await stored(space.url, space.stream)
    return [(record.subject.removeprefix(f"{space.prefix}."), json.loads(record.data)["id"]) for record in records]


async def test_each_topic_of_a_rule_gets_its_copy_with_its_key_on_one_stream(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    rules = f"shop:message.* -> {nats_space.topic('a')}, {nats_space.topic('b')} key={{contact}}"
    async with serving(settings_of(nats_space, tmp_path, BRIDGE_ROUTES=rules)) as bridge:
        answer = await post(bridge, "shop", message())
    (event_id,) = answer.json()["ids"]
    assert await on_topics(nats_space) == [("a", event_id), ("b", event_id)]
    records = await stored(nats_space.url, nats_space.stream)
    contact = json.loads(records[0].data)["data"]["contact"]["id"]
    assert [json.loads(record.data)["partitionkey"] for record in records] == [contact, contact]


async def test_equal_bodies_of_two_sources_on_one_topic_are_two_events(nats_space: NatsSpace, tmp_path: Path) -> None:
    rules = f"*:message.* -> {nats_space.topic('all')}"
    sources, body = "shop=chatlevel,hub=chatlevel", message()
    async with serving(settings_of(nats_space, tmp_path, BRIDGE_ROUTES=rules, BRIDGE_SOURCES=sources)) as bridge:
        answers = [await post(bridge, source, body) for source in ("shop", "hub", "shop", "hub")]
        alone = await post(bridge, "hub", message(event="call"))
    assert {answer.status_code for answer in (*answers, alone)} == {200}
    ((event_id,), (call_id,)) = answers[0].json()["ids"], alone.json()["ids"]
    records = await stored(nats_space.url, nats_space.stream)
    own, shared = nats_space.topic("hub.call"), nats_space.topic("all")
    assert [record.headers["Nats-Msg-Id"] for record in records] == [
        f"{event_id}@{shared}@shop",
        f"{event_id}@{shared}@hub",
        f"{call_id}@{own}",
    ]


async def test_what_a_rule_drops_is_a_success_that_lists_the_event_and_counts_it(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    async with serving(settings_of(nats_space, tmp_path, BRIDGE_ROUTES="shop:message.* -> drop")) as bridge:
        answer = await post(bridge, "shop", message())
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"http://{bridge.ops_address}/metrics")).text
    assert answer.status_code == 200
    assert len(answer.json()["ids"]) == 1
    assert await on_topics(nats_space) == []
    assert 'bridge_events_dropped_total{source="shop",type="message.received"} 1.0' in metrics
    assert 'bridge_events_published_total{source="shop",type="message.received"} 0.0' in metrics


async def test_unknown_events_are_dropped_where_the_operator_says_so(nats_space: NatsSpace, tmp_path: Path) -> None:
    async with serving(settings_of(nats_space, tmp_path, BRIDGE_SOURCE_SHOP_UNKNOWN="drop")) as bridge:
        for source in ("shop", "hub"):
            assert (await post(bridge, source, {"event": "never.seen", "type": "\n", "data": {}})).status_code == 200
    assert [topic for topic, _ in await on_topics(nats_space)] == ["hub.unknown"]


async def test_credentials_never_follow_a_glob(nats_space: NatsSpace, tmp_path: Path) -> None:
    rules = f"shop:* -> {nats_space.topic('all')}"
    async with serving(settings_of(nats_space, tmp_path, BRIDGE_ROUTES=rules)) as bridge:
        for name in ("connection.auth", "connection.open"):
            assert (await post(bridge, "shop", message(event=name))).status_code == 200
    assert [topic for topic, _ in await on_topics(nats_space)] == ["shop.connection.auth", "all"]


async def test_a_retry_after_a_partial_success_publishes_only_what_is_missing(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    topics = [nats_space.topic(name) for name in ("a", "b", "c")]
    env = settings_of(nats_space, tmp_path, BRIDGE_ROUTES=f"shop:message.* -> {', '.join(topics)}")
    async with serving(env) as bridge:
        assert (await post(bridge, "shop", message(1))).status_code == 200
        # one place per topic, and that of `b` alone is taken
        for name in ("a", "c"):
            await stream_api(nats_space.url, f"STREAM.PURGE.{nats_space.stream}", {"filter": nats_space.topic(name)})
        config = (await stream_api(nats_space.url, f"STREAM.INFO.{nats_space.stream}"))["config"]
        full = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True}
        changed = await stream_api(nats_space.url, f"STREAM.UPDATE.{nats_space.stream}", config | full)
        assert "error" not in changed
        assert (await post(bridge, "shop", message(2))).status_code == 503
        (_, old), (_, new), _ = first = await on_topics(nats_space)
        assert first == [("b", old), ("a", new), ("c", new)]
        await stream_api(nats_space.url, f"STREAM.PURGE.{nats_space.stream}", {"filter": topics[1]})
        for _ in range(2):
            assert (await post(bridge, "shop", message(2))).status_code == 200
    assert await on_topics(nats_space) == [("a", new), ("c", new), ("b", new)]


async def test_a_stream_gets_the_topics_of_new_rules_and_keeps_what_it_has(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    x, y, inside = (nats_space.topic(name) for name in ("x", "y", "shop.deep"))
    for rules in (f"shop:call -> {x}", f"shop:* -> {inside}, {y}"):
        async with serving(settings_of(nats_space, tmp_path, BRIDGE_ROUTES=rules)) as bridge:
            assert (await post(bridge, "shop", message(event="call"))).status_code == 200
    config = (await stream_api(nats_space.url, f"STREAM.INFO.{nats_space.stream}"))["config"]
    assert set(config["subjects"]) == {
        *(nats_space.topic(name) for name in ("x", "y", "dead-letter")),
        *(f"{nats_space.prefix}.{name}.>" for name in ("shop", "hub")),
    }


async def test_binary_records_read_back_as_the_structured_ones(nats_space: NatsSpace, tmp_path: Path) -> None:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    read = []
    for mode in ("structured", "binary"):
        async with serving(settings_of(nats_space, tmp_path, BRIDGE_EVENT_FORMAT=mode)) as bridge:
            assert (await post(bridge, "shop", message(), headers=trace)).status_code == 200
        (record,) = await stored(nats_space.url, nats_space.stream)
        assert record.headers
        read.append(read_event(record.data, record.headers))
        del read[-1]["recordedtime"]
        await stream_api(nats_space.url, f"STREAM.DELETE.{nats_space.stream}")  # with its memory of ids
    assert read[0] == read[1]
    assert json.loads(record.data) == read[1]["data"]
    assert record.headers["ce-datacontenttype"] == "application/json"
    assert "Content-Type" not in record.headers


# ---- hostile senders


class Wire(BridgeThread):
    """A bridge, and a client that sees everything that is published on its broker meanwhile."""

    def __init__(self, space: NatsSpace, data_dir: Path) -> None:
        self.space = space
        self.published: set[str] = set()
        rules = f"hub:ci.* -> {space.topic('ci')}, {space.prefix}.deep.{{source}}.{{type}} key={{subject}}"
        super().__init__(settings_of(space, data_dir, BRIDGE_ROUTES=rules))

    async def start(self) -> None:
        self._client = await nats.connect(self.space.url, allow_reconnect=False)
        self.life.push_async_callback(self._client.close)
        self._all = await self._client.subscribe(">")
        await super().start()

    def seen(self) -> list[Msg]:
        """What was published since the last call."""
        return self.run(self._seen())

    async def _seen(self) -> list[Msg]:
        await self._client.flush()
        found = [await self._all.next_msg() for _ in range(self._all.pending_msgs)]
        # what the bridge asks about its stream, and what it is answered
        ours = ("_INBOX.", "$JS.API.STREAM.INFO.", "$JS.API.STREAM.CREATE.", "$JS.EVENT.", "$SYS.")
        return [message for message in found if not message.subject.startswith(ours)]


@pytest.fixture(scope="module")
def wire(nats_server: NatsAddress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    space = NatsSpace(nats_server.url)
    with Wire(space, tmp_path_factory.mktemp("wire")) as running_wire:
        yield running_wire
    asyncio.run(stream_api(space.url, f"STREAM.DELETE.{space.stream}"))


# no shrinking: each example goes over the wire
@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(posts=st.lists(HOSTILE_POSTS, min_size=4, max_size=8))
@example(posts=[WORST])
def test_no_payload_header_or_token_makes_a_topic_outside_the_allowed(wire: Wire, posts: list[Hostile]) -> None:
    wire.seen()
    answers = wire.post_all(posts)
    assert {answer.status_code for answer in answers} <= {200, 400}
    pairs = zip(answers, posts, strict=True)
    sent = {answer.json()["ids"][0]: post for answer, post in pairs if answer.status_code == 200}
    for record in wire.seen():
        assert record.headers
        event_id, _, topic = record.headers["Nats-Msg-Id"].partition("@")
        wire.published.add(event_id)
        assert topic == record.subject
        below = topic.removeprefix(f"{wire.space.prefix}.")
        allowed = (
            r"shop\.(unknown|connection\.auth)" if sent[event_id].source == "shop" else r"ci|(hub|deep\.hub\.ci)\..+"
        )
        assert re.fullmatch(allowed, below)
        assert re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", below)
        assert set(record.headers) <= {"Content-Type", "ce-id", "ce-type", "traceparent", "Nats-Msg-Id", "Nats-TTL"}
    assert set(sent) <= wire.published


def test_a_flood_of_types_stops_at_the_cap_and_so_do_the_labels(wire: Wire) -> None:
    wire.seen()
    batch = [{"type": f"flood.{number}"} for number in range(MAX_OPEN_TYPES + 20)]
    answer = httpx.post(f"http://{wire.bridge.address}/webhooks/hub/{TOKEN}", json={"batch": batch})
    assert answer.status_code == 200
    assert len(wire.seen()) == MAX_OPEN_TYPES + 20
    request = {"subjects_filter": f"{wire.space.prefix}.hub.>"}
    info = asyncio.run(stream_api(wire.space.url, f"STREAM.INFO.{wire.space.stream}", request))
    assert len(info["state"]["subjects"]) <= MAX_OPEN_TYPES + 2
    assert info["state"]["subjects"][f"{wire.space.prefix}.hub.unknown"] >= 20
    metrics = httpx.get(f"http://{wire.bridge.ops_address}/metrics").text
    labels = set(re.findall(r'events_published_total\{source="hub",type="([^"]*)"', metrics))
    assert len(labels) <= MAX_OPEN_TYPES + 2
