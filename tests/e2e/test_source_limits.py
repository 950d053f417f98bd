"""What one source may take, so that it takes nothing from another: a whole bridge in front of a real NATS."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from bridge.app import Bridge
from tests.conftest import NatsSpace
from tests.e2e.in_process import TOKEN, message, post, serving, settings_of

SHOP_AND_HUB = {"BRIDGE_SOURCES": "shop=chatlevel,hub=chatlevel"}


def outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def places(bridge: Bridge, source: str) -> tuple[float, float]:
    """Taken, and the most it may have."""
    names = ("bridge_deliveries_in_flight", "bridge_deliveries_in_flight_limit")
    taken, most = (bridge.metrics.value(name, source) for name in names)
    return taken, most


class Flood:
    """Connections to a source's URL whose bodies do not come."""

    def __init__(self) -> None:
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def begin(self, bridge: Bridge, source: str, count: int) -> None:
        address = bridge.address
        for _ in range(count):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            head = f"POST /webhooks/{source}/{TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
            writer.write(head.encode())
            self._open.append((reader, writer))

    async def refused(self, count: int) -> list[bytes]:
        """The answers of the first that have one; the others wait for their bodies."""
        answers: list[bytes] = []
        reading = [asyncio.create_task(reader.read()) for reader, _writer in self._open]
        try:
            for next_one in asyncio.as_completed(reading):
                answers.append(await next_one)
                if len(answers) == count:
                    return answers
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        raise AssertionError("they cannot all be answered")

    async def end(self) -> None:
        for _reader, writer in self._open:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def flooded(bridge: Bridge, source: str, count: int) -> AsyncIterator[Flood]:
    flood = Flood()
    await flood.begin(bridge, source, count)
    try:
        yield flood
    finally:
        await flood.end()


async def test_while_one_source_is_flooded_every_delivery_of_another_is_taken(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    more = {"BRIDGE_MAX_IN_FLIGHT": "8", "BRIDGE_SOURCE_SHOP_DEADLINE_MS": "60000"}
    async with serving(settings_of(nats_space, tmp_path, **SHOP_AND_HUB, **more)) as bridge:
        async with flooded(bridge, "shop", 30) as flood, asyncio.timeout(20):
            refused = await flood.refused(24)
            assert all(b" 503 " in answer and b'"overloaded"' in answer for answer in refused)
            assert places(bridge, "shop") == (6, 6)
            for number in range(0, 60, 2):
                answers = await asyncio.gather(*(post(bridge, "hub", message(n)) for n in (number, number + 1)))
                assert [answer.status_code for answer in answers] == [200, 200]
            assert outcome(await post(bridge, "shop", message())) == (503, "overloaded")
            assert places(bridge, "shop") == (6, 6)
        async with asyncio.timeout(20):
            while places(bridge, "shop") != (0, 6):
                await asyncio.sleep(0.01)
            assert (await post(bridge, "shop", message())).status_code == 200
    assert [places(bridge, source)[0] for source in ("shop", "hub")] == [0, 0]


async def test_above_a_sources_rate_it_is_503_until_retry_after_and_other_sources_are_not_touched(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    env = settings_of(nats_space, tmp_path, **SHOP_AND_HUB, BRIDGE_SOURCE_SHOP_RATE_LIMIT="1/s")
    async with serving(env) as bridge, asyncio.timeout(20):
        while (answer := await post(bridge, "shop", message())).status_code == 200:
            pass  # on a machine that stands still a second may pass between two of them
        assert outcome(answer) == (503, "rate_limited")
        assert answer.headers["retry-after"] == "1"
        others = await asyncio.gather(*(post(bridge, "hub", message(number)) for number in range(20)))
        assert {other.status_code for other in others} == {200}
        await asyncio.sleep(int(answer.headers["retry-after"]))
        assert (await post(bridge, "shop", message())).status_code == 200
        assert bridge.metrics.value("bridge_deliveries_total", "shop", "rate_limited") == 1


async def test_body_limit_deadline_and_devices_are_each_sources_own(nats_space: NatsSpace, tmp_path: Path) -> None:
    more = {
        "BRIDGE_SOURCE_SHOP_MAX_BODY_BYTES": "1024",
        "BRIDGE_SOURCE_SHOP_DEVICES": "1,2",
        "BRIDGE_SOURCE_SHOP_DEADLINE_MS": "300",
    }
    async with serving(settings_of(nats_space, tmp_path, **SHOP_AND_HUB, **more)) as bridge, asyncio.timeout(20):
        large: dict[str, Any] = message() | {"padding": "x" * 1024}
        assert outcome(await post(bridge, "shop", large)) == (413, "body_too_large")
        assert (await post(bridge, "hub", large)).status_code == 200
        assert outcome(await post(bridge, "shop", message())) == (403, "device_not_allowed")
        assert (await post(bridge, "hub", message())).status_code == 200
        async with flooded(bridge, "hub", 1), flooded(bridge, "shop", 1) as slow:
            (answer,) = await slow.refused(1)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "body_timeout"
            assert places(bridge, "hub")[0] == 1, "another source's is still waited for"
