"""`tail` on real brokers of either kind: what it shows, filters, and prints for pipes."""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kafka import KafkaAddress
from tests.processes import TOKEN, BridgeProcess, run_here

Make = Callable[..., BridgeProcess]


class Served:
    """A bridge with a source of its own and a few events on its topics, the oldest first."""

    def __init__(self, process: BridgeProcess, source: str) -> None:
        self.process = process
        self.source = source
        self.env = process.env

    def post(self, event: str, device: int, **data: Any) -> str:
        body = {"event": event, "deviceId": device, "data": data, "timestamp": "2026-03-02T08:00:00Z"}
        result = run_here("send", "-", "--json", env=self.env, stdin=json.dumps(body).encode())
        (event_id,) = json.loads(result.stdout)["ids"]
        return str(event_id)

    def lines(self, *arguments: str, count: int) -> list[dict[str, Any]]:
        start = () if "--since" in arguments else ("--all",)
        result = run_here("tail", *start, "--json", "--count", str(count), *arguments, env=self.env)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]


def start(bridge: Make, **settings: str) -> Served:
    source = f"s{secrets.token_hex(4)}"
    settings = {name: value.replace("SOURCE", source) for name, value in settings.items()}
    process = bridge(BRIDGE_SOURCES=f"{source}=chatlevel", **settings)
    del process.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    process.env[f"BRIDGE_SOURCE_{source.upper()}_TOKEN"] = TOKEN
    return Served(process.start(), source)


@pytest.fixture(params=["nats", "kafka"])
def served(request: pytest.FixtureRequest, bridge: Make) -> Iterator[Served]:
    if request.param == "nats":
        yield start(bridge)
    else:
        kafka: KafkaAddress = request.getfixturevalue("kafka_server")
        yield start(bridge, BRIDGE_BROKER=f"kafka://{kafka.bootstrap}", BRIDGE_PROVISION="create")


def test_a_line_of_json_per_event_with_topic_key_headers_and_the_event(served: Served) -> None:
    event_id = served.post("connection.open", 7, displayName="Padaria")
    (line,) = served.lines(count=1)
    assert line["topic"] == f"events.{served.source}.connection.open"
    assert line["key"] == "7"
    assert line["event"]["id"] == event_id
    assert line["event"]["type"] == "messaging.connection.open.v1"
    assert line["event"]["data"]["display_name"] == "Padaria"
    assert {name.lower().replace("_", "-") for name in line["headers"]} >= {"content-type", "ce-id", "ce-type"}


def test_patterns_and_filters_choose_by_topic_type_source_device_and_key(served: Served) -> None:
    ids = [served.post("connection.open", 7), served.post("connection.closed", 8), served.post("connection.logout", 9)]
    assert [line["event"]["id"] for line in sorted(served.lines(count=3), key=lambda line: line["key"])] == ids
    for arguments, expected in (
        (("connection.cl*",), ids[1]),
        ((f"events.{served.source}.connection.logout",), ids[2]),
        (("messaging.connection.closed.*",), ids[1]),
        (("messaging.*", "--device", "9"), ids[2]),
        (("--key", "8"), ids[1]),
        (("--source", served.source, "--device", "7"), ids[0]),
        (("--since", "1h", "*.open"), ids[0]),
    ):
        (line,) = served.lines(*arguments, count=1)
        assert line["event"]["id"] == expected, arguments


def test_people_see_topic_key_id_and_data(served: Served) -> None:
    event_id = served.post("connection.open", 7, displayName="Padaria \x1b[31m")
    shown = run_here("tail", "--all", "--count", "1", env=served.env).stdout
    assert f"events.{served.source}.connection.open key 7 {event_id}" in shown
    assert '"display_name": "Padaria \\u001b[31m"' in shown


def test_credentials_are_hidden_by_type_whatever_their_topic_and_form(bridge: Make) -> None:
    served = start(bridge, BRIDGE_ROUTES="SOURCE:connection.auth -> secrets.pairing")
    served.post("connection.auth", 7, code="sesame")
    for form in ((), ("--json",)):
        hidden = run_here("tail", "--all", "--count", "1", *form, env=served.env).stdout
        assert "secrets.pairing" in hidden
        assert "sesame" not in hidden
        assert "sesame" in run_here("tail", "--all", "--count", "1", "--show-credentials", *form, env=served.env).stdout


def test_where_the_topic_does_not_name_the_type_it_is_shown_and_found(bridge: Make) -> None:
    served = start(bridge, BRIDGE_ROUTES="*:connection.* -> all.connections")
    served.post("connection.open", 7)
    shown = run_here("tail", "connection.open", "--all", "--count", "1", env=served.env).stdout
    assert "all.connections connection.open key 7" in shown


@pytest.mark.parametrize(
    "arguments", [("--since", "yesterday"), ("--all", "--since", "1h"), ("--source", "nobody"), ("--count", "0")]
)
def test_wrong_usage_exits_2(bridge: Make, arguments: tuple[str, ...]) -> None:
    assert run_here("tail", *arguments, env=bridge().env).exit_code == 2


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (
            "message.recieved",
            "No topic or type of these settings is named 'message.recieved': see `webhook-bridge routes`",
        ),
        ("bridge.dead-letter", "dead letters are shown by `webhook-bridge replay --dry-run`"),
        ("message.received", None),
        ("messaging.*", None),
        ("*.v1", None),
        ("*", None),
    ],
)
def test_a_pattern_that_nothing_can_match_is_said_at_once(bridge: Make, pattern: str, said: str | None) -> None:
    stderr = run_here("tail", pattern, env=bridge().env).stderr  # nobody serves: it ends
    assert (said in stderr) if said else "No topic" not in stderr, stderr


def test_without_serve_it_says_that_the_embedded_broker_runs_with_it(bridge: Make) -> None:
    result = run_here("tail", env=bridge().env)
    assert result.exit_code == 1
    assert "Cannot follow the embedded broker, which runs while `webhook-bridge serve` does: nobody" in result.output
