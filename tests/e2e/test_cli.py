"""The commands as typed."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bridge.cli.main import COMMANDS
from bridge.providers import PROVIDERS
from tests.processes import TOKEN, BridgeProcess, run_here, wait_until

Make = Callable[..., BridgeProcess]


def test_help_names_every_command_and_each_has_its_own(bridge: Make) -> None:
    cli = bridge().cli
    text = cli("--help").stdout
    for command in COMMANDS:
        assert command in text
        assert run_here(command, "--help", env={}).exit_code == 0
    assert cli("--version").stdout.startswith("webhook-bridge, version ")


def test_wrong_usage_exits_2(bridge: Make) -> None:
    running = bridge()
    assert running.cli("nonsense").returncode == 2
    assert running.cli("send", "no.such.event").returncode == 2
    assert running.cli("send", "--source", "nobody").returncode == 2


def test_all_configuration_problems_come_at_once_by_name(bridge: Make) -> None:
    broken = bridge(BRIDGE_LISTEN="nowhere", BRIDGE_MAX_IN_FLIGHT="0", BRIDGE_LISTENN="x", BRIDGE_LOG_LEVEL="loud")
    result = broken.cli("serve")
    assert result.returncode == 2
    for name in ("BRIDGE_LISTEN:", "BRIDGE_MAX_IN_FLIGHT:", "BRIDGE_LISTENN:", "BRIDGE_LOG_LEVEL:"):
        assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_send_and_tail_find_url_and_token_by_themselves(bridge: Make) -> None:
    running = bridge()
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]  # one is made and kept
    running.start()
    sent = running.cli("send")
    assert sent.returncode == 0
    assert sent.stdout.startswith("200 message.received")
    event_id = json.loads(sent.stdout.splitlines()[1])["ids"][0]
    shown = running.cli("tail", "message.*", "--all", "--count", "1").stdout
    assert "events.chatlevel.message.received" in shown
    assert event_id in shown
    assert "Bom dia!" in shown


def test_send_takes_a_file_and_standard_input(bridge: Make, tmp_path: Path) -> None:
    running = bridge(BRIDGE_DEAD_LETTER_TOPIC="").start()
    body = b'{"event":"connection.closed","deviceId":7,"data":{},"timestamp":"2026-03-02T08:00:00Z"}'
    (tmp_path / "body.json").write_bytes(body)
    first = running.cli("send", str(tmp_path / "body.json"))
    second = running.cli("send", "-", stdin=body)
    assert first.returncode == second.returncode == 0
    assert first.stdout.splitlines()[1] == second.stdout.splitlines()[1]
    assert len(running.stored()) == 1
    refused = running.cli("send", "-", stdin=b"{")
    assert refused.returncode == 1
    assert "undecodable" in refused.stdout


def test_send_without_a_bridge_says_so_and_exits_1(bridge: Make) -> None:
    result = bridge().cli("send")
    assert result.returncode == 1
    assert "webhook-bridge serve" in result.stderr
    assert TOKEN not in result.stderr


def test_send_lists_what_it_can_make_up(bridge: Make) -> None:
    assert bridge().cli("send", "--list").stdout.split()[0] == "message.received"


def test_tail_hides_credentials_unless_told(bridge: Make) -> None:
    running = bridge().start()
    assert running.cli("send", "connection.auth").returncode == 0
    hidden = running.cli("tail", "--all", "--count", "1").stdout
    assert "base64" not in hidden
    assert "hidden" in hidden
    renamed = b'{"event":"connection.pairing","deviceId":7,"data":{"qrText":"sesame","pairing":{"code":"sesame"}}}'
    assert running.cli("send", "-", stdin=renamed).returncode == 0
    assert "sesame" not in running.cli("tail", "--all", "--count", "2").stdout
    assert "base64" in running.cli("tail", "--all", "--count", "1", "--show-credentials").stdout


def test_tail_ends_quietly_when_its_reader_has_seen_enough(bridge: Make) -> None:
    running = bridge().start()
    for _ in range(3):
        assert running.cli("send").returncode == 0
    command = [sys.executable, "-m", "bridge", "tail", "--all", "--count", "3"]
    with subprocess.Popen(command, env=running.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout
        assert tail.stderr
        tail.stdout.close()
        assert tail.stderr.read() == b""
        assert tail.wait(20) == 0


def test_tail_without_a_broker_says_so_and_exits_1(bridge: Make) -> None:
    result = bridge().cli("tail")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "nobody listens" in result.stderr


def start_on_terminal(running: BridgeProcess) -> int:
    """Run `serve` on a terminal of its own; gives back our end of it."""
    controller, terminal = pty.openpty()
    running.process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "serve"],
        env=running.env | {"TERM": "xterm", "COLUMNS": "200"},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    return controller


def test_a_terminal_that_nobody_reads_stalls_nothing(bridge: Make) -> None:
    running = bridge()
    controller = start_on_terminal(running)
    wait_until(running.ready)
    now = datetime.now(UTC)
    with httpx.Client(timeout=5) as client:
        for _ in range(600):  # a terminal holds about 150 lines
            answer = client.post(running.url, content=PROVIDERS["chatlevel"].sample("call", now=now))
            assert answer.status_code == 200
        assert client.get(f"http://127.0.0.1:{running.ops_port}/health/live").status_code == 200
    assert running.stop() == 0
    os.close(controller)


def test_on_a_terminal_serve_prints_the_url_how_to_send_and_each_event(bridge: Make) -> None:
    running = bridge()
    controller = start_on_terminal(running)
    os.set_blocking(controller, False)
    shown = bytearray()

    def screen(text: str) -> bool:
        with contextlib.suppress(BlockingIOError):
            shown.extend(os.read(controller, 65_536))
        return text.encode() in shown

    wait_until(lambda: screen(f"http://127.0.0.1:{running.port}/webhooks/chatlevel/{TOKEN}"))
    wait_until(lambda: screen("send"))
    wait_until(running.ready)
    assert running.cli("send").returncode == 0
    wait_until(lambda: screen("events.chatlevel.message.received"))
    assert b"Bom dia" not in shown
    assert running.stop() == 0
    os.close(controller)
