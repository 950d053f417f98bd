"""The contract of a running bridge: the port says what the command says, whatever came in meanwhile."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import jsonschema

from bridge.contract import asyncapi
from tests.brokers import stored
from tests.conftest import NatsSpace
from tests.e2e.in_process import BOTH, post, serving, settings_of
from tests.processes import BridgeProcess, run_here


def test_port_and_command_say_the_same_bytes(bridge: Callable[..., BridgeProcess], tmp_path: Path) -> None:
    running = bridge(BRIDGE_ROUTES="*:message.* -> whatsapp.{type}, audit.all", BRIDGE_EVENT_FORMAT="binary").start()
    with httpx.Client(base_url=f"http://127.0.0.1:{running.ops_port}") as ops:
        served = ops.get("/asyncapi.json")
        assert served.headers["content-type"] == "application/json"
        assert served.content == run_here("export", "asyncapi", env=running.env).stdout_bytes
        assert run_here("export", "schemas", "--to", str(tmp_path), env=running.env).exit_code == 0
        for file in tmp_path.rglob("*.json"):
            assert ops.get(f"/schemas/{file.relative_to(tmp_path).as_posix()}").content == file.read_bytes()
        assert ops.get("/schemas").content == ops.get("/schemas/").content
        for dataschema, path in ops.get("/schemas/").json().items():
            assert ops.get(f"/schemas/{path}").json()["$id"] == dataschema
        missing = ops.get("/schemas/messaging/sung/v1.0.json")
        assert missing.status_code == 404
        assert "/schemas/" in missing.json()["detail"]


async def test_types_that_payloads_named_do_not_change_the_document(nats_space: NatsSpace, tmp_path: Path) -> None:
    async with serving(settings_of(nats_space, tmp_path)) as running, httpx.AsyncClient() as client:
        url = f"http://{running.ops_address}/asyncapi.json"
        before = asyncapi(running.config, BOTH)
        answer = await post(running, "hub", {"type": "push", "device": "d"})
        assert answer.status_code == 200
        served = await client.get(url)
        assert served.content == before
        assert f"{nats_space.prefix}.hub.{{type}}" in [
            channel["address"] for channel in json.loads(served.content)["channels"].values()
        ]


async def test_a_dead_letter_on_the_broker_is_as_the_served_document_says(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    async with serving(settings_of(nats_space, tmp_path)) as running, httpx.AsyncClient() as client:
        answer = await post(running, "shop", {"event": "message.received", "deviceId": 1, "data": "none"})
        assert answer.status_code == 200
        served = (await client.get(f"http://{running.ops_address}/asyncapi.json")).json()
    (letter,) = await stored(nats_space.url, nats_space.stream)
    assert letter.subject == nats_space.topic("dead-letter")
    (message,) = served["channels"][letter.subject]["messages"].values()
    jsonschema.Draft7Validator(message["headers"] | {"additionalProperties": False}).validate(letter.headers)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "messaging").write_text("in the way")
    result = run_here("export", "schemas", "--to", str(tmp_path), env={})
    assert (result.exit_code, "Traceback" in result.output) == (2, False)
    assert f"{tmp_path / 'messaging'}" in result.stderr
