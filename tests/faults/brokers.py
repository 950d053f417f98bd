"""The brokers that rows of the matrix break: what a bridge must know of each, and what a consumer finds on it."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.brokers import NatsServer, stored
from tests.faults.chatlevel import event_read
from tests.faults.history import Read
from tests.kafka import KafkaServer
from tests.kafka_operator import stored_in_kafka
from tests.servers import LeashedServer

__all__ = ["Broker", "KafkaBroker", "NatsBroker"]

PARTITIONS = 3


class Broker(Protocol):
    """One, started.

    Attributes:
        kind: `nats` or `kafka`.
        server: the child to kill, freeze and start again.
        settings: the bridge's variables for it.
        drops_copies: whether it drops what has the id of a record that it has.
    """

    kind: str
    server: LeashedServer
    settings: dict[str, str]
    drops_copies: bool

    async def read(self) -> list[Read]:
        """All events that came from this row's bridge, those of one key in order."""
        ...


class NatsBroker:
    kind = "nats"
    drops_copies = True

    def __init__(self, server: NatsServer) -> None:
        self.server: LeashedServer = server
        self.url = server.url
        self.settings = {"BRIDGE_BROKER": server.url, "BRIDGE_PROVISION": "create"}

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path) -> Iterator["NatsBroker"]:
        with NatsServer(folder / "nats") as server:
            yield cls(server)

    async def read(self) -> list[Read]:
        messages = await stored(self.url, "EVENTS")
        return [event_read(message.data) for message in messages if message.subject.endswith(".message.received")]


class KafkaBroker:
    """Its topics are of this row alone, so that rows can have one node in turn."""

    kind = "kafka"
    drops_copies = False

    def __init__(self, server: KafkaServer) -> None:
        self.server: LeashedServer = server
        self._operator = server.operator
        self._prefix = f"row.{secrets.token_hex(4)}"
        self.topic = f"{self._prefix}.message.received"
        self.settings = {
            "BRIDGE_BROKER": f"kafka://{server.bootstrap}",
            "BRIDGE_PROVISION": "create",
            "BRIDGE_TOPIC_TEMPLATE": f"{self._prefix}.{{type}}",
            "BRIDGE_KAFKA_PARTITIONS": str(PARTITIONS),
        }

    async def read(self) -> list[Read]:
        async with asyncio.timeout(60):
            return [event_read(record.value) for record in await stored_in_kafka(self._operator, self.topic)]
