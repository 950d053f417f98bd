"""A rolling restart under load, as the chart does it, behind a proxy that learns of it late: nothing is lost.

One bridge more is started and becomes ready, then an old one is told to end: it leaves the endpoints, which the proxy
sees after a while, and serves on for the pause of the chart's preStop before it gets its SIGTERM.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer

from bridge.providers import PROVIDERS
from tests.brokers import NatsServer, stored
from tests.kafka import KafkaServer
from tests.processes import TOKEN, BridgeProcess
from tests.system.nginx import Nginx, nginx

PROXY_LEARNS_S = 2.0
PAUSE_S = 3.0  # the chart's endpointRemovalSeconds, longer than what the proxy takes
CLIENTS = 6

Make = Callable[..., BridgeProcess]


@pytest.fixture(params=["nats", "kafka"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NatsServer | KafkaServer]:
    server = NatsServer(tmp_path / "nats") if request.param == "nats" else KafkaServer(tmp_path / "kafka")
    with server:
        yield server


class Provider:
    """Posts without pause, each event once and on a connection of its own, and keeps every answer."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/webhooks/chatlevel/{TOKEN}"
        self.answers: Counter[str] = Counter()
        self.acknowledged: set[str] = set()

    @contextlib.asynccontextmanager
    async def posting(self) -> AsyncIterator[None]:
        done = asyncio.Event()
        tasks = [asyncio.create_task(self._post_until(done)) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            done.set()
            await asyncio.gather(*tasks)

    async def _post_until(self, done: asyncio.Event) -> None:
        async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0), timeout=20) as client:
            while not done.is_set():
                body = PROVIDERS["chatlevel"].sample("message.received", now=datetime.now(UTC))
                try:
                    answer = await client.post(self._url, content=body)
                except httpx.TransportError as error:
                    self.answers[type(error).__name__] += 1
                    continue
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    self.acknowledged.update(answer.json()["ids"])


async def replace_all(
    proxy: Nginx, old: list[BridgeProcess], make: Callable[[], BridgeProcess], pause_s: float
) -> None:
    """What the Deployment's controller, the kubelet and the ingress controller do: one more, then one less."""
    serving = list(old)
    for leaving in old:
        fresh = make()
        await asyncio.to_thread(fresh.start)
        serving.append(fresh)
        await asyncio.to_thread(proxy.reload, [pod.port for pod in serving])
        serving.remove(leaving)

        learned = asyncio.Event()

        async def proxy_learns(learned: asyncio.Event = learned) -> None:
            await asyncio.sleep(PROXY_LEARNS_S)
            await asyncio.to_thread(proxy.reload, [pod.port for pod in serving])
            learned.set()

        async def pod_ends(pod: BridgeProcess = leaving, learned: asyncio.Event = learned) -> None:
            await asyncio.sleep(pause_s)
            if pause_s > PROXY_LEARNS_S:
                await learned.wait()  # a pause is chosen so, however long a reload takes here
            assert await asyncio.to_thread(pod.stop) == 0

        await asyncio.gather(proxy_learns(), pod_ends())


async def rolled_out(broker: NatsServer | KafkaServer, bridge: Make, folder: Path, pause_s: float) -> Provider:
    """Two bridges replaced under load; what the provider saw."""
    names = iter(range(10))

    def make() -> BridgeProcess:
        return bridge(f"data{next(names)}", BRIDGE_BROKER=address(broker), BRIDGE_PROVISION="create")

    old = [await asyncio.to_thread(make().start) for _ in range(2)]
    with nginx(folder, [pod.port for pod in old]) as proxy:
        provider = Provider(proxy.port)
        async with provider.posting():
            await replace_all(proxy, old, make, pause_s)
    return provider


def address(broker: NatsServer | KafkaServer) -> str:
    return broker.url if isinstance(broker, NatsServer) else f"kafka://{broker.bootstrap}"


async def ids_in(broker: NatsServer | KafkaServer) -> Counter[str]:
    """The events that the broker holds, by id."""
    if isinstance(broker, NatsServer):
        values = [message.data for message in await stored(broker.url, "EVENTS")]
    else:
        values = await _records(broker.bootstrap, "events.chatlevel.message.received")
    return Counter(json.loads(value)["id"] for value in values)


async def _records(bootstrap: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        values: list[bytes] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            batches = await consumer.getmany(timeout_ms=1000)
            values += [record.value for batch in batches.values() for record in batch]
        return values


async def test_a_rolling_restart_loses_nothing_and_answers_nothing_but_success(
    broker: NatsServer | KafkaServer, bridge: Make, tmp_path: Path
) -> None:
    provider = await rolled_out(broker, bridge, tmp_path / "nginx", PAUSE_S)
    held = await ids_in(broker)
    print(f"{address(broker)}: {dict(provider.answers)}")  # noqa: T201 -- the figure of this proof
    assert set(provider.answers) == {"200"}
    assert provider.answers["200"] == len(provider.acknowledged) > 100
    assert provider.acknowledged <= set(held)
    assert max(held.values()) == 1


async def test_without_the_pause_the_provider_sees_faults(bridge: Make, tmp_path: Path) -> None:
    """The counter-proof: this load and this proxy do find what the pause is for."""
    with NatsServer(tmp_path / "nats") as broker:
        provider = await rolled_out(broker, bridge, tmp_path / "nginx", 0)
    assert set(provider.answers) > {"200"}
