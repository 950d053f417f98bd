"""Clients that dawdle: sockets that say nothing, or a request byte by byte. Seen off, they come again."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

__all__ = ["MANNERS", "Crowd"]

_PAUSE_S = 0.6  # between two bytes
MANNERS = ("silent", "header", "body", "chunks", "trailer")


class Crowd:
    """Dawdlers at one bridge.

    Attributes:
        endings: how often which manner got which status in the end; an empty one: it was closed without a word.
        slowest_s: the longest that one of them was let be.
    """

    def __init__(self, url: str) -> None:
        """Nobody is there yet.

        Args:
            url: of a webhook, with its token: proof enough to have the body waited for.
        """
        parts = urlsplit(url)
        self.endings: Counter[tuple[str, bytes]] = Counter()
        self.slowest_s = 0.0
        self._at = parts.hostname, parts.port
        head = f"POST {parts.path} HTTP/1.1\r\nhost: x\r\n".encode()
        chunked = head + b"transfer-encoding: chunked\r\n\r\n"
        self._first = {
            "silent": (b"", b""),
            "header": (head, b"a"),
            "body": (head + b"content-length: 500\r\n\r\n{", b"a"),
            "chunks": (chunked, b"1\r\na\r\n"),
            "trailer": (chunked + b"2\r\n{}\r\n0\r\n", b"a"),
        }

    @contextlib.asynccontextmanager
    async def of(self, count: int, *, within_s: float) -> AsyncIterator[None]:
        """While they are there, or on their way: not all of them come in the same moment."""
        everybody = [
            asyncio.create_task(self._dawdle(MANNERS[number % len(MANNERS)], within_s * number / count))
            for number in range(count)
        ]
        try:
            yield
        finally:
            for one in everybody:
                one.cancel()
            await asyncio.gather(*everybody, return_exceptions=True)

    async def seen_off(self, count: int) -> None:
        """Return when so many were."""
        while sum(self.endings.values()) < count:
            await asyncio.sleep(0.05)

    async def _dawdle(self, manner: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        while True:
            reader, writer = await asyncio.open_connection(*self._at)
            came = time.monotonic()
            try:
                ended = await self._trickle(reader, writer, manner)
            finally:
                writer.transport.abort()
            self.endings[manner, ended] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - came)

    async def _trickle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, manner: str) -> bytes:
        """The status that it gets in the end."""
        first, piece = self._first[manner]
        writer.write(first)
        answer = asyncio.ensure_future(reader.read(100))
        try:
            while not (await asyncio.wait([answer], timeout=_PAUSE_S))[0]:
                writer.write(piece)
            return answer.result()[9:12]
        except ConnectionError:
            return b"reset"
        finally:
            answer.cancel()
