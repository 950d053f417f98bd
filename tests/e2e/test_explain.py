"""`explain` and `routes`: what they say is what `serve` does, from any state of the configuration."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.cli.explained import Explained, _masked
from bridge.providers import PROVIDERS
from tests.generated import ROOT
from tests.processes import BridgeProcess, run_here

Make = Callable[..., BridgeProcess]
GOLDENS = ROOT / "tests" / "providers" / "chatlevel"
RULES = "chatlevel:message.* -> whatsapp.messages, audit.all key={contact}; *:call -> drop"


def explain(body: bytes, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and what was said on standard error."""
    result = run_here("explain", "-", "--json", *arguments, env=env or {}, stdin=body)
    return result.exit_code, json.loads(result.stdout), result.stderr


def without_now(headers: dict[str, str]) -> dict[str, str]:
    """Without what differs from one run to the next."""
    return {name: value for name, value in headers.items() if name != "ce-recordedtime"}


@pytest.mark.parametrize("settings", [{}, {"BRIDGE_ROUTES": RULES}, {"BRIDGE_EVENT_FORMAT": "binary"}], ids=str)
def test_what_it_says_is_what_a_consumer_gets(bridge: Make, settings: dict[str, str]) -> None:
    running = bridge(**settings).start()
    for event in ("message.received", "connection.auth", "call"):
        body = PROVIDERS["chatlevel"].sample(event, now=datetime.now(UTC))
        before = len(running.stored())
        assert running.post(body).status_code == 200
        stored = running.stored()[before:]
        code, said, _ = explain(body, "--show-credentials", env=running.env)
        assert code == 0
        (explained,) = said["events"]
        assert len(explained["records"]) == len(stored)
        for record, message in zip(explained["records"], stored, strict=True):
            assert record["topic"] == message.subject
            assert without_now(record["headers"]) == without_now(message.headers)
            value, told = json.loads(message.data), record["value"]
            for content in (value, told):
                content.pop("recordedtime", None)
            assert value == told
            assert record["key"] == value.get("partitionkey", message.headers.get("ce-partitionkey"))


def test_for_kafka_the_headers_are_kafkas() -> None:
    body = (GOLDENS / "call.offer.in.json").read_bytes()
    _, said, _ = explain(body, env={"BRIDGE_BROKER": "kafka://broker.example.com"})
    assert set(said["events"][0]["records"][0]["headers"]) == {"content-type", "ce_id", "ce_type"}


def test_nothing_that_is_wrong_elsewhere_prevents_it_and_it_is_said(tmp_path: Path) -> None:
    body = (GOLDENS / "call.offer.in.json").read_bytes()
    env = {
        "BRIDGE_LISTEN": "0.0.0.0:8080",
        "BRIDGE_BROKER": "nonsense",
        "BRIDGE_FOO": "1",
        "BRIDGE_NATS_CREDS_FILE": "/nowhere",
        "BRIDGE_ROUTES": "no rule",
        "BRIDGE_DATA_DIR": str(tmp_path / "data"),
    }
    code, said, stderr = explain(body, env=env)
    assert code == 0
    assert said["events"][0]["records"][0]["topic"] == "events.chatlevel.call"
    for name in ("BRIDGE_BROKER", "BRIDGE_FOO", "BRIDGE_NATS_CREDS_FILE", "BRIDGE_ROUTES"):
        assert f"ignored: {name}: " in stderr
    assert not (tmp_path / "data").exists()
    unnamed = run_here("explain", "-", env={"BRIDGE_SOURCES": "nope"}, stdin=body)
    assert unnamed.exit_code == 2
    assert "name the --source" in unnamed.stderr
    without_sources = explain(body, "--source", "chatlevel", env={"BRIDGE_SOURCES": "nope"})
    assert without_sources[0] == 0
    assert "not configured: source chatlevel" in without_sources[2]


