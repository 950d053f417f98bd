"""The bridge as a process on a real Kafka that comes late, freezes, dies and comes back."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bridge.providers import PROVIDERS
from tests.kafka import KafkaServer
from tests.kafka_operator import stored_in_kafka
from tests.processes import LATE_S, BridgeProcess, wait_until

DEADLINE_S = 3.0
BODIES = [
    json.dumps(
        {
            "event": "message.received",
            "deviceId": 480213 + number % 3,
            "data": {
                "id": f"3EB0{number:06}",
                "from": "5511912340000",
                "fromType": "pn",
                "lid": None,
                "phoneNumber": "5511912340000",
                "pushName": "Ana",
                "content": {"text": str(number)},
                "type": "text",
            },
            "timestamp": "2026-03-02T08:00:00.000Z",
        }
    ).encode()
    for number in range(300)
]
TOPIC = "events.chatlevel.message.received"


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    """Not started yet."""
    server = KafkaServer(tmp_path / "kafka")
    yield server
    if server.pid is not None:
        server.kill()


def on(kafka: KafkaServer, bridge: Callable[..., BridgeProcess], **settings: str) -> BridgeProcess:
    return bridge(BRIDGE_BROKER=f"kafka://{kafka.bootstrap}", BRIDGE_PROVISION="create", **settings)


def ids(kafka: KafkaServer) -> list[str]:
    return [json.loads(item.value)["id"] for item in asyncio.run(stored_in_kafka(kafka.operator, TOPIC))]


def test_a_kafka_that_comes_late_makes_503_then_200_without_a_restart(
    kafka: KafkaServer, bridge: Callable[..., BridgeProcess]
) -> None:
    running = on(kafka, bridge).start(ready=False)
    wait_until(lambda: "BRIDGE_BROKER" in running.reasons())
    refused = running.post(BODIES[0])
    assert (refused.status_code, refused.json()["error"]) == (503, "broker_unavailable")
    assert refused.headers["retry-after"]
    kafka.start()
    wait_until(running.ready)
    taken = running.post(BODIES[0])
    assert taken.status_code == 200
    assert ids(kafka) == taken.json()["ids"]


def test_k2_a_frozen_kafka_is_503_within_the_deadline_and_sigterm_ends_within_the_grace(
    kafka: KafkaServer, bridge: Callable[..., BridgeProcess]
) -> None:
    kafka.start()
    running = on(kafka, bridge).start()
    assert running.post(BODIES[0]).status_code == 200
    kafka.pause()

    def post(body: bytes) -> tuple[int, float]:
        began = time.monotonic()
        return client.post(running.url, content=body).status_code, time.monotonic() - began

    with httpx.Client(timeout=15) as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, BODIES[1:41]))
    assert {status for status, _took in answers} == {503}
    assert max(took for _status, took in answers) < DEADLINE_S + LATE_S
    wait_until(lambda: not running.ready())
    began = time.monotonic()
    assert running.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    kafka.resume()


def test_a_kafka_killed_and_restarted_under_load_loses_nothing_that_was_answered_with_success(
    kafka: KafkaServer, bridge: Callable[..., BridgeProcess]
) -> None:
    """The provider posts each body until it has its 200, as its retries would."""
    kafka.start()
    running = on(kafka, bridge, BRIDGE_KAFKA_PARTITIONS="3").start()
    retried = 0

    def post(body: bytes) -> list[str]:
        nonlocal retried
        while (answer := running.post(body)).status_code != 200:
            assert answer.status_code == 503
            retried += 1
            time.sleep(0.2)
        return list(answer.json()["ids"])

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(post, body) for body in BODIES]
        wait_until(lambda: sum(answer.done() for answer in answers) > 50)
        kafka.kill()
        kafka.start()
        acknowledged = [event_id for answer in answers for event_id in answer.result()]
    found = ids(kafka)
    assert set(acknowledged) == set(found)
    assert len(set(acknowledged)) == len(BODIES)
    copies = len(found) - len(set(found))
    assert copies <= 8  # what was in flight when it died


def test_send_and_tail_work_on_kafka(kafka: KafkaServer, bridge: Callable[..., BridgeProcess]) -> None:
    kafka.start()
    running = on(kafka, bridge).start()
    assert running.cli("send", "message.received").returncode == 0
    shown = running.cli("tail", "--all", "--count", "1", "--json")
    assert json.loads(shown.stdout)["topic"] == TOPIC


def test_check_and_a_bridge_agree_about_a_kafka_without_the_topics(
    kafka: KafkaServer, bridge: Callable[..., BridgeProcess]
) -> None:
    kafka.start()
    running = bridge(BRIDGE_BROKER=f"kafka://{kafka.bootstrap}")
    checked: subprocess.CompletedProcess[str] = running.cli("check", "--connect")
    assert checked.returncode == 1
    assert "BRIDGE_PROVISION=create" in checked.stdout + checked.stderr
    running.start(ready=False)
    wait_until(lambda: "missing" in running.reasons())
    types = {event_type.name for event_type in PROVIDERS["chatlevel"].event_types}
    assert (running.readiness() or {})["broker"]["details"]["topics"] == len(types) + 1  # and the dead letters'
