"""One link: a producer and its connections. It ends, or spoils, once, and is replaced.

Ended: nothing goes over it any more. Spoiled: one partition takes nothing more over it, since a batch that failed for
good leaves a gap in the sequence numbers and every later batch is refused (K3); the others go on until the next link
is up.

Not here: what happens to records (`outbox`, `lane`), and who makes the next link (`supervisor`).
"""

import asyncio
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder

from bridge.publishers.kafka.client import Producer

__all__ = ["Link"]


class Link:
    """A started producer.

    Attributes:
        producer: the library's.
        ended, spoiled: get the reason.
        disturbed: set when a connection broke: worth a look.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        """Not yet open: `producer.start_with` does it."""
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = loop.create_future()
        self.spoiled: asyncio.Future[str] = loop.create_future()
        self.disturbed = asyncio.Event()
        self.producer = Producer(
            on_disconnect=self.disturbed.set,
            on_death=lambda: self.end("the producer's sender has ended"),
            **options,
        )

    def end(self, reason: str) -> None:
        """It is of no more use. May come several times."""
        if not self.ended.done():
            self.ended.set_result(reason)

    def spoil(self, reason: str) -> None:
        """It should be replaced. May come several times."""
        if not self.spoiled.done():
            self.spoiled.set_result(reason)

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0: it is not known."""
        return len(self.producer.client.cluster.partitions_for_topic(topic) or ())

    async def track(self, topics: list[str]) -> None:
        """Let the producer know these topics and their leaders, so that no record waits for that (K7).

        Raises:
            TimeoutError: the brokers did not answer in time.
        """
        if not topics:
            return  # to the library none means all that the cluster has
        client = self.producer.client
        client.set_topics(topics)
        async with asyncio.timeout(2):
            await client.force_metadata_update()

    def new_batch(self) -> BatchBuilder:
        """An empty batch."""
        return self.producer.create_batch()

    async def send(self, batch: BatchBuilder, topic: str, partition: int) -> None:
        """Return when the brokers have the batch at full strength.

        Raises:
            KafkaError: they never will, or the topic is gone. Cancelling does not stop a batch that is on its way.
        """
        await (await self.producer.send_batch(batch, topic, partition=partition))

    async def close(self) -> None:
        """Drop it at once."""
        self.end("closed")
        await self.producer.abandon()
