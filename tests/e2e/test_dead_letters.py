"""Dead letters and raw deliveries, as a whole bridge in this process leaves them on real brokers."""

import asyncio
import json
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx
import pytest

from bridge.app import Bridge
from tests.brokers import NatsServer, stored, stream_api
from tests.conftest import KafkaSpace, NatsSpace
from tests.e2e.in_process import TOKEN, message, post, serving, settings_of
from tests.e2e.kept import Space, on
from tests.kafka_operator import KafkaOperator

GARBAGE = bytes(range(256)) * 4
ODD = bytes(range(0x21, 0x7F)) + b" \t " + bytes(range(0x80, 0x100)) + b"%0d%0aNats-Msg-Id: 1%00"


async def send(bridge: Bridge, source: str, body: bytes, headers: dict[str, bytes] | None = None) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        url = f"http://{bridge.address}/webhooks/{source}/{TOKEN}"
        return await client.post(url, content=body, headers=list((headers or {}).items()))


def counted(bridge: Bridge, reason: str, source: str = "shop") -> float:
    return bridge.metrics.value("bridge_dead_letters_total", source, reason)


async def test_what_cannot_be_decoded_is_kept_whole_once_and_answered_with_success(
    space: Space, tmp_path: Path
) -> None:
    async with serving(settings_of(space, tmp_path)) as bridge:
        answers = [await send(bridge, "shop", GARBAGE) for _ in range(3)]
        answers.append(await send(bridge, "hub", GARBAGE))
        assert counted(bridge, "undecodable") == 1
        assert bridge.metrics.value("bridge_deliveries_total", "shop", "dead_lettered") == 3
    assert {answer.status_code for answer in answers} == {200}
    letters = await on(space, "dead-letter")
    assert [letter.value for letter in letters] == [GARBAGE, GARBAGE]  # one of each source
    first = letters[0]
    assert [first.fact("id")] == answers[0].json()["ids"] == answers[2].json()["ids"]
    assert (first.fact("source"), first.fact("reason")) == ("shop", "undecodable")
    assert first.fact("received")
    assert first.fact("detail")
    assert first.fact("topic") is None


