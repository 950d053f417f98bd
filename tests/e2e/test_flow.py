"""From HTTP to a consumer, and through the life of the process."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bridge.providers import PROVIDERS
from tests.brokers import NatsServer
from tests.processes import LATE_S, TOKEN, WAIT_S, BridgeProcess, wait_until

Make = Callable[..., BridgeProcess]

NOTHING_YET = {"seconds_until_first_loss": None, "duplicates": 0, "ambiguous": 0, "dead_letters": {}}


def sample(event: str = "message.received") -> bytes:
    return PROVIDERS["chatlevel"].sample(event, now=datetime.now(UTC))


def test_each_event_type_reaches_a_consumer_on_its_topic(bridge: Make) -> None:
    running = bridge().start()
    names = PROVIDERS["chatlevel"].sample_events
    ids = {}
    for name in names:
        answer = running.post(sample(name))
        assert answer.status_code == 200
        (ids[name],) = answer.json()["ids"]
    unknown = running.post(sample("connection.closed").replace(b"connection.closed", b"presence.update"))
    (ids["unknown"],) = unknown.json()["ids"]
    stored = {message.subject: message for message in running.stored()}
    assert set(stored) == {f"events.chatlevel.{name}" for name in (*names, "unknown")}
    for name, event_id in ids.items():
        message = stored[f"events.chatlevel.{name}"]
        event = json.loads(message.data)
        assert event["id"] == message.headers["ce-id"] == event_id
        assert event["type"] == message.headers["ce-type"] == f"messaging.{name}.v1"
        assert message.headers["Content-Type"].startswith("application/cloudevents+json")
        assert message.headers["Nats-Msg-Id"] == f"{event_id}@events.chatlevel.{name}"
        assert ("Nats-TTL" in message.headers) == (name == "connection.auth")


def test_fifty_equal_requests_at_once_store_one_event(bridge: Make) -> None:
    running = bridge().start()
    body = sample()

    async def post_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=50)) as client:
            return await asyncio.gather(*(client.post(running.url, content=body) for _ in range(50)))

    answers = asyncio.run(post_all())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(running.stored()) == 1


def test_a_retry_after_a_restart_stores_nothing_twice_and_nothing_is_lost(bridge: Make) -> None:
    running = bridge().start()
    body, other = sample(), sample()
    assert running.post(body).status_code == 200
    assert running.stop() == 0
    running.start()
    assert running.post(body).status_code == 200
    assert running.post(other).status_code == 200
    assert len(running.stored()) == 2


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in found] + [grandchild for child in found for grandchild in children(int(child))]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_the_embedded_server_ends_with_us_even_after_kill_9(bridge: Make) -> None:
    running = bridge().start()
    assert running.process
    below = children(running.process.pid)
    assert len(below) == 2  # the leash and the server
    running.kill()
    wait_until(lambda: not any(map(alive, below)))
    running.start()  # the lock and the port are free again


def test_the_embedded_server_is_started_again_when_it_dies(bridge: Make) -> None:
    running = bridge().start()
    assert running.process
    server = children(running.process.pid)[-1]
    assert running.post(sample()).status_code == 200
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not alive(server))
    wait_until(lambda: running.ready() and running.post(sample()).status_code == 200)
    assert len(running.stored()) >= 2


def test_a_second_bridge_on_one_data_directory_is_refused(bridge: Make) -> None:
    running = bridge().start()
    second = bridge("data")
    refused = second.cli("serve")
    assert refused.returncode == 2
    assert "BRIDGE_DATA_DIR" in refused.stderr
    assert "is in use by process" in refused.stderr
    assert running.ready()


def test_a_taken_port_is_named_with_its_variable(bridge: Make) -> None:
    running = bridge().start()
    for variable, port in (
        ("BRIDGE_LISTEN", running.port),
        ("BRIDGE_OPS_LISTEN", running.ops_port),
        ("BRIDGE_EMBEDDED_LISTEN", running.nats_port),
    ):
        refused = bridge("other", **{variable: f"127.0.0.1:{port}"}).cli("serve")
        assert refused.returncode == 2
        assert variable in refused.stderr
        assert "in use" in refused.stderr


def test_ctrl_c_reaches_the_bridge_alone_and_flushes_first(bridge: Make) -> None:
    running = bridge()
    running.log.parent.mkdir(exist_ok=True)
    running.start()
    assert running.process
    leash, server = children(running.process.pid)
    assert os.getsid(leash) == os.getsid(server) != os.getsid(running.process.pid)
    assert running.stop(signal.SIGINT) == 0
    assert [line["event"] for line in log_lines(running)][-2:] == ["stopping", "stopped"]
    wait_until(lambda: not alive(server))


def log_lines(running: BridgeProcess) -> list[dict[str, str]]:
    """Those that are whole: a thread writes them, a moment after what they tell of."""
    whole, _, _ = running.log.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.split(b"\n") if line.startswith(b"{")]


def logged(running: BridgeProcess, event: str) -> list[dict[str, str]]:
    return [line for line in log_lines(running) if line["event"] == event]


def test_sigterm_finishes_what_is_in_flight_and_exits_0(bridge: Make, nats_process: NatsServer) -> None:
    nats_process.start()
    running = bridge(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create").start()

    async def in_flight() -> int:
        async with httpx.AsyncClient() as client:
            nats_process.pause()
            posting = asyncio.create_task(client.post(running.url, content=sample(), timeout=10))
            await asyncio.to_thread(wait_until, lambda: running.in_flight() == 1)
            assert running.process
            running.process.terminate()
            await asyncio.to_thread(wait_until, lambda: (running.readiness() or {}).get("phase") == "stopping")
            assert (await client.get(f"{running.ops_url}/health/ready")).status_code == 503
            nats_process.resume()
            return (await posting).status_code

    assert asyncio.run(in_flight()) == 200
    assert running.process
    assert running.process.wait(WAIT_S) == 0
    assert len(running.stored()) == 1


def test_settings_reach_the_entrance(bridge: Make) -> None:
    running = bridge(
        BRIDGE_SOURCE_CHATLEVEL_SUCCESS_STATUS="202",
        BRIDGE_SOURCE_CHATLEVEL_MAX_BODY_BYTES="1024",
        BRIDGE_SOURCE_CHATLEVEL_DEVICES="480213",
        BRIDGE_MAX_HEADER_BYTES="2048",
        BRIDGE_HEADER_TIMEOUT_MS="1000",
    ).start()
    assert running.post(sample()).status_code == 202
    assert running.post(sample() + b" " * 1024).status_code == 413
    assert running.post(sample().replace(b"480213", b"480214")).status_code == 403
    assert httpx.post(running.url, content=sample(), headers={"x": "y" * 2048}).status_code == 431
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as trickle:
        trickle.sendall(b"POST /")
        assert trickle.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_source_that_asks_for_no_proof_is_named_in_readiness_and_the_log(bridge: Make) -> None:
    running = bridge(BRIDGE_SOURCE_CHATLEVEL_VERIFY="none")
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    running.start()
    running.url = running.url.removesuffix(f"/{TOKEN}")
    assert running.post(sample()).status_code == 200
    state = running.readiness()
    assert state
    assert "VERIFY=none" in state["warnings"][0]
    assert state["sources"] == {"chatlevel": NOTHING_YET | {"verify": "none"}}
    (said,) = (line for line in running.log.read_text().splitlines() if "BRIDGE_SOURCE_CHATLEVEL_VERIFY" in line)
    assert "setting_will_hurt" in said
    assert "events are taken from anybody" in said


def test_a_log_says_where_each_webhook_is_and_where_the_rest_of_its_url(bridge: Make) -> None:
    running = bridge(
        BRIDGE_SOURCES="chatlevel,hub=github,open=generic",
        BRIDGE_SOURCE_HUB_PUBLIC_URL="https://hooks.example.com/",
        BRIDGE_SOURCE_HUB_SECRET=TOKEN,
        BRIDGE_SOURCE_OPEN_VERIFY="none",
    )
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    running.start()
    base, kept = f"http://127.0.0.1:{running.port}/webhooks", running.data_dir / "tokens" / "chatlevel"
    told = {"source", "url", "token", "secret"}
    said = wait_until(lambda: len(found := logged(running, "webhook")) == 3 and found)
    assert [{name: line[name] for name in line.keys() & told} for line in said] == [
        {"source": "chatlevel", "url": f"{base}/chatlevel/***", "token": str(kept)},
        {"source": "hub", "url": "https://hooks.example.com/webhooks/hub", "secret": "BRIDGE_SOURCE_HUB_SECRET"},
        {"source": "open", "url": f"{base}/open"},
    ]
    assert kept.exists()


def test_the_listener_speaks_tls_where_told_to(bridge: Make, certificate: tuple[str, str, str]) -> None:
    authority, chain, key = certificate
    running = bridge(BRIDGE_TLS_CERT_FILE=chain, BRIDGE_TLS_KEY_FILE=key).start()
    url = running.url.replace("http://127.0.0.1", "https://localhost")
    answer = httpx.post(url, content=sample(), verify=ssl.create_default_context(cafile=authority))
    assert answer.status_code == 200
    assert running.cli("send").returncode == 0


def test_a_broker_that_comes_late_makes_503_then_200_without_a_restart(bridge: Make, nats_process: NatsServer) -> None:
    running = bridge(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create").start(ready=False)
    wait_until(lambda: "nobody listens at the broker's address" in running.reasons())
    assert httpx.get(f"http://127.0.0.1:{running.ops_port}/health/live").status_code == 200
    started = time.monotonic()
    answer = running.post(sample())
    assert time.monotonic() - started < 3 + LATE_S
    assert (answer.status_code, answer.json()["error"]) == (503, "broker_unavailable")
    assert answer.headers["retry-after"]
    nats_process.start()
    wait_until(running.ready)
    assert running.post(sample()).status_code == 200


def test_a_missing_stream_is_not_ready_with_its_remedy(bridge: Make, nats_process: NatsServer) -> None:
    nats_process.start()
    running = bridge(BRIDGE_BROKER=nats_process.url).start(ready=False)
    wait_until(lambda: "does not exist" in running.reasons())
    assert "BRIDGE_PROVISION=create" in running.reasons()
    answer = running.post(sample())
    assert answer.status_code == 503
    assert answer.elapsed.total_seconds() < 3 + LATE_S


def test_a_frozen_broker_is_503_at_the_deadline_and_heals(bridge: Make, nats_process: NatsServer) -> None:
    nats_process.start()
    settings = {"BRIDGE_BROKER": nats_process.url, "BRIDGE_PROVISION": "create"}
    running = bridge(**settings, BRIDGE_SOURCE_CHATLEVEL_DEADLINE_MS="1000").start()
    body = sample()
    assert running.post(sample()).status_code == 200
    nats_process.pause()
    for _ in range(3):
        answer = running.post(body)
        assert answer.status_code == 503
        assert answer.elapsed.total_seconds() < 1 + LATE_S
    wait_until(lambda: not running.ready())
    nats_process.resume()
    wait_until(running.ready)
    assert running.post(body).status_code == 200
    assert len(running.stored()) == 2  # the frozen attempts and the retry are one event


def test_a_killed_broker_heals_and_loses_nothing_acknowledged(bridge: Make, nats_process: NatsServer) -> None:
    nats_process.start()
    running = bridge(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create").start()
    acknowledged = set(running.post(sample()).json()["ids"])
    nats_process.kill()
    assert running.post(sample()).status_code == 503
    wait_until(lambda: not running.ready())
    nats_process.start()
    wait_until(running.ready)
    acknowledged |= set(running.post(sample()).json()["ids"])
    assert acknowledged <= {json.loads(message.data)["id"] for message in running.stored()}


def test_no_secret_and_no_payload_is_in_any_log_metric_or_answer(bridge: Make) -> None:
    running = bridge(BRIDGE_LOG_LEVEL="debug").start()
    secret = b"sesame-in-the-payload"
    running.post(sample("connection.auth").replace(b"data:image", secret))
    running.post(sample().replace(b"Bom dia", secret))
    running.post(sample().replace(b'"id"', b'"x"').replace(b"Bom dia", secret))
    base = f"http://127.0.0.1:{running.port}"
    said = []
    for path in (
        f"/webhooks/typo/{TOKEN}",
        f"/{TOKEN}",
        f"/webhooks/chatlevel/{TOKEN}/x",
        f"/webhooks/chatlevel?t={TOKEN}",
    ):
        said += [httpx.post(base + path, content=sample()).text, httpx.get(base + path).text]
    said.append(httpx.get(running.url, headers={"accept": "text/html"}).text)
    said += [httpx.get(f"http://127.0.0.1:{running.ops_port}/{path}").text for path in ("metrics", "health/ready", "")]
    assert running.stop() == 0
    said.append(running.log.read_text())
    for text in said:
        assert TOKEN not in text
        assert secret.decode() not in text
    told = [line["event"] for line in log_lines(running)]
    # one line each: four paths with two methods, the page; the undecodable one; none for a success
    assert (told.count("delivery_rejected"), told.count("dead_lettered")) == (9, 1)
    assert "bridge_deliveries_total" in said[-4]
