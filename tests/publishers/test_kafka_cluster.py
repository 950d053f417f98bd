"""Three nodes: leaders that die after they acknowledged, and too few that are left."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from bridge.errors import BrokerUnavailable
from bridge.publishers.base import Record
from bridge.publishers.kafka import KafkaPublisher
from tests.kafka import KafkaServer, kafka_cluster
from tests.kafka_operator import KafkaOperator, stored_in_kafka
from tests.publishers.conftest import reasons
from tests.publishers.contract import publish_until_taken, ready, record, until
from tests.publishers.kafka_fixtures import StartKafka, start_kafka, topic
from tests.servers import started

__all__ = ["start_kafka", "topic"]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KafkaServer]]:
    nodes = kafka_cluster(tmp_path_factory.mktemp("cluster"))
    with started(*nodes):
        yield nodes


@pytest.fixture
def cluster(nodes: list[KafkaServer]) -> list[KafkaServer]:
    """All of them up."""
    for node in nodes:
        if node.pid is None:
            node.launch()
    for node in nodes:
        node.await_ready()
    return nodes


async def leader(nodes: list[KafkaServer], topic: str) -> KafkaServer:
    async with KafkaOperator(",".join(node.operator for node in nodes)) as operator:
        number = await operator.leader(topic)
    return next(node for node in nodes if node.node == number)


class Load:
    """Publishes one record after the other on some keys, each until it is taken; remembers what was acknowledged."""

    def __init__(self, publisher: KafkaPublisher, topic: str, keys: int = 4) -> None:
        self._publisher = publisher
        self._topic = topic
        self.acknowledged: list[bytes] = []
        self.ambiguous = 0
        self._stop = asyncio.Event()
        self._tasks = [asyncio.ensure_future(self._run(f"key-{number}")) for number in range(keys)]

    async def _run(self, key: str) -> None:
        number = 0
        while not self._stop.is_set():
            item: Record = record(self._topic, f"{key}:{number}".encode(), key=key)
            try:
                async with asyncio.timeout(3):
                    await self._publisher.publish(item)
            except (BrokerUnavailable, TimeoutError):
                self.ambiguous += 1
                await asyncio.sleep(0.1)
                continue
            self.acknowledged.append(item.value)
            number += 1
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._stop.set()
        async with asyncio.timeout(30):
            await asyncio.gather(*self._tasks)


async def check(load: Load, nodes: list[KafkaServer], topic: str) -> None:
    """Nothing acknowledged is lost, copies are bounded by what was unknown, first ones keep the order of their key."""
    alive = next(node for node in nodes if node.pid is not None)
    found = [item.value for item in await stored_in_kafka(alive.operator, topic)]
    lost = set(load.acknowledged) - set(found)
    assert not lost
    copies = sum(count - 1 for count in Counter(found).values())
    assert copies <= load.ambiguous + 4 * 2  # what was in flight when a link was given up
    first = list(dict.fromkeys(found))
    for key in {value.split(b":")[0] for value in first}:
        numbers = [int(value.split(b":")[1]) for value in first if value.startswith(key + b":")]
        assert numbers == sorted(numbers)


async def test_k1_a_leader_killed_after_its_acknowledgement_takes_nothing_with_it(
    cluster: list[KafkaServer], start_kafka: StartKafka, topic: str
) -> None:
    """With the library's own acks=1 what the leader alone had is gone."""
    publisher = await start_kafka(cluster[0].bootstrap, topic, replication=3, partitions=1)
    assert publisher.health().details["min_insync_replicas"] == 2
    load = Load(publisher, topic)
    await until(lambda: len(load.acknowledged) > 50, within_s=15)
    leading = await leader(cluster, topic)
    await asyncio.to_thread(leading.kill)
    seen = len(load.acknowledged)
    await until(lambda: len(load.acknowledged) > seen + 50, within_s=30)
    await load.stop()
    await check(load, cluster, topic)


async def test_without_enough_replicas_nothing_is_acknowledged_and_it_heals(
    cluster: list[KafkaServer], start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(cluster[0].bootstrap, topic, replication=3, partitions=1)
    load = Load(publisher, topic)
    await until(lambda: len(load.acknowledged) > 20, within_s=15)
    leading = await leader(cluster, topic)
    others = [node for node in cluster if node is not leading]
    for node in others:
        await asyncio.to_thread(node.pause)
    try:
        await until(lambda: not publisher.health().ready, within_s=30)
        seen = len(load.acknowledged)
        await asyncio.sleep(1)
        assert len(load.acknowledged) == seen, "a leader alone acknowledges nothing"
    finally:
        for node in others:
            node.resume()
    await until(lambda: len(load.acknowledged) > seen + 20, within_s=40)
    await load.stop()
    await ready(publisher)
    await check(load, cluster, topic)


@pytest.mark.system  # most of a minute
@pytest.mark.timeout(180)
async def test_a_rolling_restart_of_all_nodes_loses_nothing(
    cluster: list[KafkaServer], start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(cluster[0].bootstrap, topic, replication=3, partitions=3)
    load = Load(publisher, topic)
    await until(lambda: len(load.acknowledged) > 20, within_s=15)
    for node in cluster:
        await asyncio.to_thread(node.stop)
        await asyncio.to_thread(node.start)
        other = next(one for one in cluster if one is not node)
        async with KafkaOperator(other.operator) as operator:
            async with asyncio.timeout(40):
                while len(await operator.in_sync(topic)) < 3:
                    await asyncio.sleep(0.1)
    await load.stop()
    await publish_until_taken(publisher, record(topic, b"key-0:1000000", key="key-0"))
    await check(load, cluster, topic)


async def test_a_bootstrap_server_that_is_down_is_passed_over(
    cluster: list[KafkaServer], start_kafka: StartKafka, topic: str
) -> None:
    down = cluster[0]
    knows_one = await start_kafka(down.bootstrap, topic, replication=2)
    await asyncio.to_thread(down.kill)
    publisher = await start_kafka("", topic, servers=tuple(node.bootstrap for node in cluster), wait=False)
    await ready(publisher)
    await publisher.publish(record(topic, b"1"))
    unreachable = await start_kafka(down.bootstrap, topic, wait=False)
    await reasons(unreachable, "nobody listens")
    knows_one._outbox.link.end("for this test")
    await publish_until_taken(knows_one, record(topic, b"by the brokers that the first one told of"))
