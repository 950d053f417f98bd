"""`replay` on real brokers: what it publishes, what it leaves, and where it goes on."""

import asyncio
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import nats
import pytest
from click.testing import Result

from bridge.errors import RecordRefused
from bridge.ingest.dead_letters import RefusedRecords
from bridge.ingest.letters import Letter, letter_id, record_of
from bridge.providers.base import Delivery
from bridge.publishers.base import Record
from bridge.publishers.nats import NatsPublisher
from bridge.spool.model import Entry, Row
from tests.brokers import stored, stream_api
from tests.conftest import NatsSpace
from tests.e2e.in_process import NOW, TOKEN, BridgeThread, message, settings_of
from tests.e2e.kept import Found, Space, on
from tests.processes import run_here

KEEP_UNKNOWN = {"BRIDGE_SOURCE_SHOP_UNKNOWN": "dead-letter", "BRIDGE_SOURCE_HUB_UNKNOWN": "dead-letter"}


class Lettered(NamedTuple):
    """A broker with letters on it, and the environment of a later version that publishes what is unknown."""

    space: Space
    env: dict[str, str]
    presence: list[dict[str, Any]]

    def replay(self, *arguments: str, **more: str) -> Result:
        return run_here("replay", *arguments, env=self.env | more)

    def lines(self, *arguments: str, **more: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.replay("--json", *arguments, **more).stdout.splitlines()]

    def on(self, name: str) -> list[Found]:
        return asyncio.run(on(self.space, name))

    def unknown(self, source: str = "shop") -> list[dict[str, Any]]:
        """Events on its topic."""
        return [json.loads(one.value) for one in self.on(f"{source}.unknown")]


def presence(number: int) -> dict[str, Any]:
    return {"event": "presence.update", "deviceId": 7, "data": {"n": number}, "timestamp": "2026-03-02T08:00:00Z"}


@pytest.fixture
def lettered(space: Space, tmp_path: Path) -> Iterator[Lettered]:
    env = settings_of(space, tmp_path, BRIDGE_SOURCES="shop=chatlevel,hub=chatlevel")
    env["BRIDGE_RAW_TOPIC"] = space.topic("raw")
    bodies = [presence(number) for number in range(5)]
    with BridgeThread(env | KEEP_UNKNOWN) as served, httpx.Client() as client:
        for source in ("shop", "hub"):
            for body in [*map(json.dumps, bodies), "{", json.dumps(message())]:
                answer = client.post(f"http://{served.bridge.address}/webhooks/{source}/{TOKEN}", content=body)
                assert answer.status_code == 200
    yield Lettered(space, env, bodies)


def test_a_dry_run_shows_what_would_happen_and_changes_nothing(lettered: Lettered, tmp_path: Path) -> None:
    before = [lettered.on(name) for name in ("dead-letter", "shop.message.received", "raw")]
    result = lettered.replay("--dry-run")
    assert result.exit_code == 1
    assert "10 would be replayed, 2 still fail" in result.stdout
    lines = lettered.lines("--dry-run", "--source", "shop")
    assert [line["outcome"] for line in lines] == ["would_replay"] * 5 + ["fails"]
    assert lines[0]["events"][0]["topics"] == [lettered.space.topic("shop.unknown")]
    assert (lines[5]["error"], lines[5]["reason"]) == ("undecodable", "undecodable")
    assert [lettered.on(name) for name in ("dead-letter", "shop.message.received", "raw")] == before
    assert not (tmp_path / "replay").exists()


def test_what_decodes_now_is_published_in_order_with_its_ids_and_the_rest_waits_for_another_run(
    lettered: Lettered,
) -> None:
    expected = lettered.lines("--dry-run", "--source", "shop")
    first = lettered.replay()
    assert first.exit_code == 1
    assert "10 replayed, 2 still fail" in first.stdout
    assert "consumers drop what they have seen by its id" in first.stdout
    events = lettered.unknown()
    assert [event["data"]["payload"]["n"] for event in events] == list(range(5))
    assert [event["id"] for event in events] == [line["events"][0]["id"] for line in expected[:5]]
    assert [event["recordedtime"][:19] for event in events] == [line["received"][:19] for line in expected[:5]]
    again = lettered.lines()
    assert [(line["source"], line["outcome"]) for line in again] == [("shop", "fails"), ("hub", "fails")]
    assert [len(lettered.unknown(source)) for source in ("shop", "hub")] == [5, 5]
    assert len(lettered.on("dead-letter")) == 12  # what fails is no new letter