@pytest.mark.parametrize(
    ("body", "env", "error", "detail"),
    [
        (b'{"event":"call","deviceId":1,"data":3}', {}, "dead_lettered", "$.data"),
        (b"{", {"BRIDGE_DEAD_LETTER_TOPIC": ""}, "undecodable", "truncated"),
        (
            b'{"event":"presence","deviceId":1,"data":{}}',
            {"BRIDGE_SOURCE_CHATLEVEL_UNKNOWN": "dead-letter"},
            "dead_lettered",
            "a kind that this version does not know",
        ),
        (
            b'{"event":"connection.closed","deviceId":7,"data":{}}',
            {"BRIDGE_SOURCE_CHATLEVEL_DEVICES": "8"},
            "device_not_allowed",
            "BRIDGE_SOURCE_CHATLEVEL_DEVICES",
        ),
        (
            b'{"event":"connection.closed","deviceId":7,"data":{}}' + b" " * 1024,
            {"BRIDGE_SOURCE_CHATLEVEL_MAX_BODY_BYTES": "1024"},
            "body_too_large",
            "BRIDGE_SOURCE_CHATLEVEL_MAX_BODY_BYTES is 1024",
        ),
    ],
)
def test_what_is_refused_is_said_with_the_place_and_exits_1(
    body: bytes, env: dict[str, str], error: str, detail: str
) -> None:
    code, said, _ = explain(body, env=env)
    assert code == 1
    assert said["error"] == error
    assert detail in said["detail"]
    shown = run_here("explain", "-", env=env, stdin=body)
    assert shown.exit_code == 1
    assert error in shown.stdout


def test_what_is_dropped_is_said_and_is_no_failure() -> None:
    body = (GOLDENS / "call.offer.in.json").read_bytes()
    shown = run_here("explain", "-", env={"BRIDGE_ROUTES": RULES}, stdin=body)
    assert shown.exit_code == 0
    assert "dropped" in shown.stdout


def test_credentials_are_hidden_unless_asked_for_whatever_their_topic() -> None:
    body = (GOLDENS / "connection.auth.pairing.in.json").read_bytes()
    code = json.loads(body)["data"]["pairingCode"]
    env = {"BRIDGE_ROUTES": "chatlevel:connection.auth -> secrets.pairing"}
    for arguments in ((), ("--json",)):
        assert code not in run_here("explain", "-", *arguments, env=env, stdin=body).output
        assert code in run_here("explain", "-", *arguments, "--show-credentials", env=env, stdin=body).output


def test_all_of_a_credential_is_hidden_by_its_type_not_only_by_names() -> None:
    body = b'{"event":"connection.auth","deviceId":7,"data":{"code":"sesame"},"timestamp":"2026-03-02T08:00:00Z"}'
    assert "sesame" not in run_here("explain", "-", env={}, stdin=body).output
    assert "sesame" in run_here("explain", "-", "--show-credentials", env={}, stdin=body).output


def test_data_that_look_like_an_event_hide_no_less() -> None:
    body = (GOLDENS / "connection.auth.pairing.in.json").read_bytes()
    _, said, _ = explain(body, "--show-credentials", env={"BRIDGE_EVENT_FORMAT": "binary"})
    (event,) = msgspec.json.decode(json.dumps(said), type=Explained).events
    value = msgspec.Raw(b'{"specversion": "1.0", "data": {}, "code": "sesame"}')
    record = msgspec.structs.replace(event.records[0], value=value)
    assert "sesame" not in str(_masked(record, event, whole=False).value)
    assert "sesame" in str(_masked(record, event, whole=True).value), "what is beside the data is no credential"


@pytest.mark.parametrize("depth", [300, 480, 600, 900, 970])
@pytest.mark.parametrize("arguments", [(), ("--json",), ("--show-credentials",), ("--show-credentials", "--json")])
def test_what_is_nested_as_deep_as_can_be_taken_is_explained(depth: int, arguments: tuple[str, ...]) -> None:
    nested = b"[" * depth + b"]" * depth
    body = b'{"event":"presence.update","deviceId":7,"data":{"x":' + nested + b"}}"
    shown = run_here("explain", "-", *arguments, env={}, stdin=body)
    assert "presence.update" in shown.output or "nested too deep" in shown.output