async def test_odd_and_huge_headers_leave_one_record_and_nothing_of_a_credential(
    space: Space, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = TOKEN.encode()
    headers = {
        "authorization": b"Bearer " + canary,
        "cookie": b"session=" + canary,
        "proxy-authorization": b"Basic " + canary,
        "x-gitlab-token": canary,
        "x-hub-signature-256": b"sha256=" + canary,
        "referer": b"https://hooks.example.com/webhooks/hub/" + canary,
        "x-anything": canary,
        "x-event": ODD,
        "user-agent": ODD * 20,
    }
    async with serving(settings_of(space, tmp_path, BRIDGE_RAW_TOPIC=space.topic("raw"))) as bridge:
        assert (await send(bridge, "hub", b"\0{", headers)).status_code == 200
    (letter,), (raw,) = await on(space, "dead-letter"), await on(space, "raw")
    for found in (letter, raw):
        assert found.value == b"\0{"
        assert TOKEN not in str(found)
        text = found.fact("header-x-event") or ""
        kept = unquote_to_bytes(text).decode() if isinstance(space, NatsSpace) else text
        assert len(kept) > 100
        assert ODD.replace(b"\t", b" ").startswith(kept.encode("latin-1", "replace").rstrip(b"?"))
        assert len(str(found.headers)) < 4096
    if isinstance(space, NatsSpace):
        assert len(await stored(space.url, space.stream)) == 2
    captured = capsys.readouterr()
    assert TOKEN not in captured.out + captured.err


async def test_without_a_topic_for_them_the_answer_is_what_it_was(space: Space, tmp_path: Path) -> None:
    async with serving(settings_of(space, tmp_path, BRIDGE_DEAD_LETTER_TOPIC="")) as bridge:
        answer = await send(bridge, "shop", GARBAGE)
    assert (answer.status_code, answer.json()["error"]) == (400, "undecodable")


async def test_a_device_that_is_not_allowed_stays_refused_and_nothing_of_it_is_kept(
    space: Space, tmp_path: Path
) -> None:
    env = settings_of(space, tmp_path, BRIDGE_RAW_TOPIC=space.topic("raw"), BRIDGE_SOURCE_SHOP_DEVICES="1")
    async with serving(env) as bridge:
        assert (await post(bridge, "shop", message())).status_code == 403
    assert [await on(space, name) for name in ("dead-letter", "raw")] == [[], []]


async def test_unknown_events_become_letters_where_the_source_says_so_and_known_ones_beside_them_do_not(
    space: Space, tmp_path: Path
) -> None:
    env = settings_of(
        space, tmp_path, BRIDGE_SOURCE_HUB_UNKNOWN="dead-letter", BRIDGE_SOURCE_SHOP_UNKNOWN="dead-letter"
    )
    batch = {"batch": [{"type": "ping", "n": 1}, {"type": "No Name!"}, {"type": "ping", "n": 2}]}
    async with serving(env) as bridge:
        presence = await post(bridge, "shop", {**message(event="connection.closed"), "event": "presence.update"})
        mixed = await post(bridge, "hub", batch)
        assert [counted(bridge, "unknown_type", source) for source in ("shop", "hub")] == [1, 1]
    assert (presence.status_code, mixed.status_code, len(mixed.json()["ids"])) == (200, 200, 3)
    letters = await on(space, "dead-letter")
    assert [json.loads(letter.value)["event" if number == 0 else "batch"] for number, letter in enumerate(letters)] == [
        "presence.update",
        batch["batch"],
    ]
    assert "1 of the 3 events" in unquote_to_bytes(letters[1].fact("detail") or "").decode()
    assert [json.loads(one.value)["id"] for one in await on(space, "hub.ping")] == mixed.json()["ids"][:2]


async def test_every_delivery_is_on_the_raw_topic_in_order_and_once(space: Space, tmp_path: Path) -> None:
    bodies = [json.dumps(message(number), indent=number).encode() for number in range(6)]
    env = settings_of(space, tmp_path, BRIDGE_RAW_TOPIC=space.topic("raw"))
    async with serving(env) as bridge:
        for body in (*bodies, bodies[2], GARBAGE):
            assert (await send(bridge, "shop", body, {"content-type": b"application/json"})).status_code == 200
    raws = await on(space, "raw")
    assert [raw.value for raw in raws] == [*bodies, GARBAGE]
    assert {raw.fact("reason") for raw in raws} == {None}
    assert {raw.fact("source") for raw in raws} == {"shop"}
    assert unquote_to_bytes(raws[0].fact("header-content-type") or "") == b"application/json"


async def test_success_waits_for_the_raw_record_too(nats_space: NatsSpace, tmp_path: Path) -> None:
    raw, subjects = nats_space.topic("raw"), [f"{nats_space.prefix}.shop.>"]
    stream = {"name": nats_space.stream, "subjects": subjects}
    await stream_api(nats_space.url, f"STREAM.CREATE.{nats_space.stream}", dict(stream))
    env = settings_of(nats_space, tmp_path, BRIDGE_RAW_TOPIC=raw, BRIDGE_PROVISION="off")
    async with serving(env | {"BRIDGE_SOURCE_SHOP_DEADLINE_MS": "500"}) as bridge:
        assert (await post(bridge, "shop", message())).status_code == 503
        await stream_api(nats_space.url, f"STREAM.UPDATE.{nats_space.stream}", {**stream, "subjects": [*subjects, raw]})
        async with asyncio.timeout(20):
            while (await post(bridge, "shop", message())).status_code != 200:
                await asyncio.sleep(0.05)
    assert [len(await on(nats_space, name)) for name in ("shop.message.received", "raw")] == [1, 1]


async def test_what_the_broker_refuses_for_good_is_kept_with_the_topic_it_was_for(
    kafka_space: KafkaSpace, tmp_path: Path
) -> None:
    rules = f"shop:message.* -> {kafka_space.topic('a')}, {kafka_space.topic('b')}"
    async with (
        serving(settings_of(kafka_space, tmp_path, BRIDGE_ROUTES=rules)) as bridge,
        KafkaOperator(kafka_space.bootstrap) as operator,
    ):
        await operator.alter_topic(kafka_space.topic("b"), {"max.message.bytes": "100"})
        answers = [await post(bridge, "shop", message()) for _ in range(2)]
        assert counted(bridge, "record_too_large") == 1
        told = bridge.readiness().sources["shop"]
        assert (told.dead_letters, told.duplicates) == ({"record_too_large": 1}, 2)  # event and letter, once more
    assert [answer.status_code for answer in answers] == [200, 200]
    (event,), (letter,) = await on(kafka_space, "a"), await on(kafka_space, "dead-letter")
    event_id = json.loads(event.value)["id"]
    assert answers[0].json()["ids"] == [event_id, letter.fact("id")]
    assert (letter.fact("reason"), letter.fact("topic")) == ("record_too_large", kafka_space.topic("b"))
    assert letter.fact("dedupid") == f"{event_id}@{kafka_space.topic('b')}"
    assert json.loads(letter.value) == message()


def sized(size: int, number: int = 1) -> bytes:
    """A message of so many bytes whose event is some 800 larger, and its letter 600: its long id is there twice."""
    body = message()
    body["data"]["id"] = str(number) * 250
    missing = size - len(json.dumps({**body, "extra": ""}).encode())
    return json.dumps({**body, "extra": "x" * missing}).encode()


async def test_on_nats_what_is_too_large_as_an_event_and_not_as_it_came_is_kept_and_what_is_so_both_ways_is_413(
    nats_process: NatsServer, tmp_path: Path
) -> None:
    nats_process.start()
    space = NatsSpace(nats_process.url)
    async with serving(settings_of(space, tmp_path)) as bridge:
        await asyncio.to_thread(nats_process.reload, "max_payload: 2000")
        async with asyncio.timeout(20):
            while (answer := await send(bridge, "shop", sized(1280))).status_code == 503:
                await asyncio.sleep(0.05)
        assert answer.status_code == 200, answer.text
        assert counted(bridge, "record_too_large") == 1
        too_large = await send(bridge, "shop", sized(1600, 2))
    assert (too_large.status_code, too_large.json()["error"]) == (413, "record_too_large")
    (letter,) = await on(space, "dead-letter")
    assert letter.value == sized(1280)


async def test_when_the_letter_cannot_be_stored_the_provider_tries_again_and_then_it_is(
    nats_process: NatsServer, tmp_path: Path
) -> None:
    nats_process.start()
    space = NatsSpace(nats_process.url)
    async with serving(settings_of(space, tmp_path, BRIDGE_SOURCE_SHOP_DEADLINE_MS="500")) as bridge:
        nats_process.kill()
        answer = await send(bridge, "shop", GARBAGE)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        nats_process.start()
        async with asyncio.timeout(20):
            while (await send(bridge, "shop", GARBAGE)).status_code != 200:
                await asyncio.sleep(0.05)
    assert len(await on(space, "dead-letter")) == 1
