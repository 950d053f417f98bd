"""`check`: everything at once, nothing written, and what a real broker says to the configuration."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import NatsServer, stream_api
from tests.processes import TOKEN, BridgeProcess, run_here
from tests.servers import free_ports

Make = Callable[..., BridgeProcess]
NS = 1_000_000_000
PASSWORD = "canary-4c1e9f60"
GOOD = {
    "subjects": ["events.chatlevel.>", "bridge.dead-letter"],
    "discard": "new",
    "max_age": 86_400 * NS,
    "duplicate_window": 4500 * NS,
    "allow_msg_ttl": True,
}
USERS = f"""authorization {{ users: [
    {{ user: bridge, password: {PASSWORD} }}
    {{ user: narrow, password: {PASSWORD}, permissions: {{
        publish: ["events.other.>", "letters.>", "$JS.API.STREAM.INFO.*", "$SYS.REQ.USER.INFO"],
        subscribe: "_INBOX.>" }} }}
    {{ user: documented, password: {PASSWORD}, permissions: {{
        publish: ["events.>", "letters.>", "$JS.API.STREAM.INFO.DOCS", "$SYS.REQ.USER.INFO",
            "$JS.API.CONSUMER.CREATE.DOCS.>", "$JS.API.CONSUMER.MSG.NEXT.DOCS.>"], subscribe: "_INBOX.>" }} }}
    {{ user: blind, password: {PASSWORD}, permissions: {{
        publish: ["events.>", "letters.>", "$JS.API.STREAM.INFO.*"], subscribe: "_INBOX.>" }} }}
] }}"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("check") / "nats", USERS) as server:
        yield server


Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def check(bridge: Make, broker: NatsServer, tmp_path: Path) -> Iterator[Check]:
    """Run `check --connect --json` against the broker: exit code and report. No secret is in it, nothing written."""
    data_dir = tmp_path / "data"

    def run(*, timeout_s: str = "5", **settings: str) -> tuple[int, dict[str, Any]]:
        login = {"BRIDGE_NATS_USER": "bridge", "BRIDGE_NATS_PASSWORD": PASSWORD}
        environment = bridge(**{"BRIDGE_BROKER": broker.url, **login, **settings}).env
        if "BRIDGE_SOURCES" in settings:
            del environment["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
        result = run_here("check", "--connect", "--json", "--timeout", timeout_s, env=environment)
        assert not data_dir.exists()
        assert PASSWORD not in result.output
        assert TOKEN not in result.output
        assert result.stderr == ""
        return result.exit_code, json.loads(result.stdout)

    yield run


def make_stream(broker: NatsServer, name: str, **changes: Any) -> str:
    config = {"name": name, **GOOD, "subjects": [f"events.{name.lower()}.>", f"letters.{name.lower()}"], **changes}
    answer = asyncio.run(stream_api(broker.url, f"STREAM.CREATE.{name}", config, user="bridge", password=PASSWORD))
    assert "error" not in answer, answer
    return name


def of_stream(name: str) -> dict[str, str]:
    """A source of its own, whose topics that stream has."""
    source = name.lower()
    return {
        "BRIDGE_NATS_STREAM": name,
        "BRIDGE_DEAD_LETTER_TOPIC": f"letters.{source}",
        "BRIDGE_SOURCES": f"{source}=chatlevel",
        f"BRIDGE_SOURCE_{name}_TOKEN": TOKEN,
    }


def streams(broker: NatsServer) -> list[str]:
    answer = asyncio.run(stream_api(broker.url, "STREAM.NAMES", {}, user="bridge", password=PASSWORD))
    return answer["streams"] or []


# ---- the configuration alone


def test_a_good_configuration_exits_0_and_says_what_it_is(bridge: Make) -> None:
    result = run_here("check", env=bridge().env)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "ok      sources: chatlevel; broker: embedded:"


def test_every_problem_comes_at_once_by_name_and_exits_1(bridge: Make) -> None:
    broken = bridge(BRIDGE_LISTEN="nowhere", BRIDGE_MAX_IN_FLIGHT="0", BRIDGE_LISTENN="x", BRIDGE_SOURCE_X_TOKEN=TOKEN)
    result = run_here("check", env=broken.env)
    assert result.exit_code == 1
    for name in ("BRIDGE_LISTEN:", "BRIDGE_MAX_IN_FLIGHT:", "BRIDGE_LISTENN:", "BRIDGE_SOURCE_X_TOKEN:"):
        assert f"problem {name}" in result.stdout
    report = json.loads(run_here("check", "--json", env=broken.env).stdout)
    assert report["ok"] is False
    assert len(report["problems"]) == 4
    assert {"variable", "found", "expected"} == set(report["problems"][0])
    assert report["broker"] is None


def test_what_is_a_problem_is_not_a_warning_too() -> None:
    env = {"BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN, "BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE": "/run/token"}
    report = json.loads(run_here("check", "--json", env=env).stdout)
    assert [problem["variable"] for problem in report["problems"]] == ["BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE"]
    assert report["warnings"] == []


def test_what_is_allowed_and_will_hurt_is_a_warning(bridge: Make, tmp_path: Path) -> None:
    process = bridge(
        BRIDGE_BROKER="nats://nats.example.com",
        BRIDGE_NATS_USER="bridge",
        BRIDGE_NATS_PASSWORD=PASSWORD,
        BRIDGE_PROVISION="create",
        BRIDGE_DEDUP_WINDOW_S="60",
        BRIDGE_SHUTDOWN_TIMEOUT_MS="1000",
        BRIDGE_SOURCES="chatlevel,open=chatlevel,new=chatlevel",
        BRIDGE_SOURCE_OPEN_VERIFY="none",
        BRIDGE_SOURCE_NEW_SUCCESS_STATUS="202",
        BRIDGE_SOURCE_NEW_DEDUP_WINDOW_S="4500",
    )
    report = json.loads(run_here("check", "--json", env=process.env).stdout)
    assert report["ok"] is True
    assert {warning["variable"] for warning in report["warnings"]} == {
        "BRIDGE_NATS_PASSWORD",
        "BRIDGE_NATS_REPLICAS",
        "BRIDGE_SOURCE_CHATLEVEL_DEDUP_WINDOW_S",
        "BRIDGE_SOURCE_OPEN_DEDUP_WINDOW_S",
        "BRIDGE_SHUTDOWN_TIMEOUT_MS",
        "BRIDGE_SOURCE_OPEN_VERIFY",
        "BRIDGE_SOURCE_NEW_TOKEN",
        "BRIDGE_SOURCE_NEW_SUCCESS_STATUS",
    }
    assert not (tmp_path / "data").exists(), "the token is made by serve"


def test_what_will_hurt_on_kafka_is_a_warning(bridge: Make) -> None:
    process = bridge(
        BRIDGE_BROKER="kafka://kafka.example.com",
        BRIDGE_KAFKA_SASL="plain",
        BRIDGE_KAFKA_USER="bridge",
        BRIDGE_KAFKA_PASSWORD=PASSWORD,
        BRIDGE_KAFKA_REPLICATION="1",
        BRIDGE_PROVISION="create",
    )
    report = json.loads(run_here("check", "--json", env=process.env).stdout)
    assert {warning["variable"] for warning in report["warnings"]} == {"BRIDGE_KAFKA_REPLICATION", "BRIDGE_KAFKA_TLS"}


def test_a_broker_whose_settings_are_wrong_is_not_looked_at(bridge: Make) -> None:
    broken = bridge(BRIDGE_BROKER="nats://", BRIDGE_NATS_USER="x")
    result = run_here("check", "--connect", env=broken.env)
    assert result.exit_code == 1
    assert "the broker was not looked at" in result.stdout


# ---- the embedded broker


def test_an_embedded_broker_is_left_to_serve_or_looked_at_where_it_runs(bridge: Make) -> None:
    running = bridge()
    before = run_here("check", "--connect", env=running.env)
    assert before.exit_code == 0
    assert "`serve` starts it" in before.stdout
    running.start()
    after = running.cli("check", "--connect")
    assert after.returncode == 0
    assert "reached (server_version" in after.stdout
    unfit = {"BRIDGE_SOURCE_CHATLEVEL_MAX_BODY_BYTES": "8388608"}
    too_large = run_here("check", "--connect", env=running.env | unfit)
    assert too_large.exit_code == 1
    assert "BRIDGE_SOURCE_CHATLEVEL_MAX_BODY_BYTES" in too_large.stdout


# ---- a broker of the operator's


def test_a_fit_broker_exits_0_with_what_it_weakens(check: Check, broker: NatsServer) -> None:
    code, report = check(**of_stream(make_stream(broker, "FIT")))
    assert code == 0
    assert report["ok"] is report["broker"]["reached"] is report["broker"]["ready"] is True
    assert report["broker"]["details"]["stream"] == "FIT"
    assert report["broker"]["details"]["max_record_bytes"] == 1_048_576
    assert any("one copy" in warning for warning in report["broker"]["warnings"])


def test_a_missing_stream_is_a_problem_or_a_plan_and_never_made(check: Check, broker: NatsServer) -> None:
    before = streams(broker)
    code, report = check(BRIDGE_NATS_STREAM="ABSENT")
    assert code == 1
    assert "does not exist: create it, or set BRIDGE_PROVISION=create" in report["broker"]["reasons"][0]
    code, report = check(BRIDGE_NATS_STREAM="ABSENT", BRIDGE_PROVISION="create")
    assert code == 0
    subjects = "events.chatlevel.>, bridge.dead-letter"
    assert report["broker"]["plans"] == [f"create the stream 'ABSENT' for {subjects} (copies: 1)"]
    assert any("one copy" in warning for warning in report["broker"]["warnings"]), "of the stream as it would be"
    assert streams(broker) == before


def test_missing_subjects_are_a_problem_or_a_plan_and_never_added(check: Check, broker: NatsServer) -> None:
    settings = of_stream(make_stream(broker, "PARTIAL", subjects=["events.partial.call", "letters.partial"]))
    code, report = check(**settings)
    assert code == 1
    assert "does not take events.partial.>" in report["broker"]["reasons"][0]
    code, report = check(**settings, BRIDGE_PROVISION="create")
    assert code == 0
    assert report["broker"]["plans"] == ["add events.partial.> to the stream 'PARTIAL'"]
    info = asyncio.run(stream_api(broker.url, "STREAM.INFO.PARTIAL", user="bridge", password=PASSWORD))
    assert info["config"]["subjects"] == ["events.partial.call", "letters.partial"]


def test_a_wrong_password_is_said_with_the_variables(check: Check) -> None:
    code, report = check(BRIDGE_NATS_PASSWORD=f"{PASSWORD}-no", timeout_s="1.5")
    assert code == 1
    assert report["broker"]["reached"] is False
    assert "refused the login: check BRIDGE_NATS_USER" in report["broker"]["reasons"][0]


def test_what_our_user_may_not_publish_is_said_and_what_cannot_be_seen_too(check: Check, broker: NatsServer) -> None:
    settings = of_stream(make_stream(broker, "NARROW"))
    code, report = check(**settings, BRIDGE_NATS_USER="narrow")
    assert code == 1
    assert report["broker"]["reasons"] == ["our user may not publish to events.narrow.>: allow it"]
    code, report = check(**settings, BRIDGE_NATS_USER="blind")
    assert code == 0
    assert any("cannot be seen from here" in warning for warning in report["broker"]["warnings"])


def test_the_permissions_of_the_readme_are_enough(check: Check, bridge: Make, broker: NatsServer) -> None:
    settings = of_stream(make_stream(broker, "DOCS")) | {"BRIDGE_NATS_USER": "documented"}
    code, report = check(**settings)
    assert code == 0
    assert not any("publish" in warning for warning in report["broker"]["warnings"])
    process = bridge(**{"BRIDGE_BROKER": broker.url, "BRIDGE_NATS_PASSWORD": PASSWORD, **settings})
    del process.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    process.start()
    assert run_here("send", env=process.env).exit_code == 0
    assert run_here("tail", "--all", "--count", "1", env=process.env).exit_code == 0


def test_a_record_limit_below_the_largest_record_exits_1(check: Check, broker: NatsServer) -> None:
    settings = of_stream(make_stream(broker, "SMALL", max_msg_size=100_000))
    code, report = check(**settings)
    assert code == 1
    (problem,) = report["problems"]
    assert problem["variable"] == "BRIDGE_SOURCE_SMALL_MAX_BODY_BYTES"
    assert "the broker takes 100000" in problem["found"]
    assert problem["expected"].startswith("at most 47952,")
    code, report = check(**settings, BRIDGE_SOURCE_SMALL_MAX_BODY_BYTES="47952")
    assert code == 0


def test_weak_durability_is_a_warning_or_with_require_durable_a_problem(check: Check, broker: NatsServer) -> None:
    settings = of_stream(make_stream(broker, "WEAK", discard="old", max_msgs=1000))
    code, report = check(**settings)
    assert code == 0
    assert any("discard=old" in warning for warning in report["broker"]["warnings"])
    code, report = check(**settings, BRIDGE_REQUIRE_DURABLE="true")
    assert code == 1
    assert any("discard=old" in reason for reason in report["broker"]["reasons"])


def test_an_unreachable_broker_is_tried_for_the_time_given_and_no_longer(check: Check) -> None:
    (port,) = free_ports(1)
    began = time.monotonic()
    code, report = check(BRIDGE_BROKER=f"nats://127.0.0.1:{port}", timeout_s="1")
    assert code == 1
    assert "nobody listens" in report["broker"]["reasons"][0]
    assert 1 < time.monotonic() - began < 8


def test_a_broker_that_comes_late_is_waited_for(bridge: Make, nats_process: NatsServer) -> None:
    process = bridge(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create")

    async def late() -> int:
        checking = asyncio.to_thread(process.cli, "check", "--connect", "--timeout", "20")
        task = asyncio.create_task(checking)
        await asyncio.sleep(1.5)  # so that it has found nobody once; nothing tells from outside
        assert not task.done()
        await asyncio.to_thread(nats_process.start)
        return (await task).returncode

    assert asyncio.run(late()) == 0
