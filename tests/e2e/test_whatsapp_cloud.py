"""WhatsApp Cloud as it is served: the subscription's question, batches, and a consumer of Chatlevel's topics."""

import hmac
import json
import re
from collections.abc import Callable
from typing import Any

import httpx

from bridge.events import messaging, parse
from tests.processes import BridgeProcess
from tests.providers.goldens import FOLDER

SECRET, TOKEN = "app-secret-canary-7f3a9c51", "verify-canary-19c4"


def post(running: BridgeProcess, content: Any) -> httpx.Response:
    body = json.dumps(content).encode()
    signature = f"sha256={hmac.digest(SECRET.encode(), body, 'sha256').hex()}"
    url = f"http://127.0.0.1:{running.port}/webhooks/chatlevel"
    return httpx.post(url, content=body, headers={"x-hub-signature-256": signature})


def test_a_batch_is_acknowledged_together_and_deduplicated_each(bridge: Callable[..., BridgeProcess]) -> None:
    running = bridge(
        BRIDGE_SOURCES="chatlevel=whatsapp-cloud",
        BRIDGE_SOURCE_CHATLEVEL_SECRET=SECRET,
        BRIDGE_SOURCE_CHATLEVEL_VERIFY_TOKEN=TOKEN,
    )
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]  # it signs
    running.start()
    url = f"http://127.0.0.1:{running.port}/webhooks/chatlevel"
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": TOKEN}
    answer = httpx.get(url, params=asked)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (
        200,
        "1158201444",
        "text/plain; charset=utf-8",
    )
    assert httpx.get(url, params=asked | {"hub.verify_token": "wrong"}).status_code == 403
    assert httpx.get(url).status_code == 405
    assert running.stored() == []

    batch = json.loads((FOLDER / "whatsapp-cloud" / "batch.in.json").read_bytes())
    del batch["entry"][1]["changes"][0]["value"]["messages"][1]  # it has no id, and so is a new one each time
    first = json.loads(json.dumps(batch))
    del first["entry"][1:]
    del first["entry"][0]["changes"][1:]
    assert post(running, first).status_code == 200
    answer = post(running, batch)
    assert (answer.status_code, len(answer.json()["ids"])) == (200, 5)
    assert post(running, batch).json() == answer.json()
    stored = running.stored()
    # what a consumer of Chatlevel's topics reads: the same topics, types and structs
    assert sorted(message.subject for message in stored) == [
        *["events.chatlevel.message.received"] * 3,
        *["events.chatlevel.message.status"] * 2,
    ]
    received = [parse(message.data) for message in stored if message.subject.endswith("message.received")]
    assert [event.data.content["text"] for event in received] == ["one", "two", "three"]  # type: ignore[union-attr]
    assert all(isinstance(event.data, messaging.MessageReceived) for event in received)

    metrics = httpx.get(f"{running.ops_url}/metrics").text
    assert re.search(r'bridge_deliveries_total\{outcome="handshake",source="chatlevel"\} 2\.0', metrics)
    log = running.log.read_text()
    assert not any(secret in log for secret in (SECRET, TOKEN))
