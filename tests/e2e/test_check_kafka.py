"""`check --connect` on a real Kafka with logins and ACLs: the same questions as on NATS, and nothing made."""

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.providers import PROVIDERS
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator
from tests.kafka_security import Security
from tests.processes import TOKEN, BridgeProcess, run_here
from tests.servers import free_ports

Make = Callable[..., BridgeProcess]
Operation = Callable[[KafkaOperator], Coroutine[Any, Any, Any]]
PASSWORD = "canary-93d0f7b2"
pytestmark = pytest.mark.timeout(120)  # the first one waits for the broker to come up
TYPES = [event_type.name for event_type in PROVIDERS["chatlevel"].event_types]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    security = Security(sasl=True, plain_users=dict.fromkeys(("bridge", "reader", "documented"), PASSWORD), acls=True)
    with KafkaServer(tmp_path_factory.mktemp("check") / "kafka", security=security) as server:

        async def allow(operator: KafkaOperator) -> None:
            await operator.allow("bridge", "all", name="events.*")
            await operator.allow("bridge", "create", "idempotent_write", name="kafka-cluster", resource="cluster")
            await operator.allow("reader", "describe", "read", name="events.*")
            await operator.allow("reader", "idempotent_write", name="kafka-cluster", resource="cluster")

        operate(server, allow)
        yield server


def operate(server: KafkaServer, operation: Operation) -> Any:
    async def run() -> Any:
        async with KafkaOperator(server.operator) as operator:
            return await operation(operator)

    return asyncio.run(run())


def make_topics(server: KafkaServer, source: str, **config: str) -> None:
    async def make(operator: KafkaOperator) -> None:
        for topic in (*(f"events.{source}.{name}" for name in TYPES), f"events.{source}-letters"):
            named = {key.replace("_", "."): value for key, value in config.items()}
            await operator.create_topic(topic, config=named)

    operate(server, make)


Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def source() -> str:
    return f"s{secrets.token_hex(4)}"


@pytest.fixture
def check(bridge: Make, broker: KafkaServer, tmp_path: Path, source: str) -> Check:
    """Run it for a source of its own: exit code and report. No secret is in it, nothing written."""

    def run(*, timeout_s: str = "10", **settings: str) -> tuple[int, dict[str, Any]]:
        environment = bridge(
            **{
                "BRIDGE_BROKER": f"kafka://{broker.bootstrap}",
                "BRIDGE_KAFKA_SASL": "plain",
                "BRIDGE_KAFKA_USER": "bridge",
                "BRIDGE_KAFKA_PASSWORD": PASSWORD,
                "BRIDGE_SOURCES": f"{source}=chatlevel",
                "BRIDGE_DEAD_LETTER_TOPIC": f"events.{source}-letters",
                f"BRIDGE_SOURCE_{source.upper()}_TOKEN": TOKEN,
                **settings,
            }
        ).env
        del environment["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
        result = run_here("check", "--connect", "--json", "--timeout", timeout_s, env=environment)
        assert not (tmp_path / "data").exists()
        assert PASSWORD not in result.output
        assert TOKEN not in result.output
        assert result.stderr == ""
        return result.exit_code, json.loads(result.stdout)

    return run


def test_a_fit_broker_exits_0_with_what_it_weakens(check: Check, broker: KafkaServer, source: str) -> None:
    make_topics(broker, source)
    code, report = check()
    assert code == 0, report
    assert report["broker"]["reached"] is report["broker"]["ready"] is True
    assert report["broker"]["details"]["max_record_bytes"] == 1_048_588
    assert any("one copy" in warning for warning in report["broker"]["warnings"])
    code, report = check(BRIDGE_REQUIRE_DURABLE="true")
    assert code == 1
    assert any("one copy" in reason for reason in report["broker"]["reasons"])


def test_missing_topics_are_a_problem_or_a_plan_and_never_made(check: Check, broker: KafkaServer, source: str) -> None:
    code, report = check()
    assert code == 1
    assert any(f"events.{source}." in reason and "missing" in reason for reason in report["broker"]["reasons"])
    code, report = check(BRIDGE_PROVISION="create")
    assert code == 0, report
    assert "would be created" in report["broker"]["plans"][0]
    topics = operate(broker, KafkaOperator.topics)
    assert not [topic for topic in topics if source in topic]


def test_what_could_not_be_created_is_a_problem_before_it_is_tried(check: Check) -> None:
    code, report = check(BRIDGE_PROVISION="create", BRIDGE_KAFKA_REPLICATION="3")
    assert code == 1
    assert any("BRIDGE_KAFKA_REPLICATION=3" in reason for reason in report["broker"]["reasons"])


def test_a_wrong_password_is_said_with_the_variables(check: Check) -> None:
    code, report = check(BRIDGE_KAFKA_PASSWORD=f"{PASSWORD}-no", timeout_s="3")
    assert code == 1
    assert report["broker"]["reached"] is False
    assert "refused the login: check BRIDGE_KAFKA_SASL, _USER, _PASSWORD" in report["broker"]["reasons"][0]


def test_a_user_who_may_see_the_topics_but_not_write_is_a_problem(
    check: Check, broker: KafkaServer, source: str
) -> None:
    make_topics(broker, source)
    code, report = check(BRIDGE_KAFKA_USER="reader")
    assert code == 1
    assert any("may not write to" in reason and source in reason for reason in report["broker"]["reasons"])


def test_the_user_that_docs_kubernetes_shows_may_all_that_the_bridge_does(bridge: Make, broker: KafkaServer) -> None:
    """Its ACLs are those of the page; the bridge makes its topics as there, the default ones, and takes an event."""
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    (block,) = re.findall(r"```yaml\n(# user.yaml.*?)```", page, re.DOTALL)

    async def allow(operator: KafkaOperator) -> None:
        for acl in yaml.safe_load(block)["spec"]["authorization"]["acls"]:
            assert acl["resource"]["type"] == "topic"
            name = acl["resource"]["name"] + ("*" if acl["resource"].get("patternType") == "prefix" else "")
            operations = [re.sub(r"(?<!^)([A-Z])", r"_\1", operation).lower() for operation in acl["operations"]]
            await operator.allow("documented", *operations, name=name)

    operate(broker, allow)
    login = {"BRIDGE_KAFKA_SASL": "plain", "BRIDGE_KAFKA_USER": "documented", "BRIDGE_KAFKA_PASSWORD": PASSWORD}
    settings = {"BRIDGE_BROKER": f"kafka://{broker.bootstrap}", "BRIDGE_PROVISION": "create", **login}
    running = bridge(**settings).start()
    assert running.post(PROVIDERS["chatlevel"].sample("call", now=datetime.now(UTC))).status_code == 200
    assert {"bridge.dead-letter", "events.chatlevel.call"} <= operate(broker, KafkaOperator.topics)


def test_a_limit_below_the_largest_record_exits_1(check: Check, broker: KafkaServer, source: str) -> None:
    make_topics(broker, source, max_message_bytes="100000")
    code, report = check()
    assert code == 1
    (problem,) = report["problems"]
    assert problem["variable"] == f"BRIDGE_SOURCE_{source.upper()}_MAX_BODY_BYTES"
    assert "the broker takes 100000" in problem["found"]


def test_an_unreachable_broker_is_said(check: Check) -> None:
    (port,) = free_ports(1)
    code, report = check(BRIDGE_BROKER=f"kafka://127.0.0.1:{port}", timeout_s="2")
    assert code == 1
    assert report["broker"]["reached"] is False
    assert "BRIDGE_BROKER" in report["broker"]["reasons"][0]
