"""The Kafka of the tests itself: what could silently be wrong with it, so that other tests prove nothing."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, TopicAuthorizationFailedError

from tests.conftest import KafkaSpace
from tests.kafka import KafkaServer, kafka_cluster
from tests.kafka_operator import KafkaOperator, stored_in_kafka
from tests.kafka_security import Security, oauth_token, stranger_token
from tests.servers import started

pytestmark = pytest.mark.system  # of the tests' own broker; `make test` has seen it work in every other Kafka test

HEADERS = [("ce_id", b"1"), ("content-type", b"application/json")]


async def put(
    bootstrap: str, topic: str, *values: bytes, key: bytes = b"480213", within_s: float = 10.0, **options: Any
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", **options)
    async with asyncio.timeout(within_s):
        try:
            await producer.start()
            for value in values:
                await producer.send_and_wait(topic, value, key=key, headers=HEADERS)
        finally:
            await producer.stop()


async def values(bootstrap: str, topic: str, **options: Any) -> list[bytes]:
    return [record.value for record in await stored_in_kafka(bootstrap, topic, **options)]


async def test_what_is_stored_is_read_back_whole_and_in_order(kafka_space: KafkaSpace) -> None:
    topic = kafka_space.topic()
    async with KafkaOperator(kafka_space.bootstrap) as operator:
        await operator.create_topic(topic, partitions=3)
    for device in range(6):
        await put(kafka_space.bootstrap, topic, b"first", b"second", key=b"device-%d" % device)
    records = await stored_in_kafka(kafka_space.bootstrap, topic)
    assert len(records) == 12
    assert len({record.partition for record in records}) > 1
    assert [(record.partition, record.offset) for record in records] == sorted(
        (record.partition, record.offset) for record in records
    )
    for device in range(6):
        assert [record.value for record in records if record.key == b"device-%d" % device] == [b"first", b"second"]
    assert {record.headers for record in records} == {tuple(HEADERS)}


async def test_an_operator_sees_errors_and_changes(kafka_space: KafkaSpace) -> None:
    topic = kafka_space.topic()
    async with KafkaOperator(kafka_space.bootstrap) as operator:
        await operator.create_topic(topic, config={"retention.ms": "60000"})
        with pytest.raises(TopicAlreadyExistsError):
            await operator.create_topic(topic)
        await operator.alter_topic(topic, {"max.message.bytes": "2000", "min.insync.replicas": "1"})
        config = await operator.topic_config(topic)
        assert (config["max.message.bytes"], config["retention.ms"]) == ("2000", "60000")
        await operator.add_partitions(topic, 3)
        assert await operator.leader(topic, 2) >= 0
        await operator.delete_topics(topic)
        assert topic not in await operator.topics()


async def test_a_killed_broker_comes_back_with_what_it_acknowledged(tmp_path: Path) -> None:
    with KafkaServer(tmp_path) as server:
        async with KafkaOperator(server.operator) as operator:
            await operator.create_topic("a")
        await put(server.bootstrap, "a", b"1", b"2")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert await values(server.bootstrap, "a") == [b"1", b"2"]


async def test_three_nodes_go_on_without_the_leader(tmp_path: Path) -> None:
    nodes = kafka_cluster(tmp_path)
    with started(*nodes):
        every = ",".join(node.bootstrap for node in nodes)
        async with KafkaOperator(every) as operator:
            await operator.create_topic("a", replicas=3, config={"min.insync.replicas": "2"})
            leader = await operator.leader("a")
            await put(every, "a", b"1")
            await asyncio.to_thread(nodes[leader - 1].kill)
            await put(every, "a", b"2", within_s=30)
            assert await operator.leader("a") not in {leader, -1}
        assert await values(every, "a") == [b"1", b"2"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    security = Security(sasl=True, plain_users={"alice": "plain-secret"}, acls=True)
    with KafkaServer(tmp_path_factory.mktemp("guarded"), security=security) as server:
        yield server


@pytest.fixture
async def guard(guarded: KafkaServer) -> AsyncIterator[KafkaOperator]:
    async with KafkaOperator(guarded.operator) as operator:
        with contextlib.suppress(TopicAlreadyExistsError):
            await operator.create_topic("a")
        yield operator


def login(user: str, password: str, mechanism: str) -> dict[str, str]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


class Token(AbstractTokenProvider):
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


def bearer(token: str) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": Token(token),
    }


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_rotated_password_replaces_the_old_one(
    guarded: KafkaServer, guard: KafkaOperator, mechanism: str
) -> None:
    await guard.allow("bob", "write", "describe", name="a")
    for old, new in (("", "first"), ("first", "second")):
        await guard.set_password("bob", new, mechanism)
        await put(guarded.bootstrap, "a", b"1", **login("bob", new, mechanism))
        with pytest.raises(KafkaConnectionError):
            await put(guarded.bootstrap, "a", b"1", **login("bob", old, mechanism))
    await guard.drop_password("bob", mechanism)
    with pytest.raises(KafkaConnectionError):
        await put(guarded.bootstrap, "a", b"1", **login("bob", "second", mechanism))


async def test_a_wrong_plain_password_is_refused(guarded: KafkaServer, guard: KafkaOperator) -> None:
    await guard.allow("alice", "write", "describe", name="a")
    await put(guarded.bootstrap, "a", b"1", **login("alice", "plain-secret", "PLAIN"))
    with pytest.raises(KafkaConnectionError):
        await put(guarded.bootstrap, "a", b"1", **login("alice", "wrong", "PLAIN"))


async def test_only_a_token_that_is_signed_and_in_time_is_taken(guarded: KafkaServer, guard: KafkaOperator) -> None:
    await guard.allow("carol", "write", "describe", name="a")
    await put(guarded.bootstrap, "a", b"1", **bearer(oauth_token("carol")))
    bad = (oauth_token("carol", -300), stranger_token("carol"), oauth_token("carol", audience="other"))
    tries = (put(guarded.bootstrap, "a", b"bad token", within_s=2, **bearer(token)) for token in bad)
    for result in await asyncio.gather(*tries, return_exceptions=True):
        assert isinstance(result, KafkaConnectionError | TimeoutError)  # aiokafka may not notice that it was refused
    assert b"bad token" not in await values(guarded.operator, "a")


async def test_without_an_acl_nothing_is_written_and_a_lifted_one_counts_at_once(
    guarded: KafkaServer, guard: KafkaOperator
) -> None:
    options = login("dora", "secret", "SCRAM-SHA-256")
    await guard.set_password("dora", "secret")
    with pytest.raises(TopicAuthorizationFailedError):
        await put(guarded.bootstrap, "a", b"1", **options)
    await guard.allow("dora", "write", "describe", name="a")
    await put(guarded.bootstrap, "a", b"1", **options)
    await guard.forbid("dora", "write", "describe", name="a")
    with pytest.raises(TopicAuthorizationFailedError):
        await put(guarded.bootstrap, "a", b"1", **options)


async def test_mutual_tls_takes_the_client_by_its_certificate_name(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    paths = tuple(str(tmp_path / name) for name in ("ca.pem", "chain.pem", "key.pem"))
    authority.cert_pem.write_to_path(paths[0])
    issued.cert_chain_pems[0].write_to_path(paths[1])
    issued.private_key_pem.write_to_path(paths[2])
    security = Security(certificate=paths, client_certificates=True, acls=True)  # type: ignore[arg-type]
    with KafkaServer(tmp_path / "kafka", security=security) as server:
        async with KafkaOperator(server.operator) as operator:
            await operator.create_topic("a")
            await operator.allow("bridge", "write", "read", "describe", name="*")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        options: dict[str, Any] = {"security_protocol": "SSL", "ssl_context": context}
        with pytest.raises(KafkaConnectionError):
            await put(server.bootstrap, "a", b"1", **options)
        authority.issue_cert("client.test", common_name="bridge").configure_cert(context)
        await put(server.bootstrap, "a", b"1", **options)
        assert await values(server.bootstrap, "a", **options) == [b"1"]
