"""The public port as it is served, in this process, on a free port.

The broker is not under test here: `Doorstep` stands where a publisher would and does what a test tells it.
Answers that need a real broker are tested in tests/e2e.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx
import msgspec
import pytest

from bridge.ingest.app import make_ingest_app
from bridge.ingest.arrival import Entrance
from bridge.ingest.dead_letters import Keeper
from bridge.ingest.dedup import DedupTable
from bridge.ingest.http import Ingest
from bridge.ingest.pipeline import Pipeline
from bridge.ingest.protocol import HttpLimits, make_protocol
from bridge.ingest.seen import SeenIds
from bridge.providers import PROVIDERS
from bridge.providers.proof import URL_TOKEN
from bridge.providers.signatures import Verifier
from bridge.publishers.base import HeaderDialect, Record
from bridge.routing import DEFAULT_TEMPLATE, RoutedSource, Table, build_tables, topics
from bridge.server import HttpServer
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics

TOKEN = "correct-horse-battery-staple"
NEXT_TOKEN = "the-token-of-next-month"


class Doorstep:
    """Keeps what is handed over, or behaves as told."""

    dialect = HeaderDialect(prefix="ce-", content_type="Content-Type", percent_encode=True)

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.behave: Callable[[Record], Awaitable[None]] | None = None

    async def publish(self, record: Record) -> None:
        if self.behave is not None:
            await self.behave(record)
        self.records.append(record)


class Served:
    """A running entrance and ways to talk to it."""

    def __init__(self, port: int, publisher: Doorstep, metrics: Metrics, ingest: Ingest) -> None:
        self.port = port
        self.publisher = publisher
        self.metrics = metrics
        self.ingest = ingest
        self.url = self.url_of("shop")

    def url_of(self, source: str) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks/{source}/{TOKEN}"

    def hold(self) -> tuple[asyncio.Semaphore, asyncio.Event]:
        """Records wait at the publisher: what counts those that came, and what lets all go."""
        entered, release = asyncio.Semaphore(0), asyncio.Event()

        async def wait(_record: Record) -> None:
            entered.release()
            await release.wait()

        self.publisher.behave = wait
        return entered, release

    async def post(self, body: bytes, **kwargs: Any) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.post(kwargs.pop("url", self.url), content=body, **kwargs)

    async def raw(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send bytes, read until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        if half_close:
            writer.write_eof()
        try:
            return await reader.read()
        finally:
            writer.close()

    def outcomes(self) -> dict[str, float]:
        """Deliveries counted by outcome."""
        return {
            sample.labels["outcome"]: sample.value
            for metric in self.metrics.collect()
            if metric.name == "bridge_deliveries"
            for sample in metric.samples
            if sample.value
        }


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an entrance with the limits a test wants; all are stopped at its end."""
    running: list[tuple[Ingest, HttpServer]] = []

    async def start(
        *,
        deadline_s: float = 3.0,
        max_body_bytes: int = 262_144,
        max_header_bytes: int = 16_384,
        header_timeout_s: float = 5.0,
        max_in_flight: int = 1024,
        devices: frozenset[str] = frozenset(),
        success_status: int = 200,
        verify: bool = True,
        routes: str | None = None,
        tls: tuple[str, str] | None = None,
        dead_letter_topic: str | None = None,
        names: Sequence[str] = ("shop",),
        **of_entrance: Any,
    ) -> Served:
        publisher, metrics, provider = Doorstep(), Metrics(), PROVIDERS["chatlevel"]
        facts = Facts(metrics)
        routed = [RoutedSource(name=name, types=provider.event_types) for name in names]
        tables = build_tables(routed, routes=routes, template=DEFAULT_TEMPLATE)

        def entrance(name: str, table: Table) -> Entrance:
            source_facts = facts.source(name, types=table.known, topics=topics([table]), outcomes=[])
            pipeline = Pipeline(source=name, provider=provider, table=table, dialect=publisher.dialect, devices=devices)
            made = Entrance(
                name=name,
                verifier=Verifier([URL_TOKEN], [TOKEN, NEXT_TOKEN]) if verify else None,
                keeper=Keeper(
                    pipeline,
                    DedupTable(publisher.publish, SeenIds(window_s=4500, max_ids=10_000), source_facts),
                    source=name,
                    dialect=publisher.dialect,
                    decoded_headers=sorted(provider.headers),
                    dead_letter_topic=dead_letter_topic,
                    raw_topic=None,
                    unknown=None,
                ),
                facts=source_facts,
                success_status=success_status,
                deadline_s=deadline_s,
                max_body_bytes=max_body_bytes,
            )
            return msgspec.structs.replace(made, **of_entrance)

        entrances = {name: entrance(name, table) for name, table in tables.items()}
        ingest = Ingest(entrances, facts, max_in_flight=max_in_flight)
        limits = HttpLimits(
            header_timeout_s=header_timeout_s, max_header_bytes=max_header_bytes, max_body_bytes=max_body_bytes
        )
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(
            make_ingest_app(ingest), listener, shutdown_timeout_s=1, protocol=make_protocol(limits, facts), tls=tls
        )
        await server.start()
        running.append((ingest, server))
        return Served(listener.getsockname()[1], publisher, metrics, ingest)

    yield start
    for ingest, _server in running:
        ingest.end_late()
    await asyncio.gather(*(server.stop() for _ingest, server in running))
