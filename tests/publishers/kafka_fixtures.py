"""What the tests of the Kafka publisher share."""

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

from bridge.publishers.kafka import KafkaPublisher, KafkaSettings, Topic
from tests.canary.watch import WATCH
from tests.kafka import KafkaServer
from tests.kafka_operator import stored_in_kafka
from tests.proxy import Proxy
from tests.publishers.contract import ready
from tests.servers import free_ports

StartKafka = Callable[..., Any]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker for all tests of a file, which may freeze and kill it if they mend it."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def topic() -> str:
    """A topic of this test; nobody has made it yet."""
    return f"test.{secrets.token_hex(6)}"


@pytest.fixture
async def start_kafka() -> AsyncIterator[StartKafka]:
    """Makes a started publisher, ready unless `wait=False`: `await start_kafka(bootstrap, topic, …, **settings)`."""
    publishers: list[KafkaPublisher] = []

    async def make(bootstrap: str, *topics: str, wait: bool = True, **settings: Any) -> KafkaPublisher:
        settings = {
            "servers": (bootstrap,),
            "provision": "create",
            "topics": tuple(map(Topic, topics)),
            **settings,
        }
        WATCH.given_to_publisher(settings)
        publisher = KafkaPublisher(KafkaSettings(**settings))
        publishers.append(publisher)
        await publisher.start()
        return await ready(publisher) if wait else publisher  # type: ignore[return-value]

    yield make
    async with asyncio.timeout(4):
        await asyncio.gather(*(publisher.close() for publisher in publishers))
    assert not open_connections()


def open_connections() -> list[AIOKafkaConnection]:
    """What is open in this process, whoever has it; else the garbage collector finds it, in some other test."""
    return [found for found in gc.get_objects() if type(found) is AIOKafkaConnection and found.connected()]


async def values_in(server: KafkaServer, topic: str) -> list[bytes]:
    """The values of a topic in order, read past the publisher."""
    return [item.value for item in await stored_in_kafka(server.operator, topic)]


@pytest.fixture(scope="module")
def behind_proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that tells its clients to come through a proxy, whether or not one is there."""
    server = KafkaServer(tmp_path_factory.mktemp("behind-proxies"))
    (server.advertised_port,) = free_ports(1)
    with server:
        yield server


@pytest.fixture
async def proxied(behind_proxies: KafkaServer) -> AsyncIterator[tuple[KafkaServer, Proxy]]:
    """A broker and its proxy, through which all its clients come."""
    assert behind_proxies.advertised_port
    async with Proxy(behind_proxies.port, behind_proxies.advertised_port) as proxy:
        yield behind_proxies, proxy


class Held:
    """Behind the proxy a broker that stops to answer at the n-th request of one connection after the other.

    Attributes:
        asked: that request has come.
    """

    def __init__(self, proxy: Proxy, at: int) -> None:
        self._left = at
        self._proxy = proxy
        self.asked = asyncio.Event()
        proxy.up.edit = self._see

    def _see(self, chunk: bytes) -> bytes:
        self._left -= 1
        if self._left == 0:
            self._proxy.down.hold()
            self.asked.set()
        return chunk

    def release(self) -> None:
        """As if nothing had been."""
        self._proxy.up.edit = None
        self._proxy.down.release()
