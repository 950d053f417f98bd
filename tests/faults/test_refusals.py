"""A broker that lives and says no: to our user, to one record."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.brokers import NatsServer
from tests.faults.brokers import Broker, KafkaBroker, NatsBroker
from tests.faults.chatlevel import Chatlevel, message
from tests.faults.conftest import BOTH, EVERY, MakeStage
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator
from tests.kafka_security import Security

DEADLINE_S = 3.0
LIMIT_BYTES = 20_000
SECRET = "correct-horse-battery"


class GuardedNats(NatsBroker):
    """It asks for logins."""

    bridge_user = f'{{ user: bridge, password: "{SECRET}" }}'

    def __init__(self, folder: Path) -> None:
        self.server = NatsServer(folder / "nats", self.users(self.bridge_user))
        super().__init__(self.server, user="operator", password=SECRET)
        self.settings |= {"BRIDGE_NATS_USER": "bridge", "BRIDGE_NATS_PASSWORD": SECRET}

    def users(self, *others: str) -> str:
        operator = f'{{ user: operator, password: "{SECRET}" }}'
        return f"authorization {{ users: [ {', '.join([operator, *others])} ] }}"

    async def allow(self) -> None:
        await asyncio.to_thread(self.server.reload, self.users(self.bridge_user))

    async def forbid(self) -> None:
        await asyncio.to_thread(self.server.reload, self.users())


class GuardedKafka(KafkaBroker):
    """It asks for logins, and nobody may do anything but by an ACL."""

    def __init__(self, folder: Path) -> None:
        security = Security(sasl=True, plain_users={"bridge": SECRET}, acls=True)
        self.server = KafkaServer(folder / "kafka", security=security)
        super().__init__(self.server)
        self.settings |= {"BRIDGE_KAFKA_SASL": "PLAIN", "BRIDGE_KAFKA_USER": "bridge", "BRIDGE_KAFKA_PASSWORD": SECRET}

    async def allow(self) -> None:
        async with KafkaOperator(self.operator) as operator:
            await operator.allow("bridge", "all", name="*")
            await operator.allow("bridge", "create", "idempotent_write", name="kafka-cluster", resource="cluster")

    async def forbid(self) -> None:
        async with KafkaOperator(self.operator) as operator:
            await operator.forbid("bridge", "all", name="*")


Guarded = GuardedNats | GuardedKafka


@pytest.fixture
async def guarded(kind: str, tmp_path: Path) -> AsyncIterator[Guarded]:
    """Started, and the bridge's user may do what it must."""
    broker: Guarded = GuardedNats(tmp_path) if kind == "nats" else GuardedKafka(tmp_path)
    await asyncio.to_thread(broker.server.start)
    try:
        await broker.allow()
        yield broker
    finally:
        await asyncio.to_thread(broker.server.kill)


@EVERY
async def test_row_13_our_user_is_revoked_and_comes_back(
    stage: MakeStage, kind: str, spool: bool, guarded: Guarded
) -> None:
    row = stage(kind, guarded, spool=spool)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url) as provider:
        await provider.more_acknowledged(50)
        await guarded.forbid()
        await row.not_ready(within_s=30)
        await provider.more_answered(50)
        await guarded.allow()
        await row.healed()
        await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    row.assert_taken(verdict, provider)


async def lower_the_limit(broker: Broker, limit_bytes: int) -> None:
    if isinstance(broker, NatsBroker):
        await asyncio.to_thread(broker.servers[0].reload, f"max_payload: {limit_bytes}")
        return
    assert isinstance(broker, KafkaBroker)
    async with KafkaOperator(broker.operator) as operator:
        await operator.alter_topic(broker.topic, {"max.message.bytes": str(limit_bytes)})


@BOTH
async def test_row_15_a_record_is_over_a_limit_that_was_lowered(stage: MakeStage, kind: str) -> None:
    """It becomes a dead letter, or 413 where the limit is the server's and a letter is over it, too (NATS).

    What is sent with it and after it is stored in time.
    """
    row = stage(kind)
    await row.start_bridge()
    poisons = [message(f"POISON{number}", "480001", "x" * 2 * LIMIT_BYTES) for number in range(3)]
    async with Chatlevel(row.bridge.url) as provider, httpx.AsyncClient(timeout=15) as client:
        await provider.more_acknowledged(50)
        await lower_the_limit(row.broker, LIMIT_BYTES)
        for poison in poisons:
            answer = await client.post(row.bridge.url, content=poison)
            assert answer.status_code == (200 if kind == "kafka" else 413), answer.text
            await provider.more_acknowledged(50)
        verdict = await row.judge(provider)
    assert await row.broker.dead_letters() == (poisons if kind == "kafka" else [])
    assert verdict.answers.keys() == {"200"}
    assert verdict.slowest_s < provider.at_most(DEADLINE_S)
