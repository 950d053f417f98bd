"""Chatlevel under load: posts events at a steady rate, tries each again by its plan, and keeps a log of all it did.

Its plan of 30 s, 1 min, 5 min and 1 h goes sixty times as fast; the hour is over when a row says so, for no row is to
last a minute. It sends the next event of a device without waiting for
retries of an earlier one, as the real one does. Each attempt is a connection of its own: what a client library's pool
takes at hundreds of requests under way would be measured as the bridge's.
"""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self
from urllib.parse import urlsplit

from tests.faults.history import CUT, REFUSED, Attempt, Delivery, Read
from tests.processes import WAIT_S

__all__ = ["Chatlevel", "event_read", "message"]

RETRIES_S = (0.5, 1.0, 5.0, 60.0)
_PATIENCE_S = 15.0  # the provider's own timeout; not stated by Chatlevel
_FINISH_S = 60.0
_UNAVAILABLE = 503
_FIRST_DEVICE = 480_001


class Chatlevel:
    """`async with Chatlevel(url) as provider:` posts until it is finished.

    Attributes:
        history: all events so far, in the order of their first attempts.
        acknowledged: how many were answered with success.
        refused: how many attempts were answered 503.
        under_way: how many attempts wait for their answer now.
    """

    def __init__(self, url: str, *, rate: float = 50, devices: int = 10, text_bytes: int = 0) -> None:
        """Nothing is sent yet.

        Args:
            url: of the webhook, with its token.
            rate: new events a second.
            devices: keys that take turns.
            text_bytes: what each message is filled up with.
        """
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n"
        self._rate = rate
        self._devices = devices
        self._filling = "x" * text_bytes
        self._tasks: set[asyncio.Task[None]] = set()
        self._load: asyncio.Task[None]
        self._stopped = asyncio.Event()
        self._an_hour_later = asyncio.Event()
        self._turns = asyncio.Lock()
        self._news = asyncio.Condition()
        self.history: list[Delivery] = []
        self.acknowledged = 0
        self.refused = 0
        self.under_way = 0
        self._settled = 0
        self._stood_still_s = 0.0

    async def __aenter__(self) -> Self:
        self._load = asyncio.create_task(self._post_steadily())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        tasks = {self._load, *self._tasks}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def attempts(self) -> list[Attempt]:
        """All that have ended."""
        return [attempt for delivery in self.history for attempt in delivery.attempts]

    def at_most(self, seconds: float) -> float:
        """A bar for times, moved by what this machine itself stood still: busy with others, it does so for seconds."""
        return seconds + 2 * self._stood_still_s

    async def more_sent(self, count: int, within_s: float = WAIT_S) -> None:
        """Return when so many more events than now were posted, whatever became of them."""
        wanted = len(self.history) + count
        await self._until(lambda: len(self.history) >= wanted, within_s)

    async def more_acknowledged(self, count: int, within_s: float = WAIT_S) -> None:
        """Return when so many more events than now were answered with success."""
        wanted = self.acknowledged + count
        await self._until(lambda: self.acknowledged >= wanted, within_s)

    async def more_refused(self, count: int, within_s: float = WAIT_S) -> None:
        """Return when so many more attempts than now were answered 503."""
        wanted = self.refused + count
        await self._until(lambda: self.refused >= wanted, within_s)

    async def more_answered(self, count: int, within_s: float = WAIT_S) -> None:
        """Return when so many more attempts than now were answered, one way or the other."""
        wanted = self.acknowledged + self.refused + count
        await self._until(lambda: self.acknowledged + self.refused >= wanted, within_s)

    async def finish(self) -> None:
        """Send nothing new and try the rest again; what waits for its last attempt has waited an hour now."""
        self._stopped.set()
        await self._load
        self._an_hour_later.set()
        await self._until(lambda: self._settled == len(self.history), _FINISH_S)

    async def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            counts = f"{len(self.history)} events, {self.acknowledged} acknowledged, {self.refused} attempts refused"
            raise AssertionError(f"not within {within_s:g} s; {counts}") from None

    async def _post_steadily(self) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            number = len(self.history)
            pause_s = began + number / self._rate - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
                self._stood_still_s = max(self._stood_still_s, time.monotonic() - began - number / self._rate)
            delivery = Delivery(
                id=f"3EB0{number:016X}",
                key=str(_FIRST_DEVICE + number % self._devices),
                counter=number // self._devices,
            )
            self.history.append(delivery)
            task = asyncio.create_task(self._deliver(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await self._tell()

    async def _deliver(self, delivery: Delivery) -> None:
        request = self._request(delivery)
        for pause_s in (0.0, *RETRIES_S):
            await self._wait(pause_s)
            self.under_way += 1
            attempt = await self._attempt(request)
            self.under_way -= 1
            delivery.attempts.append(attempt)
            self.acknowledged += attempt.succeeded
            self.refused += attempt.status == _UNAVAILABLE
            if attempt.succeeded:
                break
            await self._tell()
        else:
            delivery.given_up = True
        self._settled += 1
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _wait(self, pause_s: float) -> None:
        if pause_s < RETRIES_S[-1]:
            await asyncio.sleep(pause_s)
            return
        await self._an_hour_later.wait()
        async with self._turns:  # an hour later they would not come all at once
            await asyncio.sleep(1 / self._rate / 3)

    async def _attempt(self, request: bytes) -> Attempt:
        sent, status, code = time.monotonic(), REFUSED, ""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                status = CUT
                try:
                    writer.write(request)
                    answer = await reader.read()
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError):
            return Attempt(sent, time.monotonic(), status)
        head, _, body = answer.partition(b"\r\n\r\n")
        if body:
            status = int(head.split(b" ", 2)[1])
            code = json.loads(body).get("error", "")
        return Attempt(sent, time.monotonic(), status, code)

    def _request(self, delivery: Delivery) -> bytes:
        body = message(delivery.id, delivery.key, f"{delivery.counter} {self._filling}")
        return f"{self._head}content-length: {len(body)}\r\n\r\n".encode() + body


def message(message_id: str, device: str, text: str) -> bytes:
    """The body of one that was received now."""
    person = "5511912340000"
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {
        "id": message_id,
        "from": person,
        "fromType": "pn",
        "lid": None,
        "phoneNumber": person,
        "pushName": "Ana",
        "content": {"text": text},
        "type": "text",
    }
    event = {"event": "message.received", "deviceId": int(device), "data": data, "timestamp": timestamp}
    return json.dumps(event).encode()


def event_read(value: bytes) -> Read:
    """A record's value, as a consumer takes it."""
    event = json.loads(value)
    data = event["data"]
    return Read(data["message_id"], event["partitionkey"], int(data["content"]["text"].split()[0]))
