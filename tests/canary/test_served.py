"""A bridge through good and bad days, with a secret in every place there is. See `tests.canary.watch`."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from bridge.config import load
from tests.brokers import NatsServer, stored
from tests.canary.places import in_files, of_sources, unusual
from tests.canary.senders import Post, posts, raw_request
from tests.canary.watch import WATCH, Watch
from tests.processes import BridgeProcess, run_here, wait_until

Make = Callable[..., BridgeProcess]
PASSWORD, BODY_SECRET, FAULTY_TOKEN = unusual(), unusual(), unusual()
FAULTY = """
from bridge.events.messaging import TYPES
from bridge.providers.base import Provider

class Faulty(Provider):
    name = "faulty"
    event_types = TYPES
    sample_events = ("x",)

    def decoder(self):
        def decode(delivery):
            body, headers, me = delivery.body, dict(delivery.headers), self
            raise RuntimeError("a fault in somebody's code")
        return decode

    def sample(self, event, *, now):
        return b"{}"
"""


def login(password: str) -> str:
    return f'authorization {{ user: bridge, password: "{password}" }}'


def install_faulty(folder: Path) -> None:
    """A provider of another package, whose code raises with a delivery among its locals."""
    (folder / "faulty.dist-info").mkdir(parents=True)
    (folder / "faulty_provider.py").write_text(FAULTY)
    (folder / "faulty.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    entry = "[webhook_bridge.providers]\nfaulty = faulty_provider:Faulty\n"
    (folder / "faulty.dist-info" / "entry_points.txt").write_text(entry)


@pytest.fixture
def served(bridge: Make, nats_process: NatsServer, tmp_path: Path) -> BridgeProcess:
    """With a source of each provider, one of which has a fault, and a broker that asks for a password."""
    install_faulty(tmp_path / "site")
    nats_process.restart(login(PASSWORD))
    given = of_sources()
    given |= {
        "BRIDGE_NATS_USER": "bridge",
        "BRIDGE_NATS_PASSWORD": PASSWORD,
        "BRIDGE_SOURCE_FAULTY_TOKEN": FAULTY_TOKEN,
    }
    given["BRIDGE_SOURCES"] += ",faulty"
    WATCH.given_in(given)
    running = bridge(
        **in_files(given, tmp_path),
        BRIDGE_BROKER=nats_process.url,
        BRIDGE_PROVISION="create",
        BRIDGE_SPOOL="on",
        BRIDGE_RAW_TOPIC="bridge.raw",
        BRIDGE_LOG_LEVEL="debug",
        PYTHONPATH=str(tmp_path / "site"),
    )
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    return running.start()


def without_faulty(served: BridgeProcess) -> dict[str, str]:
    """The settings as this process can read them."""
    env = {name: text for name, text in served.env.items() if not name.startswith("BRIDGE_SOURCE_FAULTY")}
    return env | {"BRIDGE_SOURCES": env["BRIDGE_SOURCES"].removesuffix(",faulty")}


def all_posts(served: BridgeProcess) -> list[Post]:
    """Those of every source."""
    config = load(without_faulty(served))
    return [post for source in config.sources for post in posts(config, source, BODY_SECRET)]


def ask_ops(served: BridgeProcess, client: httpx.Client) -> str:
    """All that the ops port says."""
    paths = ("/health/live", "/health/ready", "/metrics", "/asyncapi.json", "/", f"/{unusual()}")
    return "".join(client.get(f"{served.ops_url}{path}").text for path in paths)


def reasons(served: BridgeProcess) -> str:
    return str((served.readiness() or {}).get("broker"))


def test_in_good_and_bad_days_no_secret_leaves_its_place(
    served: BridgeProcess, nats_process: NatsServer, tmp_path: Path
) -> None:
    said = []  # that must not have what a provider's code takes out of a body
    env = without_faulty(served)
    with httpx.Client(timeout=10) as client:
        # the broker is there
        sent = all_posts(served)
        for post in sent:
            answer = post.send(client)
            said.append(f"{answer.headers} {answer.text}")
            assert answer.status_code == post.status, (post.what, post.url.split("/")[4], answer.text)
        faulty = f"http://127.0.0.1:{served.port}/webhooks/faulty/{FAULTY_TOKEN}"
        answer = client.post(faulty, headers={"cookie": PASSWORD}, content=BODY_SECRET)
        assert (answer.status_code, answer.json()["error"]) == (503, "internal_error")
        said += [answer.text, ask_ops(served, client)]

        # it is away, then it refuses the login: what comes is spooled
        nats_process.stop()
        for post in [post for post in all_posts(served) if post.what in ("good", "malformed", "not proven")]:
            assert post.send(client).status_code == post.status, post.what
        WATCH.look_at_files(served.data_dir)
        nats_process.restart(login(unusual()))
        wait_until(lambda: "refused the login" in reasons(served))
        said.append(ask_ops(served, client))
        for command in (
            ["check", "--connect"],
            ["tail", "--all"],
            ["replay", "--dry-run"],
            ["selftest", "--timeout", "0.5"],
        ):
            assert run_here(*command, env=env).exit_code == 1, command
        nats_process.restart(login(PASSWORD))
        wait_until(lambda: ((served.readiness() or {}).get("spool") or {}).get("rows") == 0)
    _use_commands(env, sent, tmp_path)

    assert served.stop() == 0
    assert run_here("drain", env=env).exit_code == 0
    said += [served.log.read_text(), *_records(nats_process)]
    bodies = Watch()
    bodies.given(BODY_SECRET, "what Slack's body proves itself with")
    bodies.look("what was said and published", *said)
    assert bodies.found == []
    assert re.findall(r'"event":"delivery_failed".*a fault in somebody.*"frames"', served.log.read_text())
    served.end()
    assert WATCH.found == []


def _use_commands(env: dict[str, str], sent: list[Post], tmp_path: Path) -> None:
    for exit_code, command in (
        (0, ["check", "--connect", "--json"]),
        (0, ["selftest"]),
        (0, ["tail", "--all", "--count", "8", "--json", "--show-credentials"]),
        (0, ["tail", "--all", "--count", "8"]),
        (1, ["replay", "--dry-run"]),  # what was malformed still is
        (1, ["replay", "--dry-run", "--from", "raw", "--json"]),
    ):
        result = run_here(*command, env=env)
        assert result.exit_code == exit_code, (command, result.output)
    for post in sent:
        if post.what in ("good", "not proven"):
            (tmp_path / "captured.http").write_bytes(raw_request(post))
            source = post.url.split("/")[4]
            for arguments in (["explain", "--request"], ["send"]):
                run_here(*arguments, str(tmp_path / "captured.http"), "--source", source, env=env)


def _records(nats_process: NatsServer) -> list[str]:
    """Events whole; of the others their headers, for what came is in them as it came."""
    found = asyncio.run(stored(nats_process.url, "EVENTS", user="bridge", password=PASSWORD))
    subjects = {message.subject for message in found}
    assert subjects >= {"bridge.dead-letter", "bridge.raw", "events.slack.message"}, subjects
    assert any(BODY_SECRET in unquote(message.data.decode()) for message in found if message.subject == "bridge.raw")
    return [
        json.dumps([message.subject, message.headers, message.data.decode() * message.subject.startswith("events.")])
        for message in found
    ]
