"""The library's producer and consumer with what they lack: they can be abandoned, and a producer tells of its losses.

Private names of the library are used here and nowhere else; its minor version is pinned, and a contract test fails
when one of them is gone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError

__all__ = ["Consumer", "Producer"]

# It logs each attempt of each retry, with hosts. What matters of it is told by `broker_facts`, once per change.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

_AGAIN_S = 0.02


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # the library is not typed
    """An idempotent producer with acks=all; nothing can make it less (K1: the library's defaults are weaker)."""

    def __init__(self, *, on_disconnect: Callable[[], None], on_death: Callable[[], None], **options: Any) -> None:  # noqa: ANN401 -- the library's
        """Not connected yet.

        Args:
            on_disconnect: a connection broke; others may be up.
            on_death: the task that sends has ended: nothing will be sent any more (K5).
            options: of the library, but for `acks` and `enable_idempotence`.
        """
        super().__init__(**options, acks="all", enable_idempotence=True)
        self._on_death = on_death
        self._requests: set[asyncio.Task[None]] = set()
        self._send_produce_req = self._sender._send_produce_req  # noqa: SLF001 -- see the module's docstring
        self._sender._send_produce_req = self._track  # noqa: SLF001
        self._told_of_close = self.client._on_connection_closed  # noqa: SLF001
        self._on_disconnect = on_disconnect
        self.client._on_connection_closed = self._connection_closed  # noqa: SLF001

    async def start_with(self, metadata: Any) -> None:  # noqa: ANN401 -- the library's
        """Start with what a first connection told of the cluster, and get a producer id.

        Not the library's `start`: its first connection stays open when it is cancelled.

        Raises:
            KafkaError: it did not work. It may also take for ever: the caller owns the deadline, and must `abandon`.
        """
        client = self.client
        _begin(client, metadata)
        # A broker that is not yet ready to give a producer id makes the library ask for metadata, and having no topics
        # means all that the cluster has. What we came with is as new as can be.
        client.force_metadata_update = _know_enough
        try:
            await self._sender.start()
        finally:
            del client.force_metadata_update
        self._sender.sender_task.add_done_callback(lambda _task: self._on_death())

    async def ask(self, request: Any, *, node: int | None = None, timeout_s: float = 1.0) -> Any:  # noqa: ANN401 -- the library's requests
        """One request outside the records' way, to one broker or to the first that answers.

        On connections of its own: a broker answers a connection's requests in turn, and a produce request may wait
        long for replicas.

        Raises:
            KafkaError: nobody answered.
            TimeoutError: the last one asked did not answer in time.
        """
        nodes = [node] if node is not None else [broker.nodeId for broker in self.client.cluster.brokers()]
        failure: Exception = KafkaConnectionError("no broker is known")
        for candidate in nodes:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self.client.send(candidate, request, group=ConnectionGroup.COORDINATION)
            except (KafkaError, OSError, TimeoutError) as error:
                failure = error
        raise failure

    async def abandon(self) -> None:
        """Let go of everything at once: batches, tasks, connections. Idempotent, works in any state.

        Not `stop()`: that waits for batches that are retried for ever (K2).
        """
        self._closed = True
        await _let_go(self.client, lambda: [self._sender.sender_task, *self._requests])

    async def _track(self, node_id: int, batches: dict[Any, Any]) -> None:
        """A produce request. The library forgets these tasks when its sender is cancelled."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- this is a coroutine
        self._requests.add(task)
        try:
            await self._send_produce_req(node_id, batches)
        finally:
            self._requests.discard(task)

    def _connection_closed(self, connection: AIOKafkaConnection, reason: object) -> None:
        self._told_of_close(connection, reason)
        if not self._closed:
            self._on_disconnect()


def _know_enough() -> asyncio.Future[bool]:
    known: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # which not every caller awaits
    known.set_result(True)
    return known


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # the library is not typed
    """A consumer without a group, so that there is nothing to tell the brokers when it ends."""

    async def start_with(self, metadata: Any) -> None:  # noqa: ANN401 -- the library's
        """Start with what a first connection told of the cluster: the library's own stays open when it is cancelled."""

        async def begin() -> None:
            _begin(self._client, metadata)

        self._client.bootstrap = begin
        await self.start()

    async def abandon(self) -> None:
        """Let go of everything at once: tasks, connections. Idempotent, works in any state.

        Not `stop()`: that waits without end for brokers that are gone, and ends half-way where a fetch has just failed,
        with connections open and a task that makes new ones.
        """
        self._closed = True
        if (fetcher := self._fetcher) is None:  # it was not started
            await _let_go(self._client, list)
            return
        own = (fetcher._fetch_task, self._coordinator._reset_committed_task)  # noqa: SLF001
        await _let_go(self._client, lambda: [*own, *fetcher._pending_tasks])  # noqa: SLF001


def _begin(client: AIOKafkaClient, metadata: Any) -> None:  # noqa: ANN401 -- the library's
    client.cluster.update_metadata(metadata)
    client._sync_task = asyncio.create_task(client._md_synchronizer())  # noqa: SLF001


async def _let_go(client: AIOKafkaClient, tasks: Callable[[], Sequence[asyncio.Task[Any] | None]]) -> None:
    """End these tasks and the client's own, and drop its connections."""
    # Again until all have ended: a request may have been handed over and not begun when we looked first.
    while pending := [task for task in (client._sync_task, *tasks()) if task is not None and not task.done()]:  # noqa: SLF001
        for task in pending:
            task.cancel()
        _drop_all(client)
        await asyncio.wait(pending, timeout=_AGAIN_S)
    _drop_all(client)  # one may have come up meanwhile
    client._conns.clear()  # noqa: SLF001
    await asyncio.sleep(0)  # the connections' reading tasks were cancelled, and end in the next turn of the loop


def _drop_all(client: AIOKafkaClient) -> None:
    for connection in list(client._conns.values()):  # noqa: SLF001
        _drop(connection)


def _drop(connection: AIOKafkaConnection) -> None:
    """Close without waiting for the peer to take what is unsent."""
    writer = connection._writer  # noqa: SLF001
    connection._on_close_cb = None  # noqa: SLF001
    with contextlib.suppress(Exception):
        connection.close()
    if writer is not None:
        writer.transport.abort()
