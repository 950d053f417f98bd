"""The publisher contract on a real Kafka with a login."""

import asyncio
import secrets
from collections.abc import Iterator
from typing import ClassVar

import pytest

from bridge.publishers.base import Publisher
from bridge.publishers.kafka import KafkaPublisher, KafkaSettings, Topic
from tests.kafka import KafkaServer
from tests.kafka_operator import stored_in_kafka
from tests.kafka_security import Security
from tests.publishers.contract import Harness, PublisherContract, Stored

LIMIT_BYTES = 100_000
PASSWORD = "correct-horse"
BAD_TOPICS = (
    "",
    ".",
    "..",
    "a b",
    "a\tb",
    "a\r\nb",
    "a\0b",
    "a/b",
    "a*",
    "gr\u00fc\u00dfe",
    "a\u200bb",
    "a\n",
    "x" * 250,
)


class KafkaHarness(Harness):
    dedups = False
    has_keys = True
    bad_topics = BAD_TOPICS
    limit_bytes = LIMIT_BYTES
    passing_tasks = 4
    known_outage_s = 3.0  # the deadline of a source: two looks in vain take most of a second
    secrets: ClassVar = (PASSWORD,)

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self._prefix = f"test.{secrets.token_hex(6)}"

    def make(self) -> Publisher:
        return KafkaPublisher(
            KafkaSettings(
                servers=(self.server.bootstrap,),
                topics=(Topic(self.topic("a")), Topic(self.topic("b"))),
                provision="create",
                sasl="PLAIN",
                user="bridge",
                password=lambda: PASSWORD,
            )
        )

    def topic(self, name: str) -> str:
        return f"{self._prefix}.{name}"

    async def stored(self, topic: str) -> list[Stored]:
        found = await stored_in_kafka(self.server.operator, topic)
        return [
            Stored(
                item.topic,
                item.key.decode(),
                item.value,
                {name: value.decode() for name, value in item.headers},
            )
            for item in found
        ]

    async def take_away(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def give_back(self) -> None:
        await asyncio.to_thread(self.server.start)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One for all tests here; those that kill it leave it to the next one to start again."""
    config = f"message.max.bytes={LIMIT_BYTES}"
    security = Security(sasl=True, plain_users={"bridge": PASSWORD})
    with KafkaServer(tmp_path_factory.mktemp("kafka"), config, security=security) as server:
        yield server


class TestKafka(PublisherContract):
    @pytest.fixture
    def harness(self, server: KafkaServer) -> Harness:
        if server.pid is None:
            server.start()
        return KafkaHarness(server)
