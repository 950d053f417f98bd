"""examples/real-time: the feed misses nothing, and forwarding keeps order and gives up nothing that may be taken.

Needs Node, so `make system` runs it; the page in a browser is in test_pages.
"""

import asyncio
import itertools
import json
import shlex
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

import httpx
import nats
import pytest

from tests.conftest import KafkaSpace
from tests.examples.conftest import EXAMPLES, pending
from tests.examples.real_time import RealTime, real_time
from tests.processes import BridgeProcess, on_kafka, wait_until
from tests.servers import serving_beside
from tests.system.containers import CACHE

__all__ = ["real_time"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

README = (EXAMPLES / "real-time" / "README.md").read_text()


class Service(ThreadingTCPServer):
    """What events are forwarded to.

    Attributes:
        taken: key and body of each request, with its time and the answer.
        answers: to give first, each a status and headers; then 200.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[float, int, str, dict[str, Any]]] = []
        self.answers: deque[tuple[int, dict[str, str]]] = deque()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/events?key=hush"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, headers = self.server.answers.popleft() if self.server.answers else (200, {})
        assert self.headers["content-type"] == "application/cloudevents+json"
        self.server.taken.append((time.monotonic(), status, self.headers["idempotency-key"], event))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    with serving_beside(server):
        yield server


class Feed:
    """As a browser asks for it; entered once the program listens to the topics."""

    def __init__(self, url: str, after: str | None = None) -> None:
        headers = {"last-event-id": after} if after else {}
        self._request = httpx.stream("GET", f"{url}/events", headers=headers, timeout=20)

    def __enter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        lines = self._request.__enter__().iter_lines()
        assert next(lines) == "retry: 1000"
        return self._events(lines)

    def __exit__(self, *error: object) -> None:
        self._request.__exit__(None, None, None)

    @staticmethod
    def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        number = ""
        for line in lines:
            name, _, value = line.partition(": ")
            number = value if name == "id" else number
            if name == "data":
                yield number, json.loads(value)


def test_a_browser_that_comes_again_misses_nothing_and_sees_no_credentials(real_time: RealTime) -> None:
    real_time.send()  # before anybody looked
    real_time.start()
    with Feed(real_time.url) as feed:
        real_time.send("connection.auth")
        first, second = real_time.send(), real_time.send("call")
        (number, event), (_number, later) = itertools.islice(feed, 2)
        assert (event["id"], later["id"]) == (first, second)
    third = real_time.send("connection.open")
    with Feed(real_time.url, after=number) as feed:
        assert [event["id"] for _number, event in itertools.islice(feed, 2)] == [second, third]


def test_however_many_events_a_browser_takes_nothing_is_left_of_them(real_time: RealTime) -> None:
    program = real_time.start()
    with Feed(real_time.url) as feed:
        for number in range(12):
            real_time.post_text(f"{number} " + "x" * 20_000)  # each fills what Node buffers
        assert len(list(itertools.islice(feed, 12))) == 12
    assert "MaxListenersExceededWarning" not in program.log.read_text()


def test_what_is_no_event_of_the_bridge_does_not_end_the_forwarder(
    real_time: RealTime, service: Service, running: BridgeProcess
) -> None:
    async def put() -> None:
        client = await nats.connect(running.nats_url, allow_reconnect=False)
        await client.jetstream().publish("events.chatlevel.call", b"{}")
        await client.close()

    program = real_time.start(FORWARD_URL=service.url)
    program.says("forwarding to")
    asyncio.run(put())
    program.says("taken")
    program.says(f"{real_time.send()} taken")


def test_the_page_answers_to_its_own_name_alone_and_may_not_be_framed(real_time: RealTime) -> None:
    real_time.start()
    page = httpx.get(real_time.url)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    for path in ("/", "/events"):
        assert httpx.get(real_time.url + path, headers={"host": "evil.example"}).status_code == 421
    assert [httpx.get(real_time.url + path).status_code for path in ("/package.json", "/../README.md")] == [404, 404]


def test_events_are_forwarded_in_order_until_they_are_taken(real_time: RealTime, service: Service) -> None:
    service.answers.extend([(503, {}), (429, {"retry-after": "2"}), (200, {}), (400, {})])
    service.answers.extend([(307, {"location": "/x"}), (401, {}), (200, {})])
    program = real_time.start(FORWARD_URL=service.url)
    program.says("forwarding to")
    sent = [real_time.send() for _ in range(4)]
    real_time.send("connection.auth")
    program.says(f"{sent[3]} taken")
    assert [(status, key) for _at, status, key, _event in service.taken] == [
        (503, sent[0]),
        (429, sent[0]),
        (200, sent[0]),
        (400, sent[1]),
        (307, sent[2]),
        (401, sent[2]),
        (200, sent[2]),
        (200, sent[3]),
    ]
    assert all(event["id"] == key for _at, _status, key, event in service.taken)
    first, second, third, *_rest = (at for at, _status, _key, _event in service.taken)
    assert second - first >= 0.4, "backoff"
    assert third - second >= 1.9, "Retry-After"
    assert "hush" not in program.log.read_text()


def test_what_came_while_the_forwarder_was_away_is_forwarded_and_nothing_twice(
    real_time: RealTime, service: Service, running: BridgeProcess
) -> None:
    program = real_time.start(FORWARD_URL=service.url)
    program.says("forwarding to")
    before = real_time.send()
    program.says(f"{before} taken")
    wait_until(lambda: pending(running) == 0)
    program.end()
    sent = real_time.send()
    real_time.start(FORWARD_URL=service.url).says(f"{sent} taken")
    assert [key for _at, _status, key, _event in service.taken] == [before, sent]


def test_the_kcat_lines_of_the_readme_read_the_events_from_kafka(
    bridge: Callable[..., BridgeProcess], kafka_space: KafkaSpace
) -> None:
    running = on_kafka(bridge, kafka_space)
    sent = running.cli("send").stdout.split('"')[3]
    stored, _new = (line for line in README.splitlines() if line.startswith("kcat "))
    own = {"127.0.0.1:9092": kafka_space.bootstrap, "events.chatlevel.": f"{kafka_space.prefix}."}
    for name, ours in own.items():
        stored = stored.replace(name, ours)
    shown = subprocess.run(shlex.split(stored), capture_output=True, text=True, timeout=30, check=True).stdout
    key, _, value = shown.strip().partition(" ")
    assert (key, json.loads(value)["id"]) == ("480213", sent)
    new = [*shlex.split(_new.replace("127.0.0.1:9092", kafka_space.bootstrap)), "-e"]
    new[new.index("-t") + 1] = kafka_space.topic("message.received")
    assert subprocess.run(new, capture_output=True, text=True, timeout=30, check=True).stdout == ""


def test_no_file_of_the_folder_says_where_packages_come_from() -> None:
    for file in (EXAMPLES / "real-time").glob("*"):
        if file.is_file():
            assert "registry" not in file.read_text().replace("omit-lockfile-registry-resolved", ""), file
    lock = json.loads((EXAMPLES / "real-time" / "package-lock.json").read_text())
    assert all(Path(name).name == "" or "integrity" in package for name, package in lock["packages"].items())


def test_the_nats_lines_of_the_readme_read_the_events(running: BridgeProcess, tmp_path: Path) -> None:
    program = CACHE / "bin" / "nats"
    if not program.exists():
        pytest.fail("the NATS CLI is missing: run `make system`, which builds it")
    info, last, follow = ([program, *shlex.split(line)[1:]] for line in README.splitlines() if line.startswith("nats "))
    options: dict[str, Any] = {"env": {"NATS_URL": running.nats_url, "HOME": str(tmp_path)}, "text": True}
    sent = running.cli("send").stdout.split('"')[3]
    for command, said in ((info, "events.chatlevel"), (last, sent)):
        assert said in subprocess.run(command, capture_output=True, check=True, timeout=30, **options).stdout
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*follow, "--count", "1"], **pipes, **options) as following:
        assert following.stdout
        assert "Subscribing" in following.stdout.readline()
        later = []
        while following.poll() is None:  # it says so a moment before it does
            later.append(running.cli("send").stdout.split('"')[3])
        shown = following.stdout.read()
    assert any(one in shown for one in later)