def test_filters_take_some_and_their_position_is_no_other_replays(lettered: Lettered) -> None:
    only = ("--source", "hub", "--reason", "unknown_type")
    assert lettered.replay(*only, "--name", "hub").exit_code == 0
    assert [len(lettered.unknown(source)) for source in ("shop", "hub")] == [0, 5]
    assert lettered.replay("--name", "hub").exit_code == 2
    assert lettered.lines("--until", "2020-01-01") == []
    assert lettered.lines("--since", "2100-01-01", "--name", "later") == []
    assert len(lettered.lines()) == 12  # what --until left out was not passed over


def test_a_source_that_is_gone_is_said_and_its_letters_wait(lettered: Lettered) -> None:
    without = {"BRIDGE_SOURCES": "shop=chatlevel"}
    del lettered.env["BRIDGE_SOURCE_HUB_TOKEN"]
    lines = lettered.lines(**without)
    assert {line["error"] for line in lines if line["source"] == "hub"} == {"no_source"}
    lettered.env["BRIDGE_SOURCE_HUB_TOKEN"] = TOKEN
    assert [line["outcome"] for line in lettered.lines("--json")] == ["fails", *["replayed"] * 5, "fails"]
    misspelt = lettered.replay("--source", "hubb", "--name", "misspelt")
    assert "'hubb' is no source now: BRIDGE_SOURCES has shop, hub" in misspelt.stderr
    assert "0 replayed" in misspelt.stdout
    assert "JetStream drops" not in misspelt.stdout


def test_raw_deliveries_are_replayed_with_the_ids_they_had(lettered: Lettered) -> None:
    (event,) = lettered.on("shop.message.received")
    result = lettered.replay("--from", "raw")
    assert (result.exit_code, "12 replayed, 2 still fail" in result.stdout) == (1, True)
    replayed = lettered.on("shop.message.received")
    assert {json.loads(one.value)["id"] for one in replayed} == {json.loads(event.value)["id"]}
    assert len(replayed) == (1 if isinstance(lettered.space, NatsSpace) else 2)  # JetStream drops the copy
    assert len(lettered.on("raw")) == 14


