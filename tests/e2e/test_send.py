"""`send` at a rate, from files and lines, and with the provider's retries; on a bridge and broker of its own."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.brokers import NatsServer
from tests.e2e.test_dedup import counted
from tests.processes import TOKEN, BridgeProcess, run_here, wait_until
from tests.servers import free_ports

Make = Callable[..., BridgeProcess]


def body(device: int) -> bytes:
    return b'{"event":"connection.closed","deviceId":%d,"data":{},"timestamp":"2026-03-02T08:00:00Z"}' % device


def test_a_rate_for_a_duration_stores_each_event_and_sums_up(bridge: Make) -> None:
    running = bridge().start()
    shown = run_here("send", "--rate", "40", "--duration", "1", env=running.env)
    assert shown.exit_code == 0
    assert shown.stderr == "", "a progress bar is for terminals"
    assert "40 sent in" in shown.stdout
    assert "40 accepted, 0 failed, 0 retries" in shown.stdout
    assert "p99" in shown.stdout
    report = json.loads(
        run_here(
            "send", "call", "connection.open", "--count", "20", "--concurrency", "4", "--json", env=running.env
        ).stdout
    )
    assert report["accepted"] == report["sent"] == 20
    assert report["answers"] == [{"status": 200, "error": None, "count": 20, "detail": None}]
    assert list(report["latency_ms"]) == ["p50", "p90", "p99", "max"]
    topics = [message.subject.removeprefix("events.chatlevel.") for message in running.stored()]
    assert topics.count("message.received") == 40
    assert topics.count("call") == topics.count("connection.open") == 10


def test_files_folders_and_lines_are_posted_once_each(bridge: Make, tmp_path: Path) -> None:
    running = bridge().start()
    folder = tmp_path / "bodies"
    folder.mkdir()
    (folder / "a.json").write_bytes(body(1))
    (folder / "b.json").write_bytes(body(2))
    (folder / ".hidden").write_bytes(b"{")
    of_folder = run_here("send", str(folder), env=running.env)
    assert of_folder.exit_code == 0
    assert "a.json" in of_folder.stdout
    assert "2 sent" in of_folder.stdout
    lines = b"\n".join([body(3), b"", body(1)])
    of_lines = run_here("send", "-", "--lines", "--json", env=running.env, stdin=lines)
    assert json.loads(of_lines.stdout)["accepted"] == 2
    assert len(json.loads(of_lines.stdout)["ids"]) == 2
    assert [json.loads(message.data)["partitionkey"] for message in running.stored()] == ["1", "2", "3"]


def test_one_that_fails_for_good_exits_1_and_is_named(bridge: Make) -> None:
    running = bridge(BRIDGE_DEAD_LETTER_TOPIC="").start()
    result = run_here("send", "-", "--lines", env=running.env, stdin=body(1) + b"\n{\n")
    assert result.exit_code == 1
    assert "undecodable" in result.stdout
    assert "1 accepted, 1 failed" in result.stdout


def test_retries_on_the_providers_schedule_bring_the_event_through_an_outage_once(
    bridge: Make, nats_process: NatsServer
) -> None:
    running = bridge(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create").start(ready=False)

    def start_late() -> None:
        wait_until(lambda: counted(running, "deliveries", outcome="broker_unavailable"))
        nats_process.start()

    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start_late)
        result = run_here("send", "--retry-speed", "20", "--json", env=running.env)  # 1.5, 3, 15 and 180 s
        starting.result()
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["sent"], report["accepted"], report["failed"]) == (1, 1, 0)
    assert report["retries"] >= 1
    assert {answer["error"] for answer in report["answers"]} == {None, "broker_unavailable"}
    wait_until(running.ready)
    assert [json.loads(message.data)["id"] for message in running.stored()] == report["ids"]


def test_on_a_terminal_there_is_a_bar_and_ctrl_c_ends_with_the_summary(bridge: Make) -> None:
    running = bridge().start()
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "bridge", "send", "--rate", "50", "--duration", "60"]
    environment = running.env | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=terminal, text=True) as sending:
        os.close(terminal)
        os.set_blocking(controller, False)
        screen = bytearray()

        def shown() -> bool:
            with contextlib.suppress(BlockingIOError):
                screen.extend(os.read(controller, 65_536))
            return re.search(rb"/3000.*[1-9][0-9]* accepted", screen) is not None

        wait_until(shown)
        sending.send_signal(signal.SIGINT)
        summary, _ = sending.communicate(timeout=15)
        assert sending.returncode == 0
    os.close(controller)
    assert "accepted, 0 failed" in summary
    assert "latency p50" in summary


def test_without_a_token_it_says_who_makes_one_and_makes_none(bridge: Make, tmp_path: Path) -> None:
    fresh = bridge()
    del fresh.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    result = run_here("send", env=fresh.env)
    assert result.exit_code == 1
    assert "there is no token for source 'chatlevel' yet" in result.stderr
    assert "webhook-bridge serve" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments", [("--rate", "5"), ("--count", "0"), ("no.such.event",), ("--source", "nobody"), ("--rate", "0")]
)
def test_wrong_usage_exits_2_before_anything_is_sent(bridge: Make, arguments: tuple[str, ...]) -> None:
    assert run_here("send", *arguments, env=bridge().env).exit_code == 2


def test_the_token_is_not_shown_whatever_happens(bridge: Make) -> None:
    for arguments in (("send",), ("send", "--json"), ("send", "--rate", "5", "--count", "2")):
        result = run_here(*arguments, env=bridge().env)
        assert result.exit_code == 1
        assert "No answer from 127.0.0.1" in result.stderr
        assert TOKEN not in result.output
    (port,) = free_ports(1)
    for base in (f"http://127.0.0.1:{port}", f"http://{TOKEN}@127.0.0.1:{port}"):
        for rest in (f"/webhooks/chatlevel/{TOKEN}", f"/webhooks/chatlevel?token={TOKEN}"):
            result = run_here("send", "--url", base + rest, env=bridge().env)
            assert result.exit_code == 1
            assert f"No answer from http://127.0.0.1:{port}: " in result.stderr
            assert TOKEN not in result.output
    result = run_here("send", "--url", f"http://127.0.0.1:{TOKEN}/", env=bridge().env)
    assert "the URL to post to is none" in result.stderr
    assert TOKEN not in result.output
