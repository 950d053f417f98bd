"""The publisher contract on NATS: an external server with a login, and the embedded one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bridge.publishers.base import Publisher
from bridge.publishers.embedded import EmbeddedServer
from bridge.publishers.nats import NatsPublisher, NatsSettings
from tests.brokers import NatsServer, stored
from tests.publishers.contract import Harness, PublisherContract, Stored

LIMIT_BYTES = 100_000
SUBJECT_FAULTS = (
    "",
    "a.*",
    "a.>",
    ">",
    "a b",
    "a\tb",
    "a\r\nPUB x 1\r\n1",
    "a\0b",
    "a..b",
    ".a",
    "a.",
    "gr\u00fc\u00dfe",
    "a\u200bb",
    "x" * 5000,
)


class JetStreamHarness(Harness):
    """What both servers have in common.

    Attributes:
        server: a NatsServer or an EmbeddedServer.
        login: options of `nats.connect`, for reading as a consumer would.
    """

    dedups = True
    has_keys = False
    bad_topics = SUBJECT_FAULTS
    server: Any
    login: ClassVar[dict[str, str]] = {}

    def topic(self, name: str) -> str:
        return f"test.{name}"

    async def stored(self, topic: str) -> list[Stored]:
        found = await stored(self.server.url, "EVENTS", **self.login)
        return [Stored(item.subject, None, item.data, item.headers or {}) for item in found if item.subject == topic]


class NatsHarness(JetStreamHarness):
    limit_bytes = LIMIT_BYTES
    secrets = ("correct-horse",)
    login: ClassVar[dict[str, str]] = {"user": "bridge", "password": "correct-horse"}

    def __init__(self, folder: Path) -> None:
        users = "authorization { user: bridge, password: correct-horse }"
        self.server = NatsServer(folder, f"max_payload: {LIMIT_BYTES}\n{users}")

    def make(self) -> Publisher:
        return NatsPublisher(
            NatsSettings(
                servers=(self.server.url,),
                subjects=("test.>",),
                provision="create",
                user="bridge",
                password=lambda: "correct-horse",
            )
        )

    async def take_away(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def give_back(self) -> None:
        await asyncio.to_thread(self.server.start)


class TestNats(PublisherContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[Harness]:
        harness = NatsHarness(tmp_path)
        with harness.server:
            yield harness


class EmbeddedHarness(JetStreamHarness):
    limit_bytes = 8_388_608

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = EmbeddedServer(folder, port=0)

    def make(self) -> Publisher:
        return NatsPublisher(
            NatsSettings(
                servers=(self.server.url,),
                subjects=("test.>",),
                provision="create",
                expected_server_name=self.server.server_name,
                always_synced=True,
            )
        )

    async def take_away(self) -> None:
        await self.server.stop()

    async def give_back(self) -> None:
        await self.server.start()


class TestEmbeddedNats(PublisherContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[Harness]:
        harness = EmbeddedHarness(tmp_path)
        await harness.server.start()
        yield harness
        await harness.server.stop()
