"""The spool in a running bridge, in front of real brokers that are killed and frozen. More of it: tests/faults."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from tests.brokers import NatsServer
from tests.e2e.in_process import message
from tests.e2e.test_dedup import counted
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator, stored_in_kafka
from tests.processes import LATE_S, BridgeProcess, run_here, wait_until
from tests.proxy import Proxy

Make = Callable[..., BridgeProcess]
DEADLINE_S = 1.5
TOPIC = "events.chatlevel.message.received"


def body(number: int, device: int = 480213, text: str = "hello") -> bytes:
    content = message(number) | {"deviceId": device}
    content["data"]["content"] = {"text": text}
    return json.dumps(content).encode()


def spooling(url: str, **more: str) -> dict[str, str]:
    return {
        "BRIDGE_BROKER": url,
        "BRIDGE_PROVISION": "create",
        "BRIDGE_SPOOL": "on",
        "BRIDGE_SOURCE_CHATLEVEL_DEADLINE_MS": str(round(DEADLINE_S * 1000)),
        **more,
    }


def post(running: BridgeProcess, number: int, device: int = 480213) -> str:
    """The event's id; the bridge has said that it is durable."""
    began = time.monotonic()
    answer = running.post(body(number, device))
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - began < DEADLINE_S + LATE_S
    return str(answer.json()["ids"][0])


def spool(running: BridgeProcess) -> dict[str, Any]:
    state: dict[str, Any] = (running.readiness() or {})["spool"]
    return state


def empty(running: BridgeProcess) -> bool:
    return spool(running)["rows"] == 0


def ids_in_nats(running: BridgeProcess) -> list[str]:
    return [json.loads(stored.data)["id"] for stored in running.stored()]


@pytest.fixture
def nats_up(nats_process: NatsServer) -> NatsServer:
    nats_process.start()
    return nats_process


@pytest.fixture
def kafka_process(tmp_path: Path) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path / "kafka") as server:
        yield server


def test_events_are_taken_while_the_broker_is_down_and_follow_in_order_when_it_is_back(
    bridge: Make, nats_up: NatsServer
) -> None:
    running = bridge(**spooling(nats_up.url)).start()
    posted = [post(running, 0)]
    nats_up.kill()
    posted += [post(running, number) for number in range(1, 30)]
    state = running.readiness()
    assert state is not None
    assert state["ready"], "it takes events"
    assert any("events go to the spool" in warning for warning in state["warnings"])
    assert state["spool"]["rows"] == 29
    assert state["spool"]["oldest_at"]
    assert running.post(body(7)).json()["ids"] == [posted[7]], "a retry is known, though it is in the spool"
    assert spool(running)["rows"] == 29
    nats_up.start()
    wait_until(lambda: (running.readiness() or {})["drained_per_s"] > 0)
    wait_until(lambda: empty(running))
    posted.append(post(running, 30))
    assert ids_in_nats(running) == posted
    assert counted(running, "records_spooled") == counted(running, "records_drained") == 29
    assert counted(running, "records_published") == counted(running, "events_published") == 31


def test_what_is_in_the_spool_outlives_a_kill_of_the_bridge(bridge: Make, nats_up: NatsServer) -> None:
    running = bridge(**spooling(nats_up.url)).start()
    nats_up.kill()
    posted = [post(running, number) for number in range(10)]
    running.kill()
    running.start()
    assert spool(running)["rows"] == 10
    assert running.post(body(3)).json()["ids"] == [posted[3]]
    assert spool(running)["rows"] == 10, "ids of rows are known at the start"
    nats_up.start()
    wait_until(lambda: empty(running))
    assert ids_in_nats(running) == posted


def test_a_bridge_that_stops_while_the_broker_is_down_ends_in_time_and_keeps_what_it_has(
    bridge: Make, nats_up: NatsServer
) -> None:
    running = bridge(**spooling(nats_up.url)).start()
    nats_up.pause()
    posted = [post(running, number, device=number) for number in range(1, 4)]
    began = time.monotonic()
    assert running.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 6
    nats_up.resume()
    running.start()
    wait_until(lambda: empty(running))
    assert sorted(ids_in_nats(running)) == sorted(posted)


async def test_a_frozen_kafka_that_goes_on_has_one_copy_of_each_and_in_order(
    bridge: Make, kafka_process: KafkaServer
) -> None:
    running = bridge(**spooling(f"kafka://{kafka_process.bootstrap}")).start()
    posted = [await asyncio.to_thread(post, running, 0)]
    kafka_process.pause()
    began = time.monotonic()
    posted += [await asyncio.to_thread(post, running, number) for number in range(1, 20)]
    assert time.monotonic() - began < 7 * DEADLINE_S, "one waited for the broker, and no other of its topic"
    kafka_process.resume()
    await asyncio.to_thread(wait_until, lambda: empty(running))
    stored = await stored_in_kafka(kafka_process.bootstrap, TOPIC)
    found = [json.loads(record.value)["id"] for record in stored]
    assert list(dict.fromkeys(found)) == posted
    extra = counted(running, "records_ambiguous") + counted(running, "broker_records_sent_again")
    assert len(found) - len(posted) <= extra


