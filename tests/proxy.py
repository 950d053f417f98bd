"""A TCP proxy that misbehaves on demand: the faults of networks, without root and without tools.

One listener on 127.0.0.1, one target. Everything flows until told otherwise.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

_CHUNK_BYTES = 65_536

Edit = Callable[[bytes], bytes]


class Flow:
    """One direction.

    Attributes:
        edit: applied to each chunk; what it returns goes on. None: unchanged.
        seen_bytes: how much came, whatever became of it.
    """

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.edit: Edit | None = None
        self.delay_s = 0.0
        self.seen_bytes = 0

    def hold(self) -> None:
        """From now on nothing passes, and nothing is lost: a black hole, until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let pass what was held."""
        self._open.set()

    def swallow(self) -> None:
        """From now on everything is taken and thrown away."""
        self.edit = lambda _chunk: b""

    async def carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(_CHUNK_BYTES):
            self.seen_bytes += len(chunk)
            await self._open.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.edit is not None:
                chunk = self.edit(chunk)
            sink.write(chunk)
            await sink.drain()


class Proxy:
    """`async with Proxy(port) as proxy:` connects `proxy.port` to the target's port on 127.0.0.1.

    Attributes:
        port: where it listens.
        up, down: the directions, client to server and back.
        connections: how many were accepted so far.
    """

    def __init__(self, target_port: int, port: int = 0) -> None:
        """Not listening yet.

        Args:
            target_port: where everything goes.
            port: where to listen; 0 for any.
        """
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = port
        self.up = Flow()
        self.down = Flow()
        self.connections = 0
        self.instead: bytes | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def blackhole(self) -> None:
        """Nothing passes in either direction; connections stay up, and new ones are accepted."""
        self.up.hold()
        self.down.hold()

    def heal(self) -> None:
        """The end of `blackhole`."""
        self.up.release()
        self.down.release()

    def reset(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def say(self, data: bytes) -> None:
        """Send this to all clients, as if the server had."""
        for writer in self._writers:
            if writer.get_extra_info("sockname")[1] == self.port:
                writer.write(data)

    def answer_instead(self, data: bytes) -> None:
        """New connections get this from us, and nothing from the target."""
        self.instead = data

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                if self.instead is not None:
                    writer.write(self.instead)
                    while await reader.read(_CHUNK_BYTES):
                        pass
                    return
                await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers.add(server_writer)
        flows = [
            asyncio.ensure_future(self.up.carry(reader, server_writer)),
            asyncio.ensure_future(self.down.carry(server_reader, writer)),
        ]
        try:
            await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for flow in flows:
                flow.cancel()
            await asyncio.gather(*flows, return_exceptions=True)
            server_writer.transport.abort()
            self._writers.discard(server_writer)
