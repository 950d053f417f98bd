"""docs/chatlevel.md: its commands do what it says, but for those that need the internet or a cluster."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

import pytest

from bridge.config import load
from tests.generated import ROOT
from tests.processes import TOKEN, BridgeProcess
from tests.servers import serving_beside

PAGE = (ROOT / "docs" / "chatlevel.md").read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
KEY = "sk_test-7f3a9c1e"
API_LINES = [line for line in LINES if "webhook.json" in line or "CHATLEVEL_API" in line]

RUN_BY = {
    "make run": "tests/fresh.sh",
    ".venv/bin/webhook-bridge send": "test_send_and_tail_find_url_and_token_by_themselves",
    ".venv/bin/webhook-bridge tail --all": "test_the_first_five_minutes",
    "ngrok http 8080": "needs the internet",
    "cloudflared tunnel --url http://127.0.0.1:8080": "needs the internet",
    "BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL=https://example.ngrok.app make run": "test_the_printed_url_is_the_public_one",
    '.venv/bin/webhook-bridge send --url "$WEBHOOK_URL"': "test_the_commands_of_step_three_show_what_was_posted",
    ".venv/bin/webhook-bridge send --list": "test_the_commands_of_step_three_show_what_was_posted",
    ".venv/bin/webhook-bridge tail 'connection.*' --since 15m": "test_the_commands_of_step_three_show_what_was_posted",
    "kubectl create namespace hooks": "needs a cluster with nodes; as in docs/kubernetes.md",
    "kubectl create secret generic webhook-bridge -n hooks --from-literal=chatlevel-token="
    '"$(openssl rand -hex 32)"': "needs a cluster with nodes; as in docs/kubernetes.md",
    "helm install bridge helm/webhook-bridge -n hooks -f values.yaml": "test_install_upgrade_and_rollback",
} | dict.fromkeys(API_LINES, "test_the_webhook_is_registered_by_the_api")


def shell(script: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run lines of the page, each of which must work."""
    lines = script.replace(".venv/bin/webhook-bridge", f"{sys.executable} -m bridge")
    command = ["bash", "-euo", "pipefail", "-c", lines]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=40, check=False)


def test_every_command_is_run_by_a_test_or_said_not_to_be() -> None:
    assert set(LINES) == set(RUN_BY)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in RUN_BY.values():
        assert not name.startswith("test_") or f"def {name}(" in tests, name


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_the_commands_of_step_three_show_what_was_posted(bridge: Callable[..., BridgeProcess], tmp_path: Path) -> None:
    running = bridge().start()
    step = PAGE[PAGE.index("## 3.") : PAGE.index("## 4.")]
    (block,) = re.findall(r"```sh\n(.*?)```", step, re.DOTALL)
    post, names, tail = block.splitlines()
    assert running.cli("send", "connection.open").returncode == 0
    env = running.env | {"WEBHOOK_URL": running.url}
    shown = shell("\n".join([post, names, f"{tail} --count 1"]), tmp_path, **env)
    assert shown.returncode == 0, shown.stderr
    assert "connection.logout\n" in shown.stdout
    assert "events.chatlevel.connection.open" in shown.stdout


def test_the_printed_url_is_the_public_one() -> None:
    from bridge.cli.urls import webhook_url  # noqa: PLC0415 -- one test needs it

    (line,) = (line for line in LINES if line.startswith("BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL="))
    name, _, value = line.partition(" ")[0].partition("=")
    config = load({name: value, "BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN})
    assert webhook_url(config, config.sources[0]) == f"https://example.ngrok.app/webhooks/chatlevel/{TOKEN}"


class _Device(BaseHTTPRequestHandler):
    """GET and PUT /v1/devices/480213 as they are documented."""

    server: Any

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        if self.headers["content-type"] == "application/json":
            self.server.device |= json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer()

    def _answer(self) -> None:
        known = self.headers["authorization"] == f"Bearer {KEY}" and self.path == "/v1/devices/480213"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(self.server.device if known else {"status": {"code": 401}}).encode())

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Any]:
    server = ThreadingTCPServer(("127.0.0.1", 0), _Device)
    server.device = {"name": "shop"}  # type: ignore[attr-defined]
    with serving_beside(server):
        yield server


@pytest.mark.system  # for curl
def test_the_webhook_is_registered_by_the_api(api: Any, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{api.server_address[1]}/v1"
    script = "\n".join(API_LINES).replace("https://api.chatlevel.io/v1", address)
    url = "https://example.ngrok.app/webhooks/chatlevel/" + TOKEN
    env = {"PATH": "/usr/bin:/bin", "WEBHOOK_URL": url}
    done = shell(script, tmp_path, **env, CHATLEVEL_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == json.dumps({"name": "shop"}) + json.dumps({"name": "shop", "webhookUrl": url})
    assert not list(tmp_path.iterdir())
    assert shell(script, tmp_path, **env, CHATLEVEL_API_KEY="sk_other").returncode != 0
