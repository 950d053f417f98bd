"""examples/auto-replies: each message gets at most one answer, at the pace and in the way the API asks for."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.events.messaging import Contact
from bridge.providers import PROVIDERS
from tests.examples.conftest import EXAMPLES, Example
from tests.examples.modules import load
from tests.processes import BridgeProcess, run_here, wait_until
from tests.servers import free_ports, serving_beside

FOLDER = EXAMPLES / "auto-replies"
auto_replies = load(FOLDER / "auto_replies.py")
TOPIC = auto_replies.TOPIC


@pytest.fixture
def api() -> Iterator[Any]:
    """The documented API."""
    server = load(FOLDER / "api_stand_in.py").StandIn()
    with serving_beside(server):
        yield server
        server.speak.set()


class Replies:
    """The example with a ledger of its own, beside a bridge, against the documented API."""

    def __init__(self, example: Callable[..., Example], running: BridgeProcess, api: Any, ledger: Path) -> None:
        self.ledger, self.api, self.running = ledger, api, running
        self._start = lambda: example(
            "auto-replies", running, CHATLEVEL_API=api.url, CHATLEVEL_API_KEY=api.key, LEDGER=str(ledger)
        )

    def start(self) -> Example:
        """Until it answers what comes from now on."""
        started = self._start()
        started.says("answering")
        return started

    def send(self, age: timedelta = timedelta(0)) -> str:
        """Post a message to the bridge; its id."""
        answer = self.running.post(PROVIDERS["chatlevel"].sample("message.received", now=datetime.now(UTC) - age))
        (identity,) = answer.json()["ids"]
        return str(identity)

    def copies(self) -> None:
        """Put copies of all records on the topic, as happens where a broker keeps no ids."""

        async def copy() -> None:
            client = await nats.connect(self.running.nats_url, allow_reconnect=False)
            for message in stored:
                headers = {name: value for name, value in message.headers.items() if name != "Nats-Msg-Id"}
                await client.jetstream().publish(TOPIC, message.data, headers=headers)
            await client.close()

        stored = self.running.stored()
        asyncio.run(copy())

    def outcomes(self) -> dict[str, str]:
        with sqlite3.connect(self.ledger, timeout=10) as db:
            found = dict(db.execute("select id, outcome from answers"))
        db.close()
        return found

    def statuses(self) -> list[int]:
        return [status for _at, status, _to in self.api.requests]


@pytest.fixture
def replies(example: Callable[..., Example], running: BridgeProcess, api: Any, tmp_path: Path) -> Replies:
    return Replies(example, running, api, tmp_path / "ledger.sqlite")


def test_a_posted_message_gets_one_answer_whatever_comes_again(replies: Replies) -> None:
    first = replies.start()
    sent = replies.send()
    first.says(f"{sent} sent")
    ((_at, *request),) = replies.api.requests
    assert request == [200, "5511912340000@s.whatsapp.net"]
    replies.copies()
    first.says(f"{sent} came again: sent")
    first.end()
    second = replies.start()
    replies.copies()
    second.says(f"{sent} came again: sent")
    another = replies.send()
    second.says(f"{another} sent")
    assert replies.statuses() == [200, 200]


def test_it_runs_unchanged_on_the_messages_of_another_gateway(
    example: Callable[..., Example], bridge: Callable[..., BridgeProcess], api: Any, tmp_path: Path
) -> None:
    """That is what a common vocabulary is for: the source is called as before, its provider is WhatsApp Cloud."""
    running = bridge(BRIDGE_SOURCES="chatlevel=whatsapp-cloud")
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]  # it signs
    running.start()
    started = example(
        "auto-replies", running, CHATLEVEL_API=api.url, CHATLEVEL_API_KEY=api.key, LEDGER=str(tmp_path / "ledger")
    )
    started.says("answering")
    sent = run_here("send", "message.received", env=running.env)
    assert sent.exit_code == 0, sent.output
    started.says(" sent")
    ((_at, *request),) = api.requests
    assert request == [200, "5511912340000@s.whatsapp.net"]


def test_what_was_stored_before_the_first_start_and_what_is_an_hour_old_get_no_answer(replies: Replies) -> None:
    replies.send()
    program = replies.start()
    replies.send(age=timedelta(minutes=61))
    sent = replies.send()
    program.says(f"{sent} sent")
    assert replies.outcomes() == {sent: "sent"}


async def test_what_reaches_no_api_is_not_sent_and_may_be_tried_again() -> None:
    (port,) = free_ports(1)
    async with auto_replies.httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        with pytest.raises(auto_replies.NotSentError, match="no connection"):
            await auto_replies.post(client, "1", "1@lid", "x")


def test_what_was_surely_not_sent_is_tried_again_when_the_api_says(replies: Replies) -> None:
    replies.api.faults.extend([(429, {"retry-after": "2"}), (503, {})])
    program = replies.start()
    sent = replies.send()
    program.says(f"{sent} sent")
    assert replies.statuses() == [429, 503, 200]
    first, second, third = (at for at, _status, _to in replies.api.requests)
    assert second - first >= 2, "Retry-After"
    assert third - second >= 1.5, "the backoff of a second try"


def test_what_may_have_been_sent_and_what_is_refused_is_not_sent_again(replies: Replies) -> None:
    program = replies.start()
    elsewhere = {"location": f"{replies.api.url}/devices/1/messages/text"}
    for status, outcome in {500: "unknown", 408: "unknown", 307: "unknown", 422: "refused"}.items():
        replies.api.faults.append((status, elsewhere))
        sent = replies.send()
        program.says(f"{sent} {outcome}: {status}")
    replies.copies()
    program.says(f"{sent} came again: refused: 422")
    assert replies.statuses() == [500, 408, 307, 422]


def test_after_a_crash_between_request_and_answer_it_is_not_sent_again(replies: Replies) -> None:
    replies.api.faults.append((0, {}))
    program = replies.start()
    sent = replies.send()
    wait_until(lambda: replies.api.requests)
    assert replies.outcomes() == {sent: "sending"}
    program.end(signal.SIGKILL)
    replies.api.speak.set()
    again = replies.start()
    replies.copies()
    again.says(f"{sent} came again: unknown")
    assert len(replies.api.requests) == 1


def test_a_refused_key_loses_no_message(replies: Replies) -> None:
    right, replies.api.key = replies.api.key, "sk_other"
    program = replies.start()  # with the other key, which the API then takes no more
    replies.api.key = right
    sent = replies.send()
    program.says(f"{sent} again in 60 s: answer 401")
    assert replies.outcomes() == {}


def test_the_limit_is_kept_over_a_restart(replies: Replies) -> None:
    now = time.time()
    made = [now - 54 + number / 100 for number in range(100)]
    ledger = auto_replies.Ledger(str(replies.ledger))
    ledger._db.executemany("insert into requests values (?)", [(at,) for at in made])
    ledger._db.close()
    replies.api.requests.extend((at, 200, "") for at in made)
    program = replies.start()
    sent = replies.send()
    program.says(f"{sent} sent")
    assert 429 not in replies.statuses()
    (*_before, (at, _status, _to)) = replies.api.requests
    assert at - made[0] >= 60


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 10)), min_size=12, max_size=40))
def test_no_minute_has_more_requests_than_the_limit_whenever_the_api_gets_them(work: list[tuple[float, float]]) -> None:
    clock = [1_700_000_000.0]
    ledger = auto_replies.Ledger(":memory:", per_minute=3, clock=lambda: clock[0])
    arrived = []
    for pause, took in work:
        clock[0] += pause
        clock[0] += ledger.wait_s()
        request = ledger.began()
        arrived.append(clock[0] + took * (len(arrived) % 2))  # at its begin, or at its end
        clock[0] += took
        ledger.ended(request)
    ledger._db.close()
    assert all(later - earlier >= 59.999 for earlier, later in zip(arrived, arrived[3:], strict=False))


def test_answers_are_not_answered_and_groups_are_left_alone() -> None:
    texts = ("Bom dia!", "Hello there", "hi", "High time to cancel", "")
    answers = [auto_replies.reply_to(text) for text in texts]
    assert [answer is None for answer in answers] == [False, False, False, True, True]
    assert not any(auto_replies.reply_to(answer) for answer in answers if answer)
    addresses = [
        auto_replies.address(contact)
        for contact in (
            Contact(id="1", kind="phone", phone_number="+5511912340000", lid="7"),
            Contact(id="7", kind="lid", lid="7"),
            Contact(id="12", kind="group"),
        )
    ]
    assert addresses == ["5511912340000@s.whatsapp.net", "7@lid", None]


@pytest.mark.parametrize("device", ["../devices/7", "7/disconnect?", "\u0663", ""])
async def test_nothing_in_an_event_chooses_another_part_of_the_api(device: str, api: Any) -> None:
    async with auto_replies.httpx.AsyncClient(base_url=api.url) as client:
        assert await auto_replies.post(client, device, "1@lid", "x") == "refused: not a device of Chatlevel"
    assert api.requests == []