def test_drift_and_all_that_matters_is_shown_to_people() -> None:
    shown = run_here("explain", str(GOLDENS / "unknown.fields.in.json"), env={"BRIDGE_ROUTES": RULES}).stdout
    for text in ("envelope.webhookVersion", "topic    whatsapp.messages key 5511", "audit.all", "ce-id:", "bytes with"):
        assert text in shown
    assert shown.count('"specversion"') == 1, "two copies of one value"


# ---- routes


def rows(**env: str) -> dict[tuple[str, str], dict[str, Any]]:
    result = run_here("routes", "--json", env=env)
    assert result.exit_code == 0
    return {(row["source"], row["type"]): row for row in json.loads(result.stdout)}


def test_routes_has_every_type_of_every_source_with_topics_key_and_schema() -> None:
    found = rows(
        BRIDGE_SOURCES="chatlevel,b=chatlevel",
        BRIDGE_SOURCE_B_UNKNOWN="drop",
        BRIDGE_SOURCE_CHATLEVEL_UNKNOWN="dead-letter",
        BRIDGE_RAW_TOPIC="raw",
        BRIDGE_ROUTES=f"{RULES}; b:connection.auth -> secrets.pairing",
    )
    assert len(found) == 2 * len(PROVIDERS["chatlevel"].event_types) + 2
    assert [found["*", name]["topics"] for name in ("dead-letter", "raw")] == [["bridge.dead-letter"], ["raw"]]
    received = found["chatlevel", "message.received"]
    assert received["topics"] == ["whatsapp.messages", "audit.all"]
    assert (received["key"], received["by"]) == ("contact", "rule 1")
    assert received["dataschema"] == "urn:webhook-bridge:schema:messaging:message.received:v1.0"
    assert found["b", "message.received"]["topics"] == ["events.b.message.received"]
    assert found["b", "call"]["topics"] == []
    assert (found["b", "unknown"]["topics"], found["b", "unknown"]["by"]) == ([], "UNKNOWN=drop")
    unknown = found["chatlevel", "unknown"]
    assert (unknown["topics"], unknown["by"]) == (["bridge.dead-letter"], "UNKNOWN=dead-letter")
    assert found["b", "connection.auth"]["sensitive"] is True
    assert found["b", "connection.auth"]["topics"] == ["secrets.pairing"]


def test_routes_is_a_table_whose_names_are_whole_and_whose_drops_are_said() -> None:
    shown = run_here("routes", env={"BRIDGE_ROUTES": RULES, "BRIDGE_FOO": "1"})
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[0] == ["source", "type", "topics", "key", "by", "schema"]
    assert ["chatlevel", "call", "dropped", "rule", "2", "messaging/call/v1.0"] in lines
    assert any("(credentials)" in line for line in lines)
    assert "messaging/connection.timeout/v1.0" in shown.stdout
    assert "ignored: BRIDGE_FOO" in shown.stderr


def test_routes_does_not_guess_where_the_rules_are_wrong(bridge: Make) -> None:
    result = bridge(BRIDGE_ROUTES="chatlevel:mesage.* -> a").cli("routes")
    assert result.returncode == 2
    assert "BRIDGE_ROUTES: rule 1" in result.stderr
    assert result.stdout == ""


META = {
    "BRIDGE_SOURCES": "wa=whatsapp-cloud",
    "BRIDGE_SOURCE_WA_SECRET": "an-app-secret-of-meta-1",
    "BRIDGE_SOURCE_WA_VERIFY_TOKEN": "a-verify-token-of-meta-1",
}


