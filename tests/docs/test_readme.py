"""The README says what is so, and every command in it is run by a test."""

import hmac
import re
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.providers import PROVIDERS
from tests.conftest import KafkaSpace
from tests.docs.consumers import consumes, reading_from
from tests.generated import ROOT, examples, files
from tests.processes import BridgeProcess, on_kafka, run_here
from tests.provider_apis import ApiServer, ChatlevelApi, GitHubApi, TelegramApi, serving

README = (ROOT / "README.md").read_text()

# Each command of the README and the test that runs it.
RUN_BY = {
    "docker run --read-only -p 8080:8080 -e BRIDGE_BROKER=nats://nats:4222 -e BRIDGE_SOURCE_CHATLEVEL_TOKEN "
    "webhook-bridge": "test_a_webhook_reaches_a_broker_from_inside_the_image_with_a_read_only_root",
    "kcat -b 127.0.0.1:9092 -C -e -t events.chatlevel.message.received -f '%k %h %s\\n'": (
        "test_kcat_reads_key_headers_and_value_of_what_the_bridge_published"
    ),
    "mkdir -p secrets && openssl rand -hex 32 > secrets/chatlevel-token": "test_the_secret_of_the_readme_is_a_token",
    "docker compose --profile nats up --build --wait": "test_an_event_reaches_the_nats_of_the_file",
    "docker compose --profile kafka up --build --wait": "test_an_event_reaches_the_kafka_of_the_file",
    "make run": "tests/fresh.sh, and tests/e2e/test_cli.py runs what it runs",
    "make test": "CI",
    ".venv/bin/webhook-bridge send": "test_send_and_tail_find_url_and_token_by_themselves",
    ".venv/bin/webhook-bridge send connection.open": "test_the_first_five_minutes",
    ".venv/bin/webhook-bridge tail --all": "test_the_first_five_minutes",
    "BRIDGE_BROKER=nats://127.0.0.1:4333 BRIDGE_PROVISION=create .venv/bin/webhook-bridge serve": (
        "test_a_broker_that_comes_late_makes_503_then_200_without_a_restart"
    ),
    "BRIDGE_BROKER=kafka://127.0.0.1:9092 BRIDGE_PROVISION=create .venv/bin/webhook-bridge serve": (
        "test_a_kafka_that_comes_late_makes_503_then_200_without_a_restart"
    ),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_generated_files_are_fresh() -> None:
    for path, content in files().items():
        assert path.read_bytes() == content, f"{path} is stale: make gen"


def test_every_command_is_run_by_a_test() -> None:
    commands = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    assert set(commands) - {""} == set(RUN_BY) | {example.line for example in examples()}
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in RUN_BY.values():
        assert not name.startswith("test_") or f"def {name}(" in tests


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_first_five_minutes(bridge: Callable[..., BridgeProcess]) -> None:
    running = bridge().start()
    assert running.cli("send", "connection.open").returncode == 0
    shown = running.cli("tail", "--all", "--count", "1").stdout
    assert "events.chatlevel.connection.open" in shown


@pytest.fixture
def apis() -> Iterator[dict[str, ApiServer]]:
    """Those that webhooks are registered by, with the credential `1:key`."""
    with (
        serving(ChatlevelApi("1:key", {"id": 480213})) as chatlevel,
        serving(GitHubApi("1:key", "acme/shop", "acme")) as github,
        serving(TelegramApi("1:key")) as telegram,
    ):
        yield {"chatlevel": chatlevel, "github": github, "telegram": telegram}


def test_every_example_of_the_help_runs(
    bridge: Callable[..., BridgeProcess], apis: dict[str, ApiServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a-secret-of-this-test"
    sources = {"BRIDGE_SOURCES": "chatlevel,github", "BRIDGE_SOURCE_GITHUB_SECRET": secret}
    running = bridge(**sources, BRIDGE_RAW_TOPIC="bridge.raw").start()
    more = {"BRIDGE_SOURCES": "chatlevel,github,telegram", "BRIDGE_SOURCE_TELEGRAM_SECRET": secret}
    for source in apis:
        more[f"BRIDGE_SOURCE_{source.upper()}_PUBLIC_URL"] = "https://hooks.example.com"
        more[f"BRIDGE_SOURCE_{source.upper()}_API_TOKEN"] = "1:key"
    monkeypatch.chdir(tmp_path)
    signature = hmac.digest(secret.encode(), b"{}", "sha256").hex()
    head = f"POST /webhooks/github HTTP/1.1\nX-GitHub-Event: push\nX-Hub-Signature-256: sha256={signature}\n\n{{}}"
    (tmp_path / "captured.http").write_text(head)
    (tmp_path / "body.json").write_bytes(PROVIDERS["chatlevel"].sample("call", now=datetime.now(UTC)))
    (tmp_path / "stopped" / "spool").mkdir(parents=True)
    for example in examples():
        program, *arguments = shlex.split(example.line.partition("|")[0])
        assert program == "webhook-bridge"
        if arguments[0] == "tail" and "--count" not in arguments:
            arguments += ["--count", "1", *([] if "--since" in arguments else ["--all"])]  # else it follows for ever
        # `drain` is for an instance that was stopped
        stopped = {"BRIDGE_DATA_DIR": str(tmp_path / "stopped"), "BRIDGE_BROKER": running.nats_url}
        env = {"drain": stopped, "register": more}.get(arguments[0], {})
        if arguments[0] == "register":
            arguments += ["--api", apis[arguments[1]].url]
        result = run_here(*arguments, env=running.env | env)
        assert result.exit_code == 0, f"{example.line}: {result.output}"


def test_the_nats_consumer_of_the_readme_consumes(bridge: Callable[..., BridgeProcess]) -> None:
    running = bridge().start()
    code, _kafka = blocks("python")
    assert "nats://127.0.0.1:4222" in code
    consumes(code.replace("nats://127.0.0.1:4222", running.nats_url), running)


def test_the_kafka_consumer_of_the_readme_consumes(
    bridge: Callable[..., BridgeProcess], kafka_space: KafkaSpace
) -> None:
    running = on_kafka(bridge, kafka_space)
    _nats, code = blocks("python")
    consumes(reading_from(kafka_space, code), running)


def test_the_makefile_has_what_design_and_ci_call() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("run", "test", "check", "gen", "fresh", "lint", "types"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "make check" in (ROOT / ".ci" / "run").read_text()


def test_every_dependency_is_pinned_with_hashes_and_no_index_is_named() -> None:
    for name in ("run", "dev"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        entries = re.split(r"\n(?=\S)", text)
        for entry in entries:
            assert entry.startswith(("#", " ")) or "--hash=sha256:" in entry, entry.splitlines()[0]
        assert "index-url" not in text
        assert "://" not in text


def test_every_direct_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    lines = [line.strip() for line in section.splitlines()[1:] if line.strip().startswith(('"', "#"))]
    for before, line in zip(["", *lines], lines, strict=False):
        assert line.startswith("#") or " # " in line or before.startswith("#"), line
