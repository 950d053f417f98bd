"""examples/pairing-monitor: who may see a code sees it while it is of use, and nobody else ever."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import nats
import pytest

from tests.examples.conftest import EXAMPLES, Example
from tests.examples.modules import load
from tests.examples.pairing import PNG, Monitor, auth
from tests.processes import BridgeProcess, wait_until
from tests.servers import free_ports

PROGRAM = EXAMPLES / "pairing-monitor" / "pairing_monitor.py"


@pytest.fixture
def monitor(running: BridgeProcess, example: Callable[..., Example], tmp_path: Path) -> Monitor:
    return Monitor(running, example, tmp_path)


def test_a_viewer_sees_the_code_of_a_device_that_is_theirs_until_it_is_paired(monitor: Monitor) -> None:
    token = monitor.add_viewer("ana", "480213")
    monitor.start()
    assert monitor.ask("480213", token).json() == {}
    monitor.post(auth(480213, qrCode=PNG, pairingCode="ABCD-1234"))
    code = wait_until(lambda: monitor.ask("480213", token).json())
    assert 0 < code.pop("expires_in_ms") <= 60_000
    assert code == {"qr": PNG, "pairing": "ABCD-1234"}
    monitor.post(auth(480213, event="connection.open"))
    wait_until(lambda: monitor.ask("480213", token).json() == {})


def test_nobody_else_sees_it_and_no_answer_is_kept_or_framed(monitor: Monitor) -> None:
    token, other = monitor.add_viewer("ana", "480213"), monitor.add_viewer("bo", "7")
    monitor.post(auth(480213, qrCode=PNG))
    said = monitor.start()
    wait_until(lambda: monitor.ask("480213", token).json())
    answers = {
        "other": monitor.ask("480213", other),
        "none": httpx.get(f"{monitor.url}/codes/480213"),
        "basic": httpx.get(f"{monitor.url}/codes/480213", headers={"authorization": f"Basic {token}"}),
        "in the URL": httpx.get(f"{monitor.url}/codes/480213", params={"token": token}),
        "wrong": monitor.ask("480213", token[:-1]),
        "page": httpx.get(f"{monitor.url}/"),
    }
    assert [answer.status_code for answer in answers.values()] == [403, 401, 401, 401, 401, 200]
    for answer in answers.values():
        assert PNG not in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert token not in monitor.viewers.read_text()
    assert monitor.viewers.stat().st_mode & 0o077 == 0
    written = json.loads(monitor.viewers.read_text())
    del written["ana"]
    monitor.viewers.write_text(json.dumps(written))
    assert monitor.ask("480213", token).status_code == 401
    assert PNG not in said.log.read_text()
    assert token not in said.log.read_text()


def test_the_page_is_given_no_address_to_load_from_elsewhere(monitor: Monitor) -> None:
    token = monitor.add_viewer("ana", "*")
    monitor.start()
    monitor.post(auth(2, qrCode="https://example.com/x.png", pairingCode="EFGH-5678"))
    code = wait_until(lambda: monitor.ask("2", token).json())
    assert (code["qr"], code["pairing"]) == (None, "EFGH-5678")


async def test_a_broker_that_forgot_the_monitor_is_asked_again(monitor: Monitor, running: BridgeProcess) -> None:
    token = monitor.add_viewer("ana", "*")
    monitor.start()
    monitor.post(auth(1, pairingCode="ABCD-1234"))
    wait_until(lambda: monitor.ask("1", token).json())
    client = await nats.connect(running.nats_url, allow_reconnect=False)
    (consumer,) = await client.jetstream().consumers_info("EVENTS")
    await client.jetstream().delete_consumer("EVENTS", consumer.name)  # as a broker that is started again
    await client.close()
    monitor.post(auth(1, pairingCode="EFGH-5678"))
    wait_until(lambda: monitor.ask("1", token).json().get("pairing") == "EFGH-5678")


def test_a_code_is_gone_when_it_expires_and_late_events_change_nothing() -> None:
    program = load(PROGRAM)
    codes = program.Codes()
    now = datetime.now(UTC)

    def event(kind: str, at: datetime, expires: datetime | None = None, **data: str) -> object:
        struct = getattr(program.messaging, kind)(device_id="1", **data)
        fixed = {
            "expirytime": expires,
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "partitionkey": "1",
            "id": "1",
        }
        return program.CloudEvent(
            **fixed, source="/a", type="t", time=at, recordedtime=now, dataschema="urn:x", data=struct
        )

    codes.take(event("ConnectionOpen", now))
    codes.take(event("ConnectionAuth", now - timedelta(seconds=5), pairing_code="late"))
    assert codes.current("1", now) == {}
    soon = now + timedelta(seconds=10)
    codes.take(event("ConnectionAuth", now, expires=soon, pairing_code="brief"))
    assert codes.current("1", soon - timedelta(seconds=1))["pairing"] == "brief"
    assert codes.current("1", soon) == {}
    codes.take(event("ConnectionAuth", now, pairing_code="new"))
    assert codes.current("1", now)["pairing"] == "new"
    assert codes.current("1", now + timedelta(seconds=60)) == {}, "no later than a minute after the bridge had it"


def test_the_first_start_makes_a_viewer_and_prints_the_token_once(monitor: Monitor) -> None:
    first = monitor.start()
    (token,) = re.findall(r"^token of me: (\S{43})$", first.log.read_text(), re.MULTILINE)
    assert monitor.ask("480213", token).json() == {}
    first.end()
    assert "token of" not in monitor.start().log.read_text()


def test_it_can_be_ended_while_the_broker_is_waited_for(monitor: Monitor, example: Callable[..., Example]) -> None:
    monitor.add_viewer("ana", "480213")
    (nobody,) = free_ports(1)
    waiting = example(
        "pairing-monitor", monitor.running, VIEWERS=str(monitor.viewers), NATS_URL=f"nats://127.0.0.1:{nobody}"
    )
    waiting.says("the broker: ")
    waiting.end()