def test_a_full_spool_is_said_and_refused_and_takes_again_when_it_was_drained(
    bridge: Make, nats_up: NatsServer
) -> None:
    running = bridge(**spooling(nats_up.url, BRIDGE_SPOOL_MAX_BYTES=str(2**24))).start()
    nats_up.kill()
    posted, refused = [], None
    with httpx.Client() as client:
        for number in range(500):
            answer = client.post(running.url, content=body(number, text="x" * 100_000))
            if answer.status_code != 200:
                refused = answer
                break
            posted.append(answer.json()["ids"][0])
    assert refused is not None
    assert (refused.status_code, refused.json()["error"]) == (503, "spool_unavailable")
    state = running.readiness()
    assert state is not None
    assert not state["ready"]
    assert state["sources"]["chatlevel"]["seconds_until_first_loss"] == pytest.approx(3990, abs=10)
    nats_up.start()
    wait_until(lambda: empty(running))
    posted.append(post(running, 6000))
    assert ids_in_nats(running) == posted
    after = running.readiness()
    assert after is not None
    assert after["sources"]["chatlevel"]["seconds_until_first_loss"] is None


def test_the_spool_of_a_stopped_instance_is_emptied_by_drain(bridge: Make, nats_up: NatsServer) -> None:
    running = bridge(**spooling(nats_up.url)).start()
    nats_up.kill()
    posted = [post(running, number) for number in range(5)]
    refused = running.cli("drain")
    assert refused.returncode == 2
    assert "in use by another bridge" in refused.stderr
    assert "which drains its spool itself while it runs" in refused.stderr
    assert running.stop() == 0
    waited = running.cli("drain", "--timeout", "0.5")
    assert (waited.returncode, waited.stdout) == (1, "0 published from the spool, 5 left.\n")
    assert "cannot connect" in waited.stderr or "broker" in waited.stderr
    nats_up.start()
    drained = running.cli("drain")
    assert (drained.returncode, drained.stdout) == (0, "5 published from the spool, 0 left.\n"), drained.stderr
    assert ids_in_nats(running) == posted
    assert running.cli("drain").stdout == "0 published from the spool, 0 left.\n"


def test_a_data_directory_without_a_spool_is_no_empty_one_to_drain(tmp_path: Path) -> None:
    misspelt = tmp_path / "dta"
    result = run_here("drain", env={"BRIDGE_DATA_DIR": str(misspelt), "BRIDGE_BROKER": "nats://127.0.0.1:1"})
    assert result.exit_code == 2, result.output
    expected = f"BRIDGE_DATA_DIR: {misspelt} has no spool; expected the data directory of the instance that was stopped"
    assert expected in result.output
    assert not misspelt.exists()


async def test_a_record_that_is_refused_when_the_spool_is_drained_becomes_a_dead_letter_and_its_lane_goes_on(
    bridge: Make, kafka_process: KafkaServer
) -> None:
    running = bridge(**spooling(f"kafka://{kafka_process.bootstrap}")).start()
    posted = [await asyncio.to_thread(post, running, 0)]
    kafka_process.kill()
    for number, text in ((1, "small"), (2, "x" * 20_000), (3, "small")):
        answer = await asyncio.to_thread(running.post, body(number, text=text))
        assert answer.status_code == 200
        posted += answer.json()["ids"]
    assert await asyncio.to_thread(running.stop) == 0
    await asyncio.to_thread(kafka_process.start)
    async with KafkaOperator(kafka_process.bootstrap) as operator:
        async with asyncio.timeout(20):
            while True:  # a broker that has just come back does not know its topics yet
                with contextlib.suppress(UnknownTopicOrPartitionError):
                    await operator.alter_topic(TOPIC, {"max.message.bytes": "5000"})
                    break
                await asyncio.sleep(0.2)
    await asyncio.to_thread(running.start)
    await asyncio.to_thread(wait_until, lambda: empty(running))
    stored = await stored_in_kafka(kafka_process.bootstrap, TOPIC)
    assert [json.loads(record.value)["id"] for record in stored] == [posted[0], posted[1], posted[3]]
    (letter,) = await stored_in_kafka(kafka_process.bootstrap, "bridge.dead-letter")
    assert json.loads(letter.value)["id"] == posted[2]
    assert counted(running, "dead_letters") == 1


async def test_a_lane_that_is_busy_catches_up_though_each_acknowledgement_takes_its_time(
    bridge: Make, nats_up: NatsServer
) -> None:
    """One row a round trip would drain 50 a second here, while more than that come in."""
    async with Proxy(int(nats_up.url.rpartition(":")[2])) as proxy:
        proxy.down.delay_s = 0.02
        running = await asyncio.to_thread(bridge(**spooling(proxy.url)).start)
        proxy.blackhole()
        for number in range(300):
            await asyncio.to_thread(post, running, number)
        proxy.heal()
        number, rows = 300, 300
        while rows > 50:
            await asyncio.gather(*(asyncio.to_thread(post, running, number + one) for one in range(4)))
            number += 4
            rows = (await asyncio.to_thread(spool, running))["rows"]
            assert number < 2000, f"{rows} rows: it grows, or stays as it is"


def test_events_in_a_spool_that_was_turned_off_are_not_forgotten(bridge: Make, nats_up: NatsServer) -> None:
    running = bridge(**spooling(nats_up.url)).start()
    nats_up.kill()
    for number in range(3):
        post(running, number)
    assert running.stop() == 0
    nats_up.start()
    running.env["BRIDGE_SPOOL"] = "off"
    warned = "holds about 3 events that were answered with success"
    assert warned in " ".join(running.cli("check").stdout.split())
    running.start()
    assert warned in running.log.read_text()


def test_two_bridges_on_one_spool_are_refused(bridge: Make, nats_up: NatsServer) -> None:
    running = bridge(**spooling(nats_up.url)).start()
    second = bridge(**spooling(nats_up.url, BRIDGE_DATA_DIR=str(running.data_dir)))
    ended = second.cli("serve")
    assert ended.returncode == 2
    assert "BRIDGE_DATA_DIR" in ended.stderr
    assert "in use by another bridge" in ended.stderr
