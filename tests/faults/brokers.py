"""The brokers that rows of the matrix break: what a bridge must know of each, and what a consumer finds on it."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from tests.brokers import NatsServer, stored, stream_api
from tests.faults.chatlevel import event_read
from tests.faults.history import Read
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator, stored_in_kafka
from tests.servers import LeashedServer

__all__ = ["Broker", "KafkaBroker", "NatsBroker"]

_PARTITIONS = 3
_READ_S = 60.0


class Broker(Protocol):
    """One, or a cluster of them.

    Attributes:
        kind: `nats` or `kafka`.
        settings: the bridge's variables for it.
        drops_copies: whether it drops what has the id of a record that it has.
    """

    kind: str
    settings: dict[str, str]
    drops_copies: bool

    @property
    def servers(self) -> Sequence[LeashedServer]:
        """The children to kill, freeze and start again."""
        ...

    async def leader(self) -> LeashedServer:
        """Who takes the records now."""
        ...

    async def read(self) -> list[Read]:
        """All events that came from this row's bridge, those of one key in order."""
        ...

    async def dead_letters(self) -> list[bytes]:
        """The webhooks that it could not publish."""
        ...


class NatsBroker:
    kind = "nats"
    drops_copies = True

    def __init__(self, *servers: NatsServer, port: int | None = None, host: str = "127.0.0.1", **login: Any) -> None:
        """Look at it.

        Args:
            servers: of one cluster.
            port: where the bridge comes in, if that is not the server's: a proxy's.
            host: likewise.
            login: of a consumer, options of nats-py.
        """
        self.servers = servers
        self._login = login
        ports = [server.port for server in servers] if port is None else [port]
        self.settings = {
            "BRIDGE_BROKER": "nats://" + ",".join(f"{host}:{number}" for number in ports),
            "BRIDGE_PROVISION": "create",
            "BRIDGE_NATS_REPLICAS": str(len(servers)),
        }

    @property
    def url(self) -> str:
        """Of a server that runs."""
        return next(server.url for server in self.servers if server.pid is not None)

    async def leader(self) -> LeashedServer:
        """Of the stream."""
        if len(self.servers) == 1:
            return self.servers[0]
        name = (await stream_api(self.url, "STREAM.INFO.EVENTS"))["cluster"]["leader"]
        return next(server for server in self.servers if server.name == name)

    async def read(self) -> list[Read]:
        return [event_read(value) for value in await self._values(".message.received")]

    async def dead_letters(self) -> list[bytes]:
        return await self._values(".dead-letter")

    async def _values(self, topic: str) -> list[bytes]:
        messages = await stored(self.url, "EVENTS", **self._login)
        return [message.data for message in messages if message.subject.endswith(topic)]


class KafkaBroker:
    """Its topics are of this row alone, so that rows can have one node in turn."""

    kind = "kafka"
    drops_copies = False

    def __init__(self, *nodes: KafkaServer, port: int | None = None, host: str = "127.0.0.1") -> None:
        """Look at it; the arguments are as for NATS."""
        self.servers = nodes
        self.prefix = f"row.{secrets.token_hex(4)}"
        self.topic = f"{self.prefix}.message.received"
        ports = [node.port for node in nodes] if port is None else [port]
        self.settings = {
            "BRIDGE_BROKER": "kafka://" + ",".join(f"{host}:{number}" for number in ports),
            "BRIDGE_PROVISION": "create",
            "BRIDGE_TOPIC_TEMPLATE": f"{self.prefix}.{{type}}",
            "BRIDGE_DEAD_LETTER_TOPIC": f"dead-letter.{self.prefix}",
            "BRIDGE_KAFKA_PARTITIONS": str(_PARTITIONS),
            "BRIDGE_KAFKA_REPLICATION": str(len(nodes)),
        }

    @property
    def operator(self) -> str:
        """Address of all that run, for somebody who may do all."""
        return ",".join(node.operator for node in self.servers if node.pid is not None)

    async def leader(self) -> LeashedServer:
        """Of the first partition."""
        async with KafkaOperator(self.operator) as operator:
            number = await operator.leader(self.topic)
        return next(node for node in self.servers if node.node == number)

    async def read(self) -> list[Read]:
        return [event_read(value) for value in await self._values(self.topic)]

    async def dead_letters(self) -> list[bytes]:
        return await self._values(f"dead-letter.{self.prefix}")

    async def _values(self, topic: str) -> list[bytes]:
        async with asyncio.timeout(_READ_S):
            return [record.value for record in await stored_in_kafka(self.operator, topic)]
