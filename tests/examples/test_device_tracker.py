"""examples/device-tracker: states and uptimes, on either broker, whatever comes again or late."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.conftest import KafkaSpace
from tests.examples.conftest import EXAMPLES, Example, pending
from tests.examples.modules import load
from tests.processes import BridgeProcess, on_kafka, wait_until

PROGRAM = EXAMPLES / "device-tracker" / "device_tracker.py"
tracker = load(PROGRAM)
DEVICE = "480213"


def webhook(kind: str, time: str) -> bytes:
    return json.dumps({"event": f"connection.{kind}", "deviceId": int(DEVICE), "data": {}, "timestamp": time}).encode()


def status(database: Path) -> list[dict[str, Any]]:
    asked = [sys.executable, PROGRAM, "status", "--json"]
    shown = subprocess.run(asked, env=os.environ | {"DATABASE": str(database)}, capture_output=True, check=True)
    return [json.loads(line) for line in shown.stdout.splitlines()]


def tracks(running: BridgeProcess, program: Example, database: Path) -> None:
    assert running.post(webhook("open", "2026-03-02T08:00:00.000Z")).status_code == 200
    program.says(f"{DEVICE} online")
    assert running.post(webhook("logout", "2026-03-02T09:00:00.000Z")).status_code == 200
    program.says(f"{DEVICE} logged out")
    assert running.post(webhook("closed", "2026-03-02T08:30:00.000Z")).status_code == 200  # a late one
    program.says(f"{DEVICE} offline")
    (device,) = status(database)
    assert device == {"device": DEVICE, "state": "logged out", "since": "2026-03-02T09:00:00+00:00", "uptime": 0}


def test_devices_are_tracked_from_nats(running: BridgeProcess, example: Callable[..., Example], tmp_path: Path) -> None:
    database = tmp_path / "devices.sqlite"
    tracks(running, example("device-tracker", running, DATABASE=str(database)), database)


def test_devices_are_tracked_from_kafka_and_copies_change_nothing(
    bridge: Callable[..., BridgeProcess], kafka_space: KafkaSpace, example: Callable[..., Example], tmp_path: Path
) -> None:
    running = on_kafka(bridge, kafka_space)
    database = tmp_path / "devices.sqlite"
    own = {"BROKER": f"kafka://{kafka_space.bootstrap}", "TOPIC_PREFIX": kafka_space.topic("connection.")}
    program = example("device-tracker", running, DATABASE=str(database), **own)
    tracks(running, program, database)
    before = status(database)
    running.stop()
    running.start()  # it forgets what it published, and Kafka keeps copies
    assert running.post(webhook("open", "2026-03-02T08:00:00.000Z")).status_code == 200
    program.says(f"{DEVICE} online: came again")
    assert status(database) == before


def test_the_tracker_goes_on_where_it_was_ended(
    running: BridgeProcess, example: Callable[..., Example], tmp_path: Path
) -> None:
    database = str(tmp_path / "devices.sqlite")
    first = example("device-tracker", running, DATABASE=database)
    running.post(webhook("open", "2026-03-03T08:00:00.000Z"))
    first.says(f"{DEVICE} online")
    wait_until(lambda: pending(running) == 0)
    first.end()
    running.post(webhook("closed", "2026-03-03T09:00:00.000Z"))
    said = example("device-tracker", running, DATABASE=database).says(f"{DEVICE} offline")
    assert f"{DEVICE} online" not in said


async def test_what_could_not_be_saved_is_not_acknowledged(
    running: BridgeProcess, example: Callable[..., Example], tmp_path: Path
) -> None:
    path = tmp_path / "devices.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute(tracker.SCHEMA)
        made.execute("create trigger full before insert on changes begin select raise(fail, 'disk full'); end")
    program = example("device-tracker", running, DATABASE=str(path))
    running.post(webhook("open", "2026-03-04T08:00:00.000Z"))  # of its own: the bridge they share knows copies
    program.says("disk full")
    program.end()
    client = await nats.connect(running.nats_url, allow_reconnect=False)
    (consumer,) = await client.jetstream().consumers_info("EVENTS")
    await client.close()
    assert consumer.num_ack_pending == 1


@pytest.fixture
def database() -> Iterator[Any]:
    with closing(tracker.Database(":memory:")) as made:
        yield made


def at(database: Any, kind: str, hour: int, device: str = DEVICE) -> None:
    event = {
        "specversion": "1.0",
        "id": f"{device}-{kind}-{hour}",
        "source": f"/chatlevel/devices/{device}",
        "type": f"messaging.connection.{kind}.v1",
        "time": f"2026-03-02T{hour:02}:00:00Z",
        "recordedtime": "2026-03-02T23:00:00Z",
        "dataschema": f"urn:webhook-bridge:schema:messaging:connection.{kind}:v1.0",
        "datacontenttype": "application/json",
        "partitionkey": device,
        "data": {"device_id": device},
    }
    database.save(json.dumps(event).encode(), None)


NOON = 1772452800.0  # 2026-03-02T12:00:00Z


def test_uptime_is_the_online_part_of_the_window_or_of_the_time_known(database: Any) -> None:
    at(database, "open", 2)
    at(database, "closed", 9)
    at(database, "open", 11)
    at(database, "timeout", 10, device="7")
    at(database, "open", 11, device="7")
    at(database, "closed", 13)  # not yet
    of = {hours: {row["device"]: round(row["uptime"], 3) for row in database.status(hours, NOON)} for hours in (4, 24)}
    assert of == {4: {DEVICE: 0.5, "7": 0.5}, 24: {DEVICE: 0.8, "7": 0.5}}
    assert {row["state"] for row in database.status(24, NOON)} == {"online"}


def test_what_is_no_event_is_put_aside(database: Any) -> None:
    assert database.save(b"{}", None).startswith("put aside: ")
    assert database.save(None, None).startswith("put aside: ")
    assert database.status(24, NOON) == []


def test_the_tracker_asks_for_no_credentials() -> None:
    assert not [topic for topic in tracker.TOPICS if "auth" in topic]