def test_what_the_decoder_reads_in_headers_is_there_again_and_the_signature_is_nowhere(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    env = settings_of(nats_space, tmp_path, BRIDGE_SOURCES="hub=github", BRIDGE_RAW_TOPIC=nats_space.topic("raw"))
    del env["BRIDGE_SOURCE_SHOP_TOKEN"], env["BRIDGE_SOURCE_HUB_TOKEN"]
    env["BRIDGE_SOURCE_HUB_SECRET"] = TOKEN
    body = b'{"ref":"refs/heads/main"}'
    signature = hmac.digest(TOKEN.encode(), body, "sha256").hex()
    headers = {"x-github-event": "push", "x-github-delivery": "0b989ba4", "x-hub-signature-256": f"sha256={signature}"}
    with BridgeThread(env) as served:
        url = f"http://{served.bridge.address}/webhooks/hub"
        answer = httpx.post(url, content=body, headers=headers | {"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    (raw,) = asyncio.run(on(nats_space, "raw"))
    assert signature not in str(raw)
    (line,) = run_here("replay", "--from", "raw", "--json", env=env).stdout.splitlines()
    (event,) = json.loads(line)["events"]
    assert event == {"type": "push", "id": answer.json()["ids"][0], "topics": [nats_space.topic("hub.push")]}


def test_a_record_that_was_refused_out_of_the_spool_is_replayed_as_it_was(space: Space, tmp_path: Path) -> None:
    env = settings_of(space, tmp_path, BRIDGE_SOURCES="shop=chatlevel")
    del env["BRIDGE_SOURCE_HUB_TOKEN"]
    topic = space.topic("shop.call")
    with BridgeThread(env) as served:
        publisher = served.bridge.publisher
        assert publisher is not None
        dialect = publisher.dialect
        headers = {
            dialect.content_type: "application/json",
            f"{dialect.prefix}id": "e%1",
            f"{dialect.prefix}type": "t.v1",
        }
        record = Record(topic=topic, key="7", value=b'{"n": 1}', headers=dict(headers), dedup_id=f"e1@{topic}")
        kept = RefusedRecords(publisher.publish, {}, topic=space.topic("dead-letter"), dialect=dialect)
        served.run(kept.keep(Row(1, Entry("shop", record, NOW)), RecordRefused("not this one")))
    (letter,) = asyncio.run(on(space, "dead-letter"))
    assert (letter.value, letter.fact("reason"), letter.fact("key")) == (record.value, "record_refused", "7")
    (line,) = run_here("replay", "--json", env=env).stdout.splitlines()
    assert json.loads(line)["events"] == [{"type": "t.v1", "id": "e%1", "topics": [topic]}]
    (found,) = asyncio.run(on(space, "shop.call"))
    assert found.value == record.value
    assert found.headers.items() >= headers.items()
    assert found.headers.get("Nats-Msg-Id", record.dedup_id) == record.dedup_id


def test_wrong_usage_is_said(tmp_path: Path) -> None:
    env = {"BRIDGE_DATA_DIR": str(tmp_path)}
    for arguments, more in (
        (("--from", "raw"), {}),
        ((), {"BRIDGE_DEAD_LETTER_TOPIC": ""}),
        (("--from", "raw", "--reason", "undecodable"), {"BRIDGE_RAW_TOPIC": "raw"}),
        (("--name", "../x"), {}),
        (("--since", "1h", "--until", "2h"), {}),
    ):
        assert run_here("replay", *arguments, env=env | more).exit_code == 2
    (tmp_path / "position").write_text("{")
    assert run_here("replay", "--position", str(tmp_path / "position"), env=env).exit_code == 2


def test_without_a_broker_it_says_so_and_exits_1(tmp_path: Path) -> None:
    env = {"BRIDGE_DATA_DIR": str(tmp_path), "BRIDGE_BROKER": "nats://127.0.0.1:1"}
    result = run_here("replay", "--timeout", "0.5", env=env)
    assert result.exit_code == 1
    assert "0.5 s tried" in result.stderr


async def feed(space: NatsSpace, count: int) -> None:
    client = await nats.connect(space.url)
    try:
        for number in range(count):
            delivery = Delivery(json.dumps(presence(number)).encode(), {}, NOW)
            letter = Letter(id=letter_id("shop", delivery, ()), source="shop", delivery=delivery, reason="unknown_type")
            record = record_of(letter, topic=space.topic("dead-letter"), wanted=(), dialect=NatsPublisher.dialect)
            await client.publish(record.topic, record.value, headers=record.headers)
        await client.flush()
    finally:
        await client.close()


def test_killed_in_the_middle_it_goes_on_and_nothing_is_missing(nats_space: NatsSpace, tmp_path: Path) -> None:
    env = settings_of(nats_space, tmp_path, BRIDGE_SOURCES="shop=chatlevel")
    del env["BRIDGE_SOURCE_HUB_TOKEN"]
    with BridgeThread(env):
        pass  # makes the stream
    asyncio.run(feed(nats_space, 1500))
    position = tmp_path / "replay" / "dead-letter.json"
    command = [sys.executable, "-m", "bridge", "replay", "--json"]
    # as nobody reads what it prints, it stands still in the middle
    with subprocess.Popen(command, env=os.environ | env, stdout=subprocess.PIPE) as process:
        while not position.exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    interrupted = asyncio.run(stored(nats_space.url, nats_space.stream))[1500:]
    assert 64 <= len(interrupted) < 1500
    lines = run_here("replay", "--json", env=env).stdout.splitlines()
    assert len(lines) < 1500  # not from the beginning
    events = asyncio.run(stored(nats_space.url, nats_space.stream))[1500:]
    numbers = [json.loads(event.data)["data"]["payload"]["n"] for event in events]
    assert numbers == list(range(1500))  # in order, none missing; JetStream has dropped the copies


def test_a_stream_that_was_made_anew_is_replayed_from_its_beginning(nats_space: NatsSpace, tmp_path: Path) -> None:
    env = settings_of(nats_space, tmp_path, BRIDGE_SOURCES="shop=chatlevel")
    del env["BRIDGE_SOURCE_HUB_TOKEN"]
    for letters in (5, 3):
        with BridgeThread(env):
            pass  # makes the stream
        asyncio.run(feed(nats_space, letters))
        for expected in (letters, 0):
            assert len(run_here("replay", "--json", env=env).stdout.splitlines()) == expected
        asyncio.run(stream_api(nats_space.url, f"STREAM.DELETE.{nats_space.stream}"))
