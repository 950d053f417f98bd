"""What our user may write to, as far as the brokers tell: for `check`, before the first record is refused.

By the authorized operations in the answer to a metadata request (KIP-430, Kafka 2.3), for which aiokafka's own versions
of that request are too old. Not part of the regular look: to work it out costs the brokers more.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

__all__ = ["Permissions", "examine"]

_MAY_WRITE = 1 << 4  # org.apache.kafka.common.acl.AclOperation.WRITE
_NOT_TOLD = -(2**31)
_NOT_SEEN = "whether our user may write to the topics cannot be seen on these brokers: the first record will tell"

Ask = Callable[..., Awaitable[Any]]


class Permissions(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        reasons: why records will be refused, with remedies.
        doubts: what could not be seen.
    """

    reasons: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class _Answer(Response):  # type: ignore[misc]  # the library has no types here
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String()), ("port", Int32), ("rack", String()))),
        ("cluster_id", String()),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _Question(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", Array(String())),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Request(Request[_Question]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[_Question]) -> _Question:
        return request_struct_class(self._topics, False, False, True)  # noqa: FBT003 -- the protocol's


async def examine(ask: Ask, topics: Sequence[str]) -> Permissions:
    """Ask what our user may do with these topics, which exist.

    Args:
        ask: `Producer.ask`.
        topics: their names.
    """
    if not topics:
        return Permissions()
    try:
        answer = (await ask(_Request(topics))).to_object()
    except (IncompatibleBrokerVersion, NotImplementedError, KafkaError, TimeoutError):
        return Permissions(doubts=(_NOT_SEEN,))
    operations = {topic["topic"]: topic["authorized_operations"] for topic in answer["topics"]}
    if any(bits == _NOT_TOLD for bits in operations.values()):
        return Permissions(doubts=(_NOT_SEEN,))
    denied = sorted(name for name, bits in operations.items() if not bits & _MAY_WRITE)
    if not denied:
        return Permissions()
    return Permissions(reasons=(f"our user may not write to {', '.join(denied)}: allow Write on them",))
