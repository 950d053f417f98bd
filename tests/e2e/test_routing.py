"""Routing as the broker sees it: what a whole bridge in this process puts on the wire of a real NATS."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx
import nats
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg

from bridge.app import Bridge, running
from bridge.config import load
from bridge.events.reading import read_event
from bridge.providers import PROVIDERS
from bridge.routing import MAX_OPEN_TYPES
from tests.brokers import NatsAddress, free_ports, stored, stream_api
from tests.conftest import NatsSpace
from tests.open_provider import OpenProvider

T = TypeVar("T")
TOKEN = "canary-7f3a9c1e5b8d2460"
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
BOTH = {**PROVIDERS, "open": OpenProvider()}


def settings_of(space: NatsSpace, data_dir: Path, **more: str) -> dict[str, str]:
    """A bridge with the sources `shop` (chatlevel) and `hub` (open) on topics of this test."""
    port, ops_port = free_ports(2)
    return {
        "BRIDGE_BROKER": space.url,
        "BRIDGE_PROVISION": "create",
        "BRIDGE_NATS_STREAM": space.stream,
        "BRIDGE_LISTEN": f"127.0.0.1:{port}",
        "BRIDGE_OPS_LISTEN": f"127.0.0.1:{ops_port}",
        "BRIDGE_DATA_DIR": str(data_dir),
        "BRIDGE_SOURCES": "shop=chatlevel,hub=open",
        "BRIDGE_SOURCE_SHOP_TOKEN": TOKEN,
        "BRIDGE_SOURCE_HUB_TOKEN": TOKEN,
        "BRIDGE_TOPIC_TEMPLATE": f"{space.prefix}.{{source}}.{{type}}",
        **more,
    }


@contextlib.asynccontextmanager
async def serving(env: Mapping[str, str]) -> AsyncIterator[Bridge]:
    bridge = Bridge(load(env, providers=BOTH), providers=BOTH)
    async with running(bridge), asyncio.timeout(30):
        await bridge.wait_ready()
        yield bridge


async def post(
    bridge: Bridge, source: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"http://{bridge.address}/webhooks/{source}/{TOKEN}", json=body, headers=headers)


def message(number: int = 1, event: str = "message.received") -> dict[str, Any]:
    body: dict[str, Any] = json.loads(PROVIDERS["chatlevel"].sample(event, now=NOW))
    if "id" in body["data"]:
        body["data"]["id"] = f"M{number}"
    return body


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
        *(nats_space.topic(name) for name in ("x", "y")),
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


class Wire:
    """A bridge on a loop of its own, and a client that sees everything that is published on its broker meanwhile."""

    def __init__(self, space: NatsSpace, data_dir: Path) -> None:
        self.space = space
        rules = f"hub:ci.* -> {space.topic('ci')}, {space.prefix}.deep.{{source}}.{{type}} key={{subject}}"
        self.published: set[str] = set()
        self._env = settings_of(space, data_dir, BRIDGE_ROUTES=rules)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._life = contextlib.AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._life.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def seen(self) -> list[Msg]:
        """What was published since the last call."""
        return self._run(self._seen())

    def post_all(self, posts: Iterable["Hostile"]) -> list[httpx.Response]:
        """All at once; answers in their order."""
        return self._run(self._post_all(posts))

    async def _post_all(self, posts: Iterable["Hostile"]) -> list[httpx.Response]:
        url = f"http://{self.bridge.address}/webhooks"
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=32), timeout=20) as client:
            answers = [
                client.post(
                    f"{url}/{post.source}/{TOKEN}?token={quote(post.token, safe='')}",
                    content=json.dumps({"event": post.body["type"], "deviceId": 1, "data": post.body, **post.body}),
                    headers=list(post.headers.items()),
                )
                for post in posts
            ]
            return await asyncio.gather(*answers)

    def _run(self, coroutine: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _start(self) -> None:
        self._client = await nats.connect(self.space.url, allow_reconnect=False)
        self._life.push_async_callback(self._client.close)
        self._all = await self._client.subscribe(">")
        self.bridge = await self._life.enter_async_context(serving(self._env))

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


HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        ">",
        "*",
        "a.>",
        "..",
        ".",
        "a..b",
        "../shop/call",
        "$JS.API.STREAM.DELETE.EVENTS",
        "$JS/API/STREAM/PURGE/EVENTS",
        "_inbox.x",
        "connection.auth",
        "unknown",
        "ci.>",
        "ci.a\r\nNats-Msg-Id: 1",
        "x\0y",
        "a b",
        "Ünï",
        "x" * 300,
        "ci." + "y" * 97,
        "1",
        "PUB x 1",
    ]
)
BODIES = st.fixed_dictionaries(
    {"type": HOSTILE, "device": HOSTILE, "subject": HOSTILE, "contact": HOSTILE, "source": HOSTILE, "topic": HOSTILE}
)
HEADERS = st.dictionaries(
    st.sampled_from(["x-event", "traceparent", "content-type", "x-topic", "ce-type", "ce-source", "nats-msg-id"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)
    .map(str.strip)
    .map(lambda text: text.encode("latin-1")),
)


class Hostile(NamedTuple):
    source: str
    body: dict[str, str]
    headers: dict[str, bytes]
    token: str


HOSTILE_POSTS = st.builds(Hostile, st.sampled_from(["hub", "shop"]), BODIES, HEADERS, HOSTILE | st.just(TOKEN))
WORST = Hostile("hub", dict.fromkeys(("type", "device"), "events.>"), {"x-event": b"$JS.API.STREAM.DELETE.X"}, TOKEN)


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
