"""What an operator does at a Kafka, and what another service reads from it: aiokafka alone, nothing of the bridge."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from aiokafka.protocol.api import Request
from aiokafka.structs import ConsumerRecord

from tests.canary.watch import WATCH
from tests.kafka_protocol import AlterScramRequest, IncrementalAlterConfigsRequest

__all__ = ["KafkaOperator", "stored_in_kafka"]

_SCRAM = {"SCRAM-SHA-256": (1, "sha256"), "SCRAM-SHA-512": (2, "sha512")}
_ITERATIONS = 4096  # the least that Kafka takes
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional_id": 5}
_OPERATIONS = {
    "all": 2,
    "read": 3,
    "write": 4,
    "create": 5,
    "describe": 8,
    "describe_configs": 10,
    "idempotent_write": 12,
}
_LITERAL, _PREFIXED = 3, 4
_ALLOW = 3
_PATIENCE_S = 15.0


class KafkaOperator:
    """Somebody who may do all: `async with KafkaOperator(server.operator) as operator`.

    Every call looks at the error codes in the answer, and returns when clients see the change.
    """

    def __init__(self, bootstrap: str, **options: Any) -> None:
        """Not connected yet.

        Args:
            bootstrap: `host:port`, several separated by commas.
            options: further ones of AIOKafkaAdminClient.
        """
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000, **options)

    async def __aenter__(self) -> Self:
        await self._admin.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._admin.close()

    async def topics(self) -> set[str]:
        """Those that exist."""
        return set(await _patiently(self._admin.list_topics))

    async def create_topic(
        self, name: str, *, partitions: int = 1, replicas: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create it, and wait until each partition has a leader."""
        answer = await self._admin.create_topics([NewTopic(name, partitions, replicas, topic_configs=config)])
        _check((code, text) for _topic, code, text in answer.topic_errors)
        await self._settled(name, partitions)

    async def delete_topics(self, *names: str) -> None:
        """Delete them, and wait until they are gone."""
        answer = await self._admin.delete_topics(list(names))
        _check((code, topic) for topic, code in answer.topic_error_codes)
        async with asyncio.timeout(_PATIENCE_S):
            while await self.topics() & set(names):
                await asyncio.sleep(0.02)

    async def add_partitions(self, name: str, total: int) -> None:
        """Have so many partitions in all."""
        await self._admin.create_partitions({name: NewPartitions(total)})
        await self._settled(name, total)

    async def alter_topic(self, name: str, config: Mapping[str, str]) -> None:
        """Set these, leave the others."""
        answer = await self._ask(IncrementalAlterConfigsRequest(ConfigResourceType.TOPIC, name, config))
        _check((code, text) for code, text, _type, _name in answer.responses)
        async with asyncio.timeout(_PATIENCE_S):
            while not config.items() <= (await self.topic_config(name)).items():
                await asyncio.sleep(0.02)

    async def topic_config(self, name: str) -> dict[str, str]:
        """All settings of a topic, defaults too."""
        return await self._config(ConfigResourceType.TOPIC, name)

    async def broker_config(self, node: int) -> dict[str, str]:
        """All settings of a node, defaults too."""
        return await self._config(ConfigResourceType.BROKER, str(node))

    async def _config(self, kind: ConfigResourceType, name: str) -> dict[str, str]:
        (answer,) = await _patiently(self._admin.describe_configs, [ConfigResource(kind, name)])
        ((code, text, _type, _name, entries),) = answer.resources
        _check([(code, text)])
        return {entry[0]: entry[1] for entry in entries}

    async def leader(self, name: str, partition: int = 0) -> int:
        """The id of the node that leads a partition; -1 where none does."""
        topic = await self._topic(name)
        return next(int(found["leader"]) for found in topic["partitions"] if found["partition"] == partition)

    async def in_sync(self, name: str, partition: int = 0) -> set[int]:
        """The nodes whose replica of a partition is in sync."""
        topic = await self._topic(name)
        return next(set(found["isr"]) for found in topic["partitions"] if found["partition"] == partition)

    async def set_password(self, user: str, password: str, mechanism: str = "SCRAM-SHA-256") -> None:
        """Create a SCRAM user, or rotate the password."""
        code, digest = _SCRAM[mechanism]
        salt = secrets.token_bytes(16)
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, _ITERATIONS)
        answer = await self._ask(AlterScramRequest(upsertions=[(user, code, _ITERATIONS, salt, salted, {})]))
        _check((code, text) for _user, code, text, _tags in answer.results)

    async def drop_password(self, user: str, mechanism: str = "SCRAM-SHA-256") -> None:
        """No logins by it any more."""
        answer = await self._ask(AlterScramRequest(deletions=[(user, _SCRAM[mechanism][0], {})]))
        _check((code, text) for _user, code, text, _tags in answer.results)

    async def allow(self, user: str, *operations: str, name: str, resource: str = "topic") -> None:
        """Create ACLs: `allow("bridge", "write", "describe", name="events.*")`; a name may end in `*`."""
        for operation in operations:
            answer = await self._ask(CreateAclsRequest(*_acl(user, operation, name, resource)))
            _check(answer.creation_responses)
            await self._acl_settled(_acl(user, operation, name, resource), there=True)

    async def forbid(self, user: str, *operations: str, name: str, resource: str = "topic") -> None:
        """Delete what `allow` created."""
        for operation in operations:
            answer = await self._ask(DeleteAclsRequest(*_acl(user, operation, name, resource)))
            _check((code, text) for code, text, _acls in answer.filter_responses)
            assert all(acls for _code, _text, acls in answer.filter_responses), "there was no such ACL"
            await self._acl_settled(_acl(user, operation, name, resource), there=False)

    async def _ask(self, request: Request[Any]) -> Any:
        return await _patiently(self._admin._send_to_controller, request)

    async def _acl_settled(self, acl: tuple[int, str, int, str, str, int, int], *, there: bool) -> None:
        """The controller has it at once; the broker, which lets clients in and answers this, a moment later."""
        async with asyncio.timeout(_PATIENCE_S):
            while bool((await self._ask(DescribeAclsRequest(*acl))).resources) != there:
                await asyncio.sleep(0.02)

    async def _topic(self, name: str) -> dict[str, Any]:
        (topic,) = await _patiently(self._admin.describe_topics, [name])
        return topic

    async def _settled(self, name: str, partitions: int) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                topic = await self._topic(name)
                if len(topic["partitions"]) == partitions and all(one["leader"] >= 0 for one in topic["partitions"]):
                    return
                await asyncio.sleep(0.02)