@pytest.mark.parametrize(
    ("line", "status", "exit_code"),
    [
        ("GET {path}?hub.mode=subscribe&hub.challenge=42&hub.verify_token=a-verify-token-of-meta-1", 200, 0),
        ("GET {path}?hub.mode=subscribe&hub.challenge=42&hub.verify_token=another", 403, 1),
        ("GET {path}", 405, 1),
        ("PUT {path}", 405, 1),
    ],
)
def test_a_captured_question_is_answered_as_the_entrance_does(
    line: str, status: int, exit_code: int, tmp_path: Path
) -> None:
    captured = tmp_path / "captured.http"
    captured.write_text(f"{line.format(path='/webhooks/wa')} HTTP/1.1\nHost: hooks.example.com\n\n")
    explained = run_here("explain", "--request", str(captured), "--json", env=META)
    report = json.loads(explained.stdout)
    assert (explained.exit_code, report["status"], report["proof"]) == (exit_code, status, []), explained.output
    assert report["reply"] == {200: "42", 403: "the verify token is not the configured one"}.get(status, "")
    assert "a-verify-token" not in explained.output


@pytest.mark.parametrize(
    ("path", "source"),
    [("/webhooks/wa", "wa"), ("/behind/webhooks/wa/x", "wa"), ("/webhooks/nobody", "first"), ("/", "first")],
)
def test_a_captured_request_is_explained_as_the_source_that_it_calls(path: str, source: str, tmp_path: Path) -> None:
    captured = tmp_path / "captured.http"
    captured.write_text(f"POST {path} HTTP/1.1\nHost: hooks.example.com\n\n{{}}")
    env = META | {"BRIDGE_SOURCES": "first=chatlevel,wa=whatsapp-cloud"}
    result = run_here("explain", "--request", str(captured), "--json", env=env)
    assert json.loads(result.stdout)["source"] == source
    assert ("it calls 'nobody', which is no source here" in result.stderr) == ("nobody" in path)
    named = run_here("explain", "--request", str(captured), "--source", "first", "--json", env=env)
    assert json.loads(named.stdout)["source"] == "first"


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("identity", 401), ("", 401)])
def test_a_captured_body_that_is_encoded_is_refused_as_by_the_entrance(
    encoding: str, status: int, tmp_path: Path
) -> None:
    captured = tmp_path / "captured.http"
    captured.write_text(f"POST /webhooks/chatlevel HTTP/1.1\nContent-Encoding: {encoding}\n\n{{}}")
    explained = run_here("explain", "--request", str(captured), "--json", env={})
    assert (explained.exit_code, json.loads(explained.stdout)["status"]) == (1, status)


def test_a_request_to_a_source_that_is_not_configured_is_explained_as_its_providers(tmp_path: Path) -> None:
    captured = tmp_path / "captured.http"
    captured.write_bytes(b"POST /webhooks/github HTTP/1.1\nX-GitHub-Event: push\n\n{}")
    result = run_here("explain", "--request", str(captured), "--json", env={})
    assert json.loads(result.stdout)["source"] == "github"
    assert "not configured: source github" in result.stderr
    body_alone = run_here("explain", str(captured), env={})
    assert "it begins as a whole HTTP request does: --request explains those" in body_alone.stderr


@pytest.mark.parametrize("verify", ["none", "secret"])
def test_no_proof_is_missed_only_where_none_is_asked_for(verify: str, tmp_path: Path) -> None:
    captured = tmp_path / "captured.http"
    captured.write_bytes(b"POST /webhooks/github HTTP/1.1\nX-GitHub-Event: push\n\n{}")
    env = {"BRIDGE_SOURCES": "github", "BRIDGE_SOURCE_GITHUB_VERIFY": verify, "BRIDGE_DATA_DIR": str(tmp_path)}
    result = run_here("explain", "--request", str(captured), "--json", env=env)
    report = json.loads(result.stdout)
    none = verify == "none"
    assert (result.exit_code, report["status"], report["proof"] == []) == ((0, 200, True) if none else (1, 401, False))
