"""Clients that mean it harm, or do not know better: row 27, and what may not grow by them."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx

from tests.bench.machine import rss_mib
from tests.faults.chatlevel import Chatlevel
from tests.faults.conftest import MakeStage
from tests.faults.crowd import MANNERS, Crowd
from tests.faults.stage import Stage
from tests.processes import TOKEN, wait_until
from tests.server.test_hostile import HOSTILE_BODIES

SLOW, RATE = 500, 50
TIMEOUT_S = 2.0  # of headers, and of a delivery
TIMEOUTS = {"BRIDGE_HEADER_TIMEOUT_MS": "2000", "BRIDGE_SOURCE_CHATLEVEL_DEADLINE_MS": "2000"}
WARM, HOSTILE, AT_ONCE = 1500, 3500, 24  # to be warm it must have met more than the 256 types it tells apart
MAY_GROW_MIB = 10


def open_files(row: Stage) -> int:
    assert row.bridge.process is not None
    return len(list(Path(f"/proc/{row.bridge.process.pid}/fd").iterdir()))


def usually_at_most_s(provider: Chatlevel, since: int) -> float:
    """What an attempt takes from that one on: the slowest of each second, and of these the middle one.

    A machine that stands still is slow for one of them, what others make slow is it all the time.
    """
    took = [attempt.ended - attempt.sent for attempt in provider.attempts()[since:]]
    return median(max(took[start : start + RATE]) for start in range(0, len(took), RATE))


async def test_row_27_500_slow_sockets(stage: MakeStage) -> None:
    row = stage("nats", **TIMEOUTS)
    await row.start_bridge()
    async with Chatlevel(row.bridge.url, rate=RATE) as provider:
        await provider.more_acknowledged(3 * RATE)
        usual_s, files, before = usually_at_most_s(provider, 0), open_files(row), len(provider.attempts())
        crowd = Crowd(row.bridge.url)
        async with crowd.of(SLOW, within_s=TIMEOUT_S):
            await provider.more_acknowledged(150)
            assert open_files(row) > files + SLOW / 2, "they were not there"
            await asyncio.wait_for(crowd.seen_off(SLOW), 30)
            await provider.more_acknowledged(50)
            assert 0 < await row.counted("deliveries_in_flight") <= SLOW * 3 / len(MANNERS) + 50
        crowded_s = usually_at_most_s(provider, before)
        verdict = await row.judge(provider)
    assert set(verdict.answers) == {"200"}
    assert crowded_s < provider.at_most(5 * usual_s + 0.1)
    assert {manner for manner, _ in crowd.endings} == set(MANNERS)
    assert all(status == (b"" if manner == "silent" else b"408") for manner, status in crowd.endings), crowd.endings
    assert crowd.slowest_s < provider.at_most(TIMEOUT_S + 1.0)
    await asyncio.to_thread(wait_until, lambda: open_files(row) <= files)


def hostile_requests(chance: random.Random) -> Iterator[bytes]:
    """Without end: what is no HTTP, what has no proof, what is no event, and events of names nobody knows."""
    bodies = list(HOSTILE_BODIES.values())
    token = f"/webhooks/chatlevel/{TOKEN}"
    while True:
        noise = f"{chance.getrandbits(64):x}"
        event = json.dumps({"type": noise, "id": noise, "x": "y" * 2000}).encode()
        drift = json.dumps({"event": noise, "deviceId": 1, noise: {noise: [noise]}}).encode()
        yield from (
            _post(token, chance.choice(bodies)),
            _post(token, drift),
            *(_post(f"/webhooks/open/{TOKEN}", event.replace(b'"type": "', b'"type": "%d.' % n)) for n in range(3)),
            _post(f"/webhooks/chatlevel/{noise}", event),
            _post(f"/webhooks/{noise}", b""),
            _post(token, event, f"{noise}: {noise}\r\ncontent-encoding: gzip\r\ntraceparent: {noise}\r\n"),
            _post(token, event)[: chance.randrange(600)],
            _post(token, b"", "x: y\r\n" * 5000),
            chance.randbytes(chance.randrange(400)),
            f"OPTIONS {token} HTTP/1.1\r\nwebhook-request-origin: {noise}\r\n\r\n".encode(),
            f"POST {token} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{noise}\r\n".encode(),
        )


def _post(path: str, body: bytes, headers: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


async def send_all(port: int, requests: Iterator[bytes]) -> Counter[bytes]:
    """Each on a connection of its own, some at once; the statuses of the answers."""
    statuses: Counter[bytes] = Counter()

    async def some() -> None:
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(), 30)
                statuses.update(re.findall(rb"HTTP/1.1 (\d{3})", answer) or [b"closed"])
            except ConnectionError:
                statuses[b"reset"] += 1
            finally:
                writer.transport.abort()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return statuses


async def series(row: Stage) -> int:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{row.bridge.ops_url}/metrics")).text
    return sum(not line.startswith("#") for line in text.splitlines())


async def test_row_27_thousands_of_hostile_requests(stage: MakeStage) -> None:
    row = stage(
        "nats",
        BRIDGE_SOURCES="chatlevel,open=generic",
        BRIDGE_SOURCE_OPEN_TOKEN=TOKEN,
        BRIDGE_LOG_LEVEL="warning",
        **TIMEOUTS,
    )
    await row.start_bridge()
    assert row.bridge.process is not None
    requests = hostile_requests(random.Random(27))
    await send_all(row.bridge.port, (next(requests) for _ in range(WARM)))
    memory_mib, files, labels = rss_mib(row.bridge.process.pid), open_files(row), await series(row)
    statuses = await send_all(row.bridge.port, (next(requests) for _ in range(HOSTILE)))
    grown_mib = rss_mib(row.bridge.process.pid) - memory_mib
    print(f"\n{dict(statuses)}, {grown_mib:.1f} MiB of {memory_mib:.0f} more")  # noqa: T201 -- as the other rows do
    assert not {status for status in statuses if status.startswith(b"5")}
    assert {b"200", b"400", b"401", b"404", b"405", b"415", b"431"} <= set(statuses)
    assert grown_mib < MAY_GROW_MIB
    assert await series(row) == labels
    async with Chatlevel(row.bridge.url, rate=50) as provider:
        await provider.more_acknowledged(20)
        await provider.finish()
    assert {attempt.status for attempt in provider.attempts()} == {200}
    await asyncio.to_thread(wait_until, lambda: row.bridge.in_flight() == 0)
    await asyncio.to_thread(wait_until, lambda: open_files(row) <= files)