async def _patiently(call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """The admin client asks any node that it knows, one that is down too."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                return await call(*arguments)
            except (KafkaConnectionError, NodeNotReadyError):
                await asyncio.sleep(0.05)


def _acl(user: str, operation: str, name: str, resource: str) -> tuple[int, str, int, str, str, int, int]:
    pattern = _PREFIXED if name.endswith("*") and name != "*" else _LITERAL  # "*" alone is literally all
    return (
        _RESOURCES[resource],
        name if name == "*" else name.removesuffix("*"),
        pattern,
        f"User:{user}",
        "*",
        _OPERATIONS[operation],
        _ALLOW,
    )


def _check(results: Any) -> None:
    """The admin client returns errors in its answers, it does not raise them."""
    for code, text in results:
        if code:
            raise for_code(code)(text)


async def stored_in_kafka(bootstrap: str, topic: str, **options: Any) -> list[ConsumerRecord]:
    """All records of a topic, partition by partition in order of offset, read by a plain consumer.

    Args:
        bootstrap: `host:port` of the broker.
        topic: its name.
        options: further ones of AIOKafkaConsumer.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", **options)
    await consumer.start()
    try:
        numbers = (await _metadata(consumer)).partitions_for_topic(topic)
        assert numbers, f"there is no topic {topic}"
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        records: list[ConsumerRecord] = []
        ends = await consumer.end_offsets(partitions)
        async with asyncio.timeout(_PATIENCE_S):
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    records += batch
        for record in records:
            WATCH.look("a record", topic, record.key or b"", str(record.headers), record.value or b"")
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


async def _metadata(consumer: AIOKafkaConsumer) -> Any:
    """Asked again where a broker that has just come back does not answer yet."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                return await consumer._client.fetch_all_metadata()
            except KafkaError:
                await asyncio.sleep(0.1)
