"""States of docs/delivery.md that no other test brings about, on a real NATS: the answer, and where the event is."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.brokers import NatsServer, stream_api
from tests.conftest import NatsSpace
from tests.e2e.in_process import message, post, serving, settings_of
from tests.e2e.kept import on
from tests.e2e.test_dead_letters import GARBAGE, send, sized
from tests.e2e.test_dedup import counted, seen_published
from tests.e2e.test_spool import DEADLINE_S, body, empty, ids_in_nats, spool, spooling
from tests.e2e.test_spool import post as take
from tests.processes import LATE_S, BridgeProcess, wait_until

Make = Callable[..., BridgeProcess]
RAW = "bridge.raw"


@pytest.fixture
def nats_up(nats_process: NatsServer) -> NatsServer:
    nats_process.start()
    return nats_process


def subjects(running: BridgeProcess) -> list[str]:
    return [stored.subject for stored in running.stored()]


def test_a_frozen_nats_is_answered_by_the_spool_in_time_and_its_late_acknowledgement_takes_the_row_out_unpublished(
    bridge: Make, nats_up: NatsServer
) -> None:
    running = bridge(**spooling(nats_up.url)).start()
    nats_up.pause()
    event_id = take(running, 1)
    assert spool(running)["rows"] == 1
    assert running.post(body(1)).json()["ids"] == [event_id], "the retry is a duplicate"
    assert spool(running)["rows"] == 1
    nats_up.resume()
    wait_until(lambda: empty(running))
    assert counted(running, "records_acknowledged_late") == 1
    assert counted(running, "records_drained") == 0
    assert ids_in_nats(running) == [event_id]


@pytest.mark.parametrize("spooled", [False, True])
def test_where_the_topic_is_missing_success_is_the_spools_alone_and_the_event_follows_once_it_is_there(
    bridge: Make, nats_up: NatsServer, spooled: bool
) -> None:
    settings = {"BRIDGE_PROVISION": "check", "BRIDGE_SPOOL": "on" if spooled else "off"}
    running = bridge(**spooling(nats_up.url, **settings)).start(ready=spooled)
    began = time.monotonic()
    answer = running.post(body(1))
    assert time.monotonic() - began < DEADLINE_S + LATE_S
    assert answer.status_code == (200 if spooled else 503), answer.text
    subjects_of_all = ["events.>", "bridge.dead-letter"]
    asyncio.run(stream_api(nats_up.url, "STREAM.CREATE.EVENTS", {"name": "EVENTS", "subjects": subjects_of_all}))
    if spooled:
        wait_until(lambda: empty(running))
    else:
        wait_until(lambda: running.post(body(1)).status_code == 200)
    assert len(ids_in_nats(running)) == 1


async def test_without_dead_letters_an_event_over_the_brokers_limit_is_413(
    nats_process: NatsServer, tmp_path: Path
) -> None:
    nats_process.start()
    env = settings_of(NatsSpace(nats_process.url), tmp_path, BRIDGE_DEAD_LETTER_TOPIC="")
    async with serving(env) as bridge:
        await asyncio.to_thread(nats_process.reload, "max_payload: 2000")
        async with asyncio.timeout(20):
            while (answer := await send(bridge, "shop", sized(1280))).status_code == 503:
                await asyncio.sleep(0.05)
    assert (answer.status_code, answer.json()["error"]) == (413, "record_too_large")


@pytest.mark.parametrize("spooled", [False, True])
def test_dead_letters_and_raw_copies_go_the_way_of_events_while_the_broker_is_down(
    bridge: Make, nats_up: NatsServer, spooled: bool
) -> None:
    settings = {"BRIDGE_RAW_TOPIC": RAW, "BRIDGE_SPOOL": "on" if spooled else "off"}
    running = bridge(**spooling(nats_up.url, **settings)).start()
    nats_up.kill()
    answers = [running.post(content) for content in (body(1), GARBAGE)]
    assert {answer.status_code for answer in answers} == ({200} if spooled else {503})
    if spooled:
        assert spool(running)["rows"] == 4, "an event, a letter, and a copy of each"
    nats_up.start()
    if spooled:
        wait_until(lambda: empty(running))
    else:
        wait_until(lambda: all(running.post(content).status_code == 200 for content in (body(1), GARBAGE)))
    assert sorted(subjects(running)) == sorted([RAW, RAW, "bridge.dead-letter", "events.chatlevel.message.received"])


async def test_of_a_fan_out_that_the_broker_takes_in_part_the_rest_is_in_the_spool(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    topics = [nats_space.topic(name) for name in ("a", "b")]
    rules = f"shop:message.* -> {', '.join(topics)}"
    async with serving(settings_of(nats_space, tmp_path, BRIDGE_ROUTES=rules, BRIDGE_SPOOL="on")) as bridge:
        assert bridge.spooling
        assert (await post(bridge, "shop", message(1))).status_code == 200
        await stream_api(nats_space.url, f"STREAM.PURGE.{nats_space.stream}", {"filter": topics[0]})
        config = (await stream_api(nats_space.url, f"STREAM.INFO.{nats_space.stream}"))["config"]
        full = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True}
        await stream_api(nats_space.url, f"STREAM.UPDATE.{nats_space.stream}", config | full)
        answers = [await post(bridge, "shop", message(2)) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert bridge.spooling.state().rows == 1
        assert len(await on(nats_space, "a")) == 1
        await stream_api(nats_space.url, f"STREAM.PURGE.{nats_space.stream}", {"filter": topics[1]})
        async with asyncio.timeout(20):
            while bridge.spooling.state().rows:
                await asyncio.sleep(0.05)
    (event,), (copy,) = await on(nats_space, "a"), await on(nats_space, "b")
    assert [json.loads(one.value)["id"] for one in (event, copy)] == answers[0].json()["ids"] * 2


def test_while_it_stops_what_is_under_way_is_answered_at_its_deadline_and_nothing_new_is_let_in(
    bridge: Make, nats_up: NatsServer
) -> None:
    deadline_s = 3.0  # long enough for all that is looked at meanwhile
    settings = {"BRIDGE_SPOOL": "off", "BRIDGE_SOURCE_CHATLEVEL_DEADLINE_MS": str(round(deadline_s * 1000))}
    running = bridge(**spooling(nats_up.url, **settings)).start()
    nats_up.pause()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(running.post, body(1))
        wait_until(lambda: running.in_flight() == 1)
        assert running.process
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(running))
        assert not under_way.done()
        assert (running.readiness() or {})["phase"] == "stopping"
        answer = under_way.result()
    assert (answer.status_code, answer.json()["error"]) == (503, "deadline_exceeded")
    assert answer.elapsed.total_seconds() < deadline_s + LATE_S
    assert running.process.wait(10) == 0


def refuses_connections(running: BridgeProcess) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", running.port), timeout=5):
        return False
    return True


async def test_without_a_data_directory_a_retry_after_a_restart_is_published_again_and_stored_once(
    bridge: Make, nats_up: NatsServer
) -> None:
    running = bridge(**spooling(nats_up.url, BRIDGE_SPOOL="off")).start()
    async with seen_published(nats_up.url, "events.>") as published:
        first = await asyncio.to_thread(take, running, 1)
        await asyncio.to_thread(running.stop)
        await asyncio.to_thread(running.start)
        assert await asyncio.to_thread(take, running, 1) == first
        assert len(await published()) == 2
    assert await asyncio.to_thread(ids_in_nats, running) == [first]


def test_without_dead_letters_a_record_that_is_refused_out_of_the_spool_stays_there_and_those_behind_it_go_on(
    bridge: Make, nats_up: NatsServer
) -> None:
    running = bridge(**spooling(nats_up.url, BRIDGE_DEAD_LETTER_TOPIC="")).start()
    nats_up.kill()
    small, large, behind = (running.post(body(number, text="x" * number)).json()["ids"][0] for number in (1, 5000, 2))
    assert running.stop() == 0
    nats_up.start()
    nats_up.reload("max_payload: 4000")
    running.start(ready=False)
    newer = take(running, 3)
    wait_until(lambda: ids_in_nats(running) == [small, behind, newer])
    wait_until(lambda: spool(running)["rows"] == 1)
    nats_up.reload("max_payload: 1MB")
    assert running.stop() == 0
    running.start()
    wait_until(lambda: empty(running))
    assert ids_in_nats(running) == [small, behind, newer, large], "tried again at the next start"
