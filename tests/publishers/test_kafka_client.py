"""What the publisher takes from the library, pinned: K1, and the private names that `client` uses."""

from typing import Any

import aiokafka
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender

from bridge.publishers.kafka.client import Consumer, Producer
from bridge.publishers.kafka.dialer import client_options
from bridge.publishers.kafka.link import Link
from bridge.publishers.kafka.settings import KafkaSettings


async def closed(link: Link) -> None:
    await link.close()


async def test_k1_every_producer_asks_for_all_replicas_and_is_idempotent() -> None:
    link = Link(client_options(KafkaSettings(servers=("a:9092",)), None))
    assert link.producer._sender._acks == -1
    assert link.producer._txn_manager is not None
    await closed(link)


@pytest.mark.parametrize("weaker", [{"acks": 1}, {"enable_idempotence": False}])
async def test_k1_nothing_can_make_it_less(weaker: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="multiple values"):
        Producer(on_disconnect=lambda: None, on_death=lambda: None, **weaker)


def test_the_library_is_the_minor_that_was_read() -> None:
    assert aiokafka.__version__.startswith("0.14.")


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (Sender, ("_send_produce_req", "sender_task", "start")),
        (
            AIOKafkaClient,
            ("_on_connection_closed", "_md_synchronizer", "bootstrap", "force_metadata_update", "set_topics"),
        ),
        (AIOKafkaConnection, ("connected", "close")),
        (MessageAccumulator, ("drain_by_nodes", "add_batch")),
    ],
)
def test_private_names_that_are_used_are_there(owner: type, names: tuple[str, ...]) -> None:
    for name in names:
        assert hasattr(owner, name), f"{owner.__name__}.{name}"


async def test_private_attributes_that_are_used_are_there() -> None:
    link = Link(client_options(KafkaSettings(servers=("a:9092",)), None))
    connection = AIOKafkaConnection("a", 9092)
    consumer = Consumer()
    for owner, names in {
        link.producer: ("_sender", "_closed", "_txn_manager"),
        link.producer.client: ("_conns", "_sync_task"),
        connection: ("_writer", "_on_close_cb"),
        consumer: ("_client", "_fetcher", "_coordinator", "_closed"),
    }.items():
        assert not [name for name in names if not hasattr(owner, name)]
    await consumer.abandon()
    await closed(link)
