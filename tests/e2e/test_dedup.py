"""The same body again, through a running bridge: what a real broker has in the end, and what was counted.

That JetStream itself drops copies shall not help: on NATS a plain subscriber counts what is published.
"""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import nats
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.providers import PROVIDERS
from tests.brokers import NatsServer, stream_api
from tests.conftest import KafkaSpace, NatsSpace
from tests.e2e.test_flow import alive, children
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator, stored_in_kafka
from tests.processes import TOKEN, BridgeProcess, wait_until

Make = Callable[..., BridgeProcess]
DEADLINE_S = 2.0  # enough for twenty requests to meet, on a busy machine too


def sample() -> bytes:
    return PROVIDERS["chatlevel"].sample("message.received", now=datetime.now(UTC))


def counted(running: BridgeProcess, name: str, **labels: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{running.ops_port}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"bridge_{name}_total" and labels.items() <= sample.labels.items()
    )


async def post_at_once(running: BridgeProcess, body: bytes, count: int) -> list[httpx.Response]:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=count), timeout=15) as client:
        return await asyncio.gather(*(client.post(running.url, content=body) for _ in range(count)))


@asynccontextmanager
async def seen_published(url: str, subject: str) -> AsyncIterator[Callable[[], "asyncio.Future[list[str]]"]]:
    """What is published from now on, whether the stream keeps it or not: subjects, in order."""
    client = await nats.connect(url, allow_reconnect=False)
    subjects: list[str] = []

    async def note(message: nats.aio.msg.Msg) -> None:
        subjects.append(message.subject)

    await client.subscribe(subject, cb=note)
    await client.flush()

    async def seen() -> list[str]:
        await client.flush()
        return subjects

    try:
        yield lambda: asyncio.ensure_future(seen())
    finally:
        await client.close()


def one_deadline(**settings: str) -> dict[str, str]:
    return settings | {"BRIDGE_SOURCE_CHATLEVEL_DEADLINE_MS": str(round(DEADLINE_S * 1000))}


# ---- over a restart


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_a_retry_after_a_restart_publishes_nothing_where_a_data_directory_is_in_use(bridge: Make, end: str) -> None:
    running = bridge().start()
    body = sample()
    first = running.post(body)
    seen = Path(running.env["BRIDGE_DATA_DIR"]) / "seen" / "chatlevel"
    if end == "SIGKILL":
        wait_until(lambda: any(path.stat().st_size for path in seen.glob("*.ids")))  # a second at most
    assert running.process
    server = children(running.process.pid)[-1]
    running.stop(signal.Signals[end])
    wait_until(lambda: not alive(server))  # of a killed bridge it ends a moment later, and has the port till then
    running.start()
    again = running.post(body)
    assert (again.status_code, again.json()) == (200, first.json())
    assert counted(running, "records_duplicate") == 1
    assert counted(running, "records_published") == 0


def test_each_source_has_a_window_of_its_own_for_providers_that_retry_for_days(bridge: Make) -> None:
    running = bridge(
        BRIDGE_DEDUP_WINDOW_S="3600",
        BRIDGE_SOURCES="chatlevel,days=chatlevel",
        BRIDGE_SOURCE_DAYS_TOKEN=TOKEN,
        BRIDGE_SOURCE_DAYS_DEDUP_WINDOW_S="86400",
    ).start()
    body = sample()
    days = running.url.rpartition("/webhooks/")[0] + f"/webhooks/days/{TOKEN}"

    def post_to_both() -> None:
        assert [httpx.post(url, content=body).status_code for url in (running.url, days)] == [200, 200]

    post_to_both()
    running.stop()
    two_hours_ago = time.time() - 7200
    for path in (Path(running.env["BRIDGE_DATA_DIR"]) / "seen").glob("*/*.ids"):
        os.utime(path, (two_hours_ago, two_hours_ago))
    running.start()
    post_to_both()
    duplicates = {source: counted(running, "records_duplicate", source=source) for source in ("chatlevel", "days")}
    assert duplicates == {"chatlevel": 0, "days": 1}


