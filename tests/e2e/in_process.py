"""A whole bridge in this process, in front of a real broker; and senders that mean it harm."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx
from hypothesis import strategies as st

from bridge.app import Bridge, running
from bridge.config import load
from bridge.providers import PROVIDERS
from tests.brokers import free_ports
from tests.conftest import KafkaSpace, NatsSpace
from tests.open_provider import OpenProvider

__all__ = ["HOSTILE_POSTS", "TOKEN", "WORST", "BridgeThread", "Hostile", "message", "post", "serving", "settings_of"]

T = TypeVar("T")
TOKEN = "canary-7f3a9c1e5b8d2460"
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
BOTH = {**PROVIDERS, "open": OpenProvider()}


def settings_of(space: NatsSpace | KafkaSpace, data_dir: Path, **more: str) -> dict[str, str]:
    """A bridge with the sources `shop` (chatlevel) and `hub` (open) on topics of this test."""
    port, ops_port = free_ports(2)
    if isinstance(space, NatsSpace):
        broker = {"BRIDGE_BROKER": space.url, "BRIDGE_NATS_STREAM": space.stream}
    else:
        broker = {"BRIDGE_BROKER": f"kafka://{space.bootstrap}", "BRIDGE_KAFKA_PARTITIONS": "1"}
    return broker | {
        "BRIDGE_PROVISION": "create",
        "BRIDGE_LISTEN": f"127.0.0.1:{port}",
        "BRIDGE_OPS_LISTEN": f"127.0.0.1:{ops_port}",
        "BRIDGE_DATA_DIR": str(data_dir),
        "BRIDGE_SOURCES": "shop=chatlevel,hub=open",
        "BRIDGE_SOURCE_SHOP_TOKEN": TOKEN,
        "BRIDGE_SOURCE_HUB_TOKEN": TOKEN,
        "BRIDGE_TOPIC_TEMPLATE": f"{space.prefix}.{{source}}.{{type}}",
        "BRIDGE_DEAD_LETTER_TOPIC": space.topic("dead-letter"),
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


class BridgeThread:
    """A bridge on a loop of its own, for tests that are not of any loop."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.life = contextlib.AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.life.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[None, None, T]) -> T:
        """What it gives, run on the bridge's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(40)

    async def start(self) -> None:
        """Bring the bridge up."""
        self.bridge = await self.life.enter_async_context(serving(self._env))

    def post_all(self, posts: Iterable["Hostile"]) -> list[httpx.Response]:
        """All at once; answers in their order."""
        return self.run(self._post_all(posts))

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
