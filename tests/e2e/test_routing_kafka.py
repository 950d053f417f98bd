"""Routing as the broker sees it: what a whole bridge in this process puts on the wire of a real Kafka."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from bridge.events.reading import read_event
from tests.conftest import KafkaSpace
from tests.e2e.in_process import HOSTILE_POSTS, WORST, BridgeThread, Hostile, message, post, serving, settings_of
from tests.kafka import KafkaAddress
from tests.kafka_operator import KafkaOperator, stored_in_kafka

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


async def ids(space: KafkaSpace, name: str) -> list[str]:
    """Of the events on a topic, in order."""
    return [json.loads(record.value)["id"] for record in await stored_in_kafka(space.bootstrap, space.topic(name))]


def headers(record: ConsumerRecord) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


async def test_each_topic_of_a_rule_gets_its_copy_with_its_key(kafka_space: KafkaSpace, tmp_path: Path) -> None:
    rules = f"shop:message.* -> {kafka_space.topic('a')}, {kafka_space.topic('b')} key={{contact}}; shop:call -> drop"
    async with serving(settings_of(kafka_space, tmp_path, BRIDGE_ROUTES=rules)) as bridge:
        answer = await post(bridge, "shop", message())
        assert (await post(bridge, "shop", message(event="call"))).status_code == 200
    for name in ("a", "b"):
        (record,) = await stored_in_kafka(kafka_space.bootstrap, kafka_space.topic(name))
        event = json.loads(record.value)
        assert [event["id"]] == answer.json()["ids"]
        assert record.key.decode() == event["partitionkey"] == event["data"]["contact"]["id"]


async def test_the_topics_of_the_table_are_made_and_no_others(kafka_space: KafkaSpace, tmp_path: Path) -> None:
    rules = f"shop:* -> {kafka_space.topic('all')}; hub:push -> {kafka_space.prefix}.{{source}}.{{type}}; "
    rules += f"hub:ci.* -> {kafka_space.topic('ci')}"
    async with serving(settings_of(kafka_space, tmp_path, BRIDGE_ROUTES=rules)) as bridge:
        for name in ("push", "ci.build", "never.declared", "ping"):
            assert (await post(bridge, "hub", {"type": name})).status_code == 200
    async with KafkaOperator(kafka_space.bootstrap) as operator:
        made = {topic for topic in await operator.topics() if topic.startswith(kafka_space.prefix)}
    names = ("shop.connection.auth", "all", "ci", "hub.push", "hub.ping", "hub.unknown")
    assert made == {kafka_space.topic(name) for name in (*names, "dead-letter")}
    assert [len(await ids(kafka_space, name)) for name in names] == [0, 0, 1, 1, 1, 1]


async def test_a_retry_after_a_partial_success_publishes_only_what_is_missing(
    kafka_space: KafkaSpace, tmp_path: Path
) -> None:
    topics = [kafka_space.topic(name) for name in ("a", "b", "c")]
    env = settings_of(kafka_space, tmp_path, BRIDGE_ROUTES=f"shop:message.* -> {', '.join(topics)}")
    env["BRIDGE_DEAD_LETTER_TOPIC"] = ""
    async with serving(env) as bridge, KafkaOperator(kafka_space.bootstrap) as operator:
        await operator.alter_topic(topics[1], {"max.message.bytes": "100"})
        assert (await post(bridge, "shop", message())).status_code == 413
        first = {name: await ids(kafka_space, name) for name in ("a", "b", "c")}
        assert [len(found) for found in first.values()] == [1, 0, 1]
        await operator.alter_topic(topics[1], {"max.message.bytes": "1048588"})
        async with asyncio.timeout(20):
            while (await post(bridge, "shop", message())).status_code != 200:
                await asyncio.sleep(0.2)
        assert (await post(bridge, "shop", message())).status_code == 200
    assert [await ids(kafka_space, name) for name in ("a", "b", "c")] == [first["a"]] * 3


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_the_official_sdk_reads_what_is_on_kafka(kafka_space: KafkaSpace, tmp_path: Path, mode: str) -> None:
    env = settings_of(kafka_space, tmp_path, BRIDGE_EVENT_FORMAT=mode, BRIDGE_SOURCES="shop=chatlevel")
    del env["BRIDGE_SOURCE_HUB_TOKEN"]
    async with serving(env) as bridge:
        answer = await post(bridge, "shop", message(), headers=TRACE)
    (record,) = await stored_in_kafka(kafka_space.bootstrap, kafka_space.topic("shop.message.received"))
    event = read_event(record.value, headers(record))
    assert [event["id"]] == answer.json()["ids"]
    assert event["traceparent"] == headers(record)["traceparent"] == TRACE["traceparent"]
    assert event["partitionkey"] == record.key.decode()
    if mode == "binary":
        assert json.loads(record.value) == event["data"]
        assert headers(record)["content-type"] == "application/json"
        read = from_kafka(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value), JSONFormat())
        assert {**read.get_attributes(), "time": event["time"]} == {
            name: value for name, value in event.items() if name != "data"
        }
        assert read.get_data() == event["data"]


ALLOWED = {"shop": {"shop.unknown", "shop.connection.auth"}, "hub": {"ci", "hub.unknown", "hub.ping"}}


class Wire(BridgeThread):
    """A bridge on topics of its own."""

    def __init__(self, space: KafkaSpace, data_dir: Path) -> None:
        self.space = space
        rules = f"hub:ci.* -> {space.topic('ci')}, {space.prefix}.deep.{{source}}.{{type}} key={{subject}}"
        super().__init__(settings_of(space, data_dir, BRIDGE_ROUTES=rules))

    def topics(self) -> set[str]:
        return self.run(self._topics())

    async def _topics(self) -> set[str]:
        async with KafkaOperator(self.space.bootstrap) as operator:
            return await operator.topics()

    def topics_by_id(self) -> dict[str, set[str]]:
        """Event id -> the topics it is on."""
        return self.run(self._by_id())

    async def _by_id(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name in ALLOWED["shop"] | ALLOWED["hub"]:
            for event_id in await ids(self.space, name):
                found.setdefault(event_id, set()).add(name)
        return found


@pytest.fixture(scope="module")
def wire(kafka_server: KafkaAddress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    space = KafkaSpace(kafka_server.bootstrap)
    with Wire(space, tmp_path_factory.mktemp("wire")) as running_wire:
        yield running_wire
    asyncio.run(_clean(space))


async def _clean(space: KafkaSpace) -> None:
    async with KafkaOperator(space.bootstrap) as operator:
        await operator.delete_topics(*(topic for topic in await operator.topics() if topic.startswith(space.prefix)))


# no shrinking: each example goes over the wire
@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(posts=st.lists(HOSTILE_POSTS, min_size=20, max_size=40))
@example(posts=[WORST])
def test_no_payload_header_or_token_makes_a_topic_outside_the_allowed(wire: Wire, posts: list[Hostile]) -> None:
    before = wire.topics()
    answers = wire.post_all(posts)
    assert {answer.status_code for answer in answers} <= {200, 400}
    assert wire.topics() == before
    found = wire.topics_by_id()
    for answer, sent in zip(answers, posts, strict=True):
        if answer.status_code == 200:
            assert found[answer.json()["ids"][0]] <= ALLOWED[sent.source]
