"""The load generator, a process of its own: keep-alive connections, each posting the next event at the last answer.

One thread and a bare protocol, a few microseconds a request, so that it is not what is measured.
"""

import asyncio
import json
import sys
import time
from array import array
from datetime import UTC, datetime
from typing import cast

import msgspec
import uvloop

from bridge.providers import PROVIDERS
from tests.bench.machine import busy_s, cpu_s, rss_mib

__all__ = ["DEVICES", "Bodies", "Measured", "Order"]

BODY_BYTES = 400
DEVICES = 100
_WARM_UP_S = 0.5


class Order(msgspec.Struct):
    """What to do.

    Attributes:
        port: of the server.
        path: where to post to.
        connections: so many requests are under way.
        seconds: to measure, after a moment to warm up.
        server_pid: whose CPU time and memory to read.
        broker_pid: likewise; None: not known.
    """

    port: int
    path: str
    connections: int
    seconds: float
    server_pid: int
    broker_pid: int | None = None


class Measured(msgspec.Struct):
    """What came of it.

    Attributes:
        requests: answered 200 within the time.
        failed: answered anything else.
        seconds: how long it was measured.
        p50_ms: latency.
        p99_ms: latency.
        server_cpu_s: of the server's process.
        own_cpu_s: of the load generator.
        other_cpu_s: of everything else on the machine but the broker.
        rss_mib: the server's memory at the end.
    """

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    server_cpu_s: float
    own_cpu_s: float
    other_cpu_s: float
    rss_mib: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's CPU time an event, microseconds."""
        return self.server_cpu_s / self.requests * 1e6


class Bodies:
    """Chatlevel events of 400 bytes, all different."""

    def __init__(self) -> None:
        text = PROVIDERS["chatlevel"].sample("message.received", now=datetime.now(UTC)).decode()
        event = json.loads(text)
        event["deviceId"], event["data"]["id"] = 999_999, "$" * 20
        event["data"]["content"]["text"] = ""
        missing = BODY_BYTES - len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())
        event["data"]["content"]["text"] = "x" * missing
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode().replace(b"%", b"%%")
        self._template = body.replace(b"999999", b"%d").replace(b"$" * 20, b"%020X")
        self._number = time.time_ns()

    def next(self) -> bytes:
        """The next one."""
        self._number += 1
        return self._template % (480_000 + self._number % DEVICES, self._number)


class _Run:
    """What all connections share."""

    def __init__(self, order: Order) -> None:
        self.bodies = Bodies()
        self.head = (
            f"POST {order.path} HTTP/1.1\r\nhost: 127.0.0.1:{order.port}\r\ncontent-type: application/json\r\n"
            f"content-length: {BODY_BYTES}\r\n\r\n"
        ).encode()
        self.latencies = array("d")
        self.failed = 0
        self.measuring = False
        self.stopped = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._began = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._post()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            start = data.find(b"content-length: ") + 16
            end += 4 + int(data[start : data.find(b"\r", start)])
        if end < 0 or len(data) < end:
            self._buffer = data
            return
        self._buffer = b""
        run = self._run
        if run.measuring:
            if data.startswith(b"HTTP/1.1 200"):
                run.latencies.append(time.perf_counter() - self._began)
            else:
                run.failed += 1
        if not run.stopped:
            self._post()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._run.lost.done():
            self._run.lost.set_result(None)

    def _post(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._run.head + self._run.bodies.next())


async def _measure(order: Order) -> Measured:
    run = _Run(order)
    loop = asyncio.get_running_loop()
    for _ in range(order.connections):
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", order.port)
    await asyncio.sleep(_WARM_UP_S)
    run.measuring, began = True, time.perf_counter()
    server, own, broker, busy = cpu_s(order.server_pid), time.process_time(), _cpu_s(order.broker_pid), busy_s()
    await asyncio.wait([run.lost], timeout=order.seconds)
    run.measuring, seconds = False, time.perf_counter() - began
    server, own = cpu_s(order.server_pid) - server, time.process_time() - own
    broker, busy = _cpu_s(order.broker_pid) - broker, busy_s() - busy
    if run.lost.done():
        raise SystemExit("the server closed a connection")
    run.stopped = True
    latencies = sorted(run.latencies)
    if not latencies:
        raise SystemExit(f"no answer 200 in {seconds:.1f} s, {run.failed} others")
    return Measured(
        requests=len(latencies),
        failed=run.failed,
        seconds=seconds,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
        server_cpu_s=server,
        own_cpu_s=own,
        other_cpu_s=max(0.0, busy - server - own - broker),
        rss_mib=rss_mib(order.server_pid),
    )


def _cpu_s(pid: int | None) -> float:
    return 0.0 if pid is None else cpu_s(pid)


def main() -> None:
    """One order on standard input, what was measured on standard output; both JSON."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(_measure(order))
    sys.stdout.buffer.write(msgspec.json.encode(measured))


if __name__ == "__main__":
    main()
