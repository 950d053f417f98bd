"""Topics: made, looked at, missing, deleted, and what is risky about them. K7 and K12 of the library's pitfalls."""

import asyncio
import time
from pathlib import Path

import pytest

from bridge.errors import BrokerUnavailable
from bridge.publishers.kafka import KafkaSettings, Topic
from bridge.publishers.kafka.topics import Inspection, TopicConfig, TopicState
from bridge.publishers.kafka.weakness import weaknesses
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator
from tests.publishers.conftest import reasons
from tests.publishers.contract import publish_until_taken, ready, record, until
from tests.publishers.kafka_fixtures import StartKafka, kafka, start_kafka, topic, values_in

__all__ = ["kafka", "start_kafka", "topic"]


# ---- provisioning


async def test_create_makes_topics_as_it_is_told(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, partitions=4, replication=1, retention_s=86_400)
    await publisher.publish(record(topic, b"1"))
    async with KafkaOperator(kafka.operator) as operator:
        config = await operator.topic_config(topic)
        (described,) = await operator._admin.describe_topics([topic])
    assert len(described["partitions"]) == 4
    assert (config["retention.ms"], config["cleanup.policy"]) == ("86400000", "delete")


async def test_create_keeps_credentials_for_minutes(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    await start_kafka(kafka.bootstrap, topics=(Topic(topic, sensitive=True),))
    async with KafkaOperator(kafka.operator) as operator:
        config = await operator.topic_config(topic)
    assert (config["retention.ms"], config["segment.ms"]) == ("600000", "600000")


async def test_create_changes_nothing_about_topics_that_are_there(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(topic, partitions=2, config={"retention.ms": "123456789"})
        await start_kafka(kafka.bootstrap, topic, partitions=5, retention_s=60)
        assert (await operator.topic_config(topic))["retention.ms"] == "123456789"
        (described,) = await operator._admin.describe_topics([topic])
    assert len(described["partitions"]) == 2


async def test_two_bridges_that_make_the_same_topics_at_once_both_become_ready(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    starting = [start_kafka(kafka.bootstrap, topic, f"{topic}.b", f"{topic}.c") for _ in range(4)]
    for publisher in await asyncio.gather(*starting):
        await publisher.publish(record(topic, b"1"))


async def test_what_the_broker_says_no_to_is_a_reason_with_the_variable(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    """The admin client returns error codes and raises nothing."""
    publisher = await start_kafka(kafka.bootstrap, topic, replication=3, wait=False)
    assert "BRIDGE_KAFKA_REPLICATION=3" in await reasons(publisher, "cannot be created")
    with pytest.raises(BrokerUnavailable, match="cannot be created"):
        async with asyncio.timeout(1):
            await publisher.publish(record(topic, b"1"))


async def test_check_names_what_is_missing_and_becomes_ready_when_it_is_made(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, provision="check", wait=False)
    assert "BRIDGE_PROVISION=create" in await reasons(publisher, topic)
    async with KafkaOperator(kafka.operator) as operator:
        assert topic not in await operator.topics()
        await operator.create_topic(topic)
    await ready(publisher)
    await publisher.publish(record(topic, b"1"))


async def test_off_judges_nothing_and_still_fails_fast(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, provision="off")
    with pytest.raises(BrokerUnavailable, match="missing"):
        async with asyncio.timeout(1):
            await publisher.publish(record(topic, b"1"))


async def test_a_dry_run_tells_and_makes_nothing(kafka: KafkaServer, start_kafka: StartKafka, topic: str) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic, dry_run=True)
    health = publisher.health()
    assert health.looked
    assert topic in " ".join(health.plans)
    refused = await start_kafka(kafka.bootstrap, topic, dry_run=True, replication=3, wait=False)
    assert "BRIDGE_KAFKA_REPLICATION" in await reasons(refused, "cannot be created")
    async with KafkaOperator(kafka.operator) as operator:
        assert topic not in await operator.topics()


# ---- K7: an unknown topic blocks, a deleted one returns


async def test_k7_a_topic_that_is_not_there_is_told_at_once_and_harms_no_other(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    publisher = await start_kafka(kafka.bootstrap, topic)
    other = f"{topic}.nobody.made"
    began = time.monotonic()
    outcomes = await asyncio.gather(
        *(publisher.publish(record(other, b"%d" % number)) for number in range(20)),
        *(publisher.publish(record(topic, b"%d" % number)) for number in range(20)),
        return_exceptions=True,
    )
    assert time.monotonic() - began < 2
    assert {type(outcome) for outcome in outcomes[:20]} == {BrokerUnavailable}
    assert outcomes[20:] == [None] * 20
    with pytest.raises(BrokerUnavailable, match="missing"):
        async with asyncio.timeout(0.1):
            await publisher.publish(record(other, b"again"))
    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(other)
    await publish_until_taken(publisher, record(other, b"now"))


async def test_k7_a_topic_deleted_under_load_is_seen_in_time_and_used_again_when_it_is_back(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    other = f"{topic}.other"
    publisher = await start_kafka(kafka.bootstrap, topic, other, provision="check", wait=False)
    slowest, failed = 0.0, 0

    async def load(name: str) -> None:
        nonlocal slowest, failed
        number = 0
        while True:
            began = time.monotonic()
            try:
                await publisher.publish(record(name, b"%d" % number))
            except BrokerUnavailable:
                assert name == topic, "the other topic does not notice"
                failed += 1
            slowest = max(slowest, time.monotonic() - began)
            number += 1
            await asyncio.sleep(0.005)

    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(topic)
        await operator.create_topic(other)
        await ready(publisher)
        loads = [asyncio.ensure_future(load(name)) for name in (topic, other)]
        await until(lambda: loads[0].done() or slowest, within_s=5)
        await operator.delete_topics(topic)
        await reasons(publisher, topic)
        await operator.create_topic(topic)
        await ready(publisher)
        await publish_until_taken(publisher, record(topic, b"back"))
    for task in loads:
        task.cancel()
    outcomes = await asyncio.gather(*loads, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}, outcomes
    assert failed
    assert slowest < 3.0  # the deadline of a source
    assert b"back" in await values_in(kafka, topic)


async def test_k7_a_broker_that_makes_topics_by_itself_gets_none_from_looking(
    tmp_path: Path, start_kafka: StartKafka, topic: str
) -> None:
    with KafkaServer(tmp_path / "kafka", "auto.create.topics.enable=true") as willing:
        publisher = await start_kafka(willing.bootstrap, topic, provision="check", wait=False)
        await reasons(publisher, topic)
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(record(topic, b"1"))
        assert "auto.create.topics.enable=false" in " ".join(publisher.health().warnings)
        async with KafkaOperator(willing.operator) as operator:
            assert topic not in await operator.topics()


# ---- K12


async def test_k12_partitions_that_were_added_are_used_and_told(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(
        "bridge.telemetry.broker_facts.partitions_changed",
        lambda topic, *, before, now: told.append((topic, before, now)),
    )
    publisher = await start_kafka(kafka.bootstrap, topic, partitions=1)
    keys = [f"device-{number}" for number in range(20)]
    for key in keys:
        await publisher.publish(record(topic, b"before", key=key))
    async with KafkaOperator(kafka.operator) as operator:
        await operator.add_partitions(topic, 4)
    publisher._supervisor.look_soon()
    await until(lambda: len(publisher._outbox._topics[topic]) == 4, within_s=8)
    for key in keys:
        await publisher.publish(record(topic, b"after", key=key))
    assert told == [(topic, 1, 4)]
    assert (await values_in(kafka, topic)).count(b"after") == 20


# ---- what is risky


def config(**values: object) -> TopicConfig:
    usual = {
        "min_insync": 2,
        "max_message_bytes": 1_048_588,
        "retention_s": 604_800.0,
        "cleanup_policy": "delete",
        "unclean_election": False,
    }
    return TopicConfig(**{**usual, **values})  # type: ignore[arg-type]


def state(**values: object) -> TopicState:
    usual = {"name": "t", "partitions": 3, "replication": 3, "in_sync": 3, "config": config()}
    return TopicState(**{**usual, **values})  # type: ignore[arg-type]


SETTINGS = KafkaSettings(servers=("a:9092",), max_record_bytes=528_384)


def test_a_safe_topic_has_no_weakness() -> None:
    assert weaknesses(SETTINGS, Inspection((state(),), auto_create=False)) == ()


@pytest.mark.parametrize(
    ("found", "text", "durability"),
    [
        (state(replication=1, in_sync=1), "use replication 3", True),
        (state(replication=2, config=config(min_insync=1)), "use replication 3", False),
        (state(config=config(min_insync=1)), "min.insync.replicas is 1", True),
        (state(config=config(min_insync=3)), "set one less", False),
        (state(config=config(unclean_election=True)), "unclean.leader.election.enable=false", True),
        (state(config=config(cleanup_policy="compact,delete")), "cleanup.policy=delete", True),
        (state(config=config(retention_s=3600.0)), "raise retention.ms", True),
        (state(config=config(max_message_bytes=500_000)), "MAX_BODY_BYTES", False),
        (state(sensitive=True), "lower retention.ms", False),
        (state(config=None), "DescribeConfigs", False),
    ],
)
def test_each_weak_setting_is_named_with_its_remedy(found: TopicState, text: str, durability: bool) -> None:
    weak = weaknesses(SETTINGS, Inspection((found, state(name="safe"))))
    (named,) = [weakness for weakness in weak if text in weakness.text]
    assert named.durability is durability
    assert "safe" not in named.text


async def test_weak_topics_are_told_and_with_require_durable_not_ready(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    tolerant = await start_kafka(kafka.bootstrap, topic)
    assert "one copy" in " ".join(tolerant.health().warnings)
    strict = await start_kafka(kafka.bootstrap, topic, require_durable=True, wait=False)
    assert "one copy" in await reasons(strict, "BRIDGE_REQUIRE_DURABLE")


async def test_a_limit_below_the_largest_record_is_warned_of(
    kafka: KafkaServer, start_kafka: StartKafka, topic: str
) -> None:
    async with KafkaOperator(kafka.operator) as operator:
        await operator.create_topic(topic, config={"max.message.bytes": "5000"})
    publisher = await start_kafka(kafka.bootstrap, topic, max_record_bytes=528_384)
    assert "max.message.bytes" in " ".join(publisher.health().warnings)
    assert publisher.health().details["max_record_bytes"] == 5000
