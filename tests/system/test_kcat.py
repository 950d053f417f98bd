"""What the bridge publishes to Kafka, as a program reads it that shares no code with it: kcat, on librdkafka."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.conftest import KafkaSpace
from tests.generated import ROOT
from tests.processes import BridgeProcess, on_kafka


def kcat(line: str) -> list[str]:
    if shutil.which("kcat") is None:
        pytest.fail("kcat is missing: run `make system`, which installs it")
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_kcat_reads_key_headers_and_value_of_what_the_bridge_published(
    bridge: Callable[..., BridgeProcess], kafka_space: KafkaSpace
) -> None:
    running = on_kafka(bridge, kafka_space)
    sent = [json.loads(running.cli("send").stdout.splitlines()[-1])["ids"][0] for _ in range(2)]
    (line,) = (line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("kcat "))
    line = line.replace("127.0.0.1:9092", kafka_space.bootstrap)
    line = line.replace("events.chatlevel.message.received", kafka_space.topic("message.received"))
    for identity, shown in zip(sent, kcat(line), strict=True):
        key, content_type, charset_and_rest, value = shown.split(" ", 3)
        headers = dict(header.split("=", 1) for header in f"{content_type} {charset_and_rest}".split(","))
        assert key == "480213"
        assert headers == {
            "content-type": "application/cloudevents+json; charset=UTF-8",
            "ce_id": identity,
            "ce_type": "messaging.message.received.v1",
        }
        event = json.loads(value)
        assert (event["id"], event["type"], event["partitionkey"]) == (identity, headers["ce_type"], key)
        assert event["data"]["content"]["text"] == "Bom dia! Tem pão de queijo?"