def test_ids_of_rows_that_the_spool_has_lost_are_forgotten_so_that_their_retries_are_taken(bridge: Make) -> None:
    """Else a damaged disk would drop the retry of an event that is nowhere."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        broker = f"nats://127.0.0.1:{nobody.getsockname()[1]}"
        running = bridge(BRIDGE_BROKER=broker, BRIDGE_SPOOL="on").start(ready=False)
        body = sample()
        assert running.post(body).status_code == 200
        data = Path(running.env["BRIDGE_DATA_DIR"])
        wait_until(lambda: any(path.stat().st_size for path in (data / "seen").glob("*/*.ids")))
        totals = data / "spool" / "totals.json"
        wait_until(lambda: totals.exists() and b'"accepted":1' in totals.read_bytes())
        running.stop(signal.SIGKILL)
        for path in (data / "spool").glob("spool.db*"):
            path.write_bytes(b"")
        running.start(ready=False)
        assert counted(running, "spool_lost") == 1
        assert running.post(body).status_code == 200
        assert counted(running, "records_duplicate") == 0
        assert counted(running, "spool_spooled") == 2


def test_without_a_data_directory_nothing_is_kept(bridge: Make, nats_space: NatsSpace) -> None:
    running = bridge(
        BRIDGE_BROKER=nats_space.url,
        BRIDGE_PROVISION="create",
        BRIDGE_NATS_STREAM=nats_space.stream,
        BRIDGE_TOPIC_TEMPLATE=f"{nats_space.prefix}.{{type}}",
        BRIDGE_DEAD_LETTER_TOPIC="",
    ).start()
    assert running.post(sample()).status_code == 200
    running.stop()
    assert not (Path(running.env["BRIDGE_DATA_DIR"]) / "seen").exists()


# ---- Kafka, which drops no copy by itself


@pytest.fixture
def on_kafka(bridge: Make, kafka_space: KafkaSpace) -> Callable[..., BridgeProcess]:
    def make(**settings: str) -> BridgeProcess:
        broker = {"BRIDGE_BROKER": f"kafka://{kafka_space.bootstrap}", "BRIDGE_PROVISION": "create"}
        return bridge(**broker | {"BRIDGE_TOPIC_TEMPLATE": f"{kafka_space.prefix}.{{type}}"} | settings).start()

    return make


async def test_on_kafka_a_body_that_comes_again_is_stored_once(
    on_kafka: Callable[..., BridgeProcess], kafka_space: KafkaSpace
) -> None:
    running = on_kafka()
    body = sample()
    answers = [running.post(body) for _ in range(5)] + await post_at_once(running, sample_like(body), 50)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 2
    stored = await stored_in_kafka(kafka_space.bootstrap, kafka_space.topic("message.received"))
    assert [json.loads(record.value)["id"] for record in stored] == [
        answers[0].json()["ids"][0],
        answers[-1].json()["ids"][0],
    ]
    assert counted(running, "records_duplicate") == 4 + 49
    assert counted(running, "events_published") == 2


def sample_like(body: bytes) -> bytes:
    """Another message."""
    content = json.loads(body)
    content["data"]["id"] += "X"
    return json.dumps(content).encode()


async def test_on_kafka_the_retry_of_a_fan_out_publishes_only_what_is_missing(
    bridge: Make, kafka_space: KafkaSpace
) -> None:
    there, missing = kafka_space.topic("there"), kafka_space.topic("missing")
    async with KafkaOperator(kafka_space.bootstrap) as operator:
        await operator.create_topic(there)
        running = bridge(
            **one_deadline(
                BRIDGE_BROKER=f"kafka://{kafka_space.bootstrap}",
                BRIDGE_PROVISION="off",
                BRIDGE_ROUTES=f"chatlevel:message.* -> {there}, {missing}",
            )
        ).start(ready=False)
        body = sample()
        wait_until(lambda: counted_topic(running, there, posted=running.post(body)))
        assert running.post(body).status_code == 503
        await operator.create_topic(missing)
    wait_until(lambda: running.post(body).status_code == 200)
    for topic in (there, missing):
        assert len(await stored_in_kafka(kafka_space.bootstrap, topic)) == 1, topic
    assert counted(running, "events_published") == 1


def counted_topic(running: BridgeProcess, topic: str, *, posted: httpx.Response) -> bool:
    """Whether a record of this topic was acknowledged, though its delivery failed."""
    assert posted.status_code == 503
    return f'topic="{topic}"}} 1.0' in httpx.get(f"http://127.0.0.1:{running.ops_port}/metrics").text


@pytest.fixture
def kafka_process(tmp_path: Path) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path / "kafka") as server:
        yield server


async def test_on_kafka_a_late_acknowledgement_makes_the_retry_a_duplicate(
    bridge: Make, kafka_process: KafkaServer
) -> None:
    running = bridge(
        **one_deadline(BRIDGE_BROKER=f"kafka://{kafka_process.bootstrap}", BRIDGE_PROVISION="create")
    ).start()
    assert running.post(sample()).status_code == 200
    body = sample()
    kafka_process.pause()
    answers = await post_at_once(running, body, 20)
    assert {answer.status_code for answer in answers} == {503}
    kafka_process.resume()
    wait_until(lambda: running.post(body).status_code == 200)
    stored = await stored_in_kafka(kafka_process.bootstrap, "events.chatlevel.message.received")
    copies = [json.loads(record.value)["id"] for record in stored].count(running.post(body).json()["ids"][0])
    assert 1 <= copies <= 1 + counted(running, "records_ambiguous") + counted(running, "broker_records_sent_again")


# ---- NATS


async def test_on_nats_a_body_that_comes_again_is_not_even_sent(bridge: Make, nats_process: NatsServer) -> None:
    nats_process.start()
    running = bridge(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create").start()
    body = sample()
    async with seen_published(nats_process.url, "events.>") as published:
        answers = [running.post(body) for _ in range(5)] + await post_at_once(running, sample_like(body), 50)
        assert {answer.status_code for answer in answers} == {200}
        assert len(await published()) == 2
    assert counted(running, "records_duplicate") == 4 + 49


async def test_on_nats_a_publish_without_an_answer_is_stored_once(bridge: Make, nats_process: NatsServer) -> None:
    nats_process.start()
    running = bridge(**one_deadline(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create")).start()
    body = sample()
    nats_process.pause()
    answers = await post_at_once(running, body, 20)
    assert {answer.status_code for answer in answers} == {503}
    nats_process.resume()
    wait_until(lambda: running.post(body).status_code == 200)
    assert counted(running, "events_published") == 1
    assert len(await asyncio.to_thread(running.stored)) == 1


async def test_on_nats_the_retry_of_a_fan_out_publishes_only_what_is_missing(
    bridge: Make, nats_space: NatsSpace
) -> None:
    there, missing = nats_space.topic("there"), nats_space.topic("missing")

    async def stream(call: str, *subjects: str) -> None:
        content: Mapping[str, object] = {"name": nats_space.stream, "subjects": subjects}
        answer = await stream_api(nats_space.url, f"STREAM.{call}.{nats_space.stream}", dict(content))
        assert "error" not in answer, answer

    await stream("CREATE", there)
    running = bridge(
        **one_deadline(
            BRIDGE_BROKER=nats_space.url,
            BRIDGE_PROVISION="off",
            BRIDGE_NATS_STREAM=nats_space.stream,
            BRIDGE_DEAD_LETTER_TOPIC="",
            BRIDGE_ROUTES=f"chatlevel:message.* -> {there}, {missing}",
        )
    ).start()
    body = sample()
    async with seen_published(nats_space.url, there) as published:
        assert running.post(body).status_code == 503
        await stream("UPDATE", there, missing)
        wait_until(lambda: running.post(body).status_code == 200)
        assert await published() == [there]
    stored = await asyncio.to_thread(running.stored, nats_space.stream)
    assert [message.subject for message in stored] == [there, missing]
    assert counted(running, "events_published") == 1
