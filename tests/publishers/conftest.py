"""What the tests of the NATS publisher share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.publishers.nats import NatsPublisher, NatsSettings
from tests.brokers import NatsServer
from tests.canary.watch import WATCH
from tests.publishers.contract import ready, until

Start = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server of this test's own, to be mistreated."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Makes a started publisher, ready unless `wait=False`: `await start(url, **settings)`. Closed at the end."""
    publishers: list[NatsPublisher] = []

    async def make(*urls: str, wait: bool = True, **settings: Any) -> NatsPublisher:
        settings = {"subjects": ("test.>",), "provision": "create", **settings}
        WATCH.given_to_publisher(settings)
        publisher = NatsPublisher(NatsSettings(servers=urls, **settings))
        publishers.append(publisher)
        await publisher.start()
        return await ready(publisher) if wait else publisher  # type: ignore[return-value]

    yield make
    async with asyncio.timeout(4):
        await asyncio.gather(*(publisher.close() for publisher in publishers))


async def reasons(publisher: NatsPublisher, text: str, *, within_s: float = 15.0) -> str:
    """Wait until a reason for not being ready contains the text; gives back all reasons."""
    try:
        await until(lambda: any(text in reason for reason in publisher.health().reasons), within_s=within_s)
    except TimeoutError:
        pytest.fail(f"{text!r} is none of the reasons: {publisher.health()}")
    return " ".join(publisher.health().reasons)
