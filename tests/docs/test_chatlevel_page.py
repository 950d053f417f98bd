"""docs/chatlevel.md: its commands do what it says, but for those that need the internet or a cluster."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from bridge.config import load
from tests.generated import ROOT
from tests.processes import TOKEN, BridgeProcess
from tests.provider_apis import ChatlevelApi, serving

PAGE = (ROOT / "docs" / "chatlevel.md").read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
KEY = "sk_test-7f3a9c1e"
PRODUCTION = "canary-of-the-cluster-2460"
REGISTERED = "test_the_webhook_is_registered_by_the_api"
IN_PRODUCTION = "test_the_production_url_is_registered_in_place_of_the_tunnels"

RUN_BY = {
    "make run": "tests/fresh.sh",
    ".venv/bin/webhook-bridge send": "test_send_and_tail_find_url_and_token_by_themselves",
    ".venv/bin/webhook-bridge tail --all": "test_the_first_five_minutes",
    "ngrok http 8080": "needs the internet",
    "cloudflared tunnel --url http://127.0.0.1:8080": "needs the internet",
    "export BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL=https://example.ngrok.app": "test_the_printed_url_is_the_public_one",
    "export BRIDGE_SOURCE_CHATLEVEL_API_TOKEN_FILE=./chatlevel-key": REGISTERED,
    ".venv/bin/webhook-bridge register chatlevel --list": REGISTERED,
    ".venv/bin/webhook-bridge register chatlevel 480213 --dry-run": REGISTERED,
    ".venv/bin/webhook-bridge register chatlevel 480213 --events all": REGISTERED,
    '.venv/bin/webhook-bridge selftest --url "$BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL"': (
        "test_the_commands_of_step_three_show_what_was_posted"
    ),
    ".venv/bin/webhook-bridge send --list": "test_the_commands_of_step_three_show_what_was_posted",
    ".venv/bin/webhook-bridge tail 'connection.*' --since 15m": "test_the_commands_of_step_three_show_what_was_posted",
    "kubectl create namespace hooks": "needs a cluster with nodes; as in docs/kubernetes.md",
    "kubectl create secret generic webhook-bridge -n hooks --from-literal=chatlevel-token="
    '"$(openssl rand -hex 32)"': "needs a cluster with nodes; as in docs/kubernetes.md",
    "helm install bridge helm/webhook-bridge -n hooks -f values.yaml": "test_install_upgrade_and_rollback",
    'export BRIDGE_SOURCE_CHATLEVEL_TOKEN="$(kubectl get secret webhook-bridge -n hooks '
    "-o jsonpath='{.data.chatlevel-token}' | base64 -d)\"": "needs a cluster with nodes; as in docs/kubernetes.md",
    "export BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL=https://hooks.example.com": IN_PRODUCTION,
    '.venv/bin/webhook-bridge send --url "$BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL/webhooks/chatlevel/'
    '$BRIDGE_SOURCE_CHATLEVEL_TOKEN"': "test_the_commands_of_step_three_show_what_was_posted",
    ".venv/bin/webhook-bridge register chatlevel 480213 --yes": IN_PRODUCTION,
}


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
    come_through, names, tail = step(3)[0]
    (post,) = (line for line in step(5)[0] if " send --url " in line)
    assert running.cli("send", "connection.open").returncode == 0
    # no https here: what stands for the tunnel is not in the bridge's own settings
    address = f"address=http://127.0.0.1:{running.port}"
    script = "\n".join([address, come_through, post, names, f"{tail} --count 1"])
    shown = shell(script.replace("BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL", "address"), tmp_path, **running.env)
    assert shown.returncode == 0, shown.stderr
    assert "came through to events.chatlevel.message.received" in shown.stdout
    assert "connection.logout\n" in shown.stdout
    assert "events.chatlevel.connection.open" in shown.stdout


def test_the_printed_url_is_the_public_one() -> None:
    from bridge.cli.urls import webhook_url  # noqa: PLC0415 -- one test needs it

    line = next(line for line in LINES if line.startswith("export BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL="))
    name, _, value = line.removeprefix("export ").partition("=")
    config = load({name: value, "BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN})
    assert webhook_url(config, config.sources[0]) == f"https://example.ngrok.app/webhooks/chatlevel/{TOKEN}"


@pytest.fixture
def api() -> Iterator[ChatlevelApi]:
    with serving(ChatlevelApi(KEY, {"id": 480213, "name": "shop", "webhookEvents": ["message.received"]})) as server:
        yield server


def step(number: int) -> tuple[list[str], str]:
    """The shell lines of a step, and its text."""
    text = PAGE.split("\n## ")[number]
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()], text


def register_at(api: ChatlevelApi, lines: Iterable[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    here = "\n".join(line for line in lines if line.startswith("export BRIDGE_") or " register " in line)
    return shell(here.replace(" register ", f" register --api {api.url} "), folder, PATH="/usr/bin:/bin", **env)


def test_the_webhook_is_registered_by_the_api(api: ChatlevelApi, tmp_path: Path) -> None:
    (tmp_path / "chatlevel-key").write_text(f"{KEY}\n")
    lines, text = step(2)
    done = register_at(api, lines, tmp_path, BRIDGE_SOURCE_CHATLEVEL_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    (shown,) = re.findall(r"```\n(device.*?)```", text, re.DOTALL)
    assert done.stdout.endswith(shown)
    assert api.devices[480213]["webhookUrl"] == f"https://example.ngrok.app/webhooks/chatlevel/{TOKEN}"
    assert len(api.writes) == 1


def test_the_production_url_is_registered_in_place_of_the_tunnels(api: ChatlevelApi, tmp_path: Path) -> None:
    api.devices[480213]["webhookUrl"] = f"https://example.ngrok.app/webhooks/chatlevel/{TOKEN}"
    lines = [line for line in step(5)[0] if "kubectl" not in line]
    env = {"BRIDGE_SOURCE_CHATLEVEL_TOKEN": PRODUCTION, "BRIDGE_SOURCE_CHATLEVEL_API_TOKEN": KEY}
    done = register_at(api, lines, tmp_path, **env)
    assert done.returncode == 0, done.stderr
    assert api.devices[480213]["webhookUrl"] == f"https://hooks.example.com/webhooks/chatlevel/{PRODUCTION}"
