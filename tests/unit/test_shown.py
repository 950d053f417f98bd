"""What of a record is shown, and which records are wanted: without a broker."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bridge.cli.bodies import Body
from bridge.cli.console import PersonConsole
from bridge.cli.masking import one_line, plain, pretty
from bridge.cli.send import _tell
from bridge.cli.shown import Shown, Wanted, line_of, show
from bridge.cli.summary import show_summary
from bridge.cli.tally import Answer, Tally
from bridge.publishers.base import Received

STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
EVENT = {
    "specversion": "1.0",
    "id": "a",
    "type": "messaging.message.received.v1",
    "source": "/shop/devices/48%2F2",
    "partitionkey": "k",
    "data": {"text": "oi"},
}


def received(value: bytes, headers: dict[str, str], *, key: str | None = None, topic: str = "whatsapp.in") -> Received:
    return Received(topic=topic, key=key, value=value, headers=headers, time=datetime(2026, 3, 2, tzinfo=UTC), seq=1)


def structured(**changes: Any) -> Received:
    return received(msgspec.json.encode(EVENT | changes), STRUCTURED)


def seen(record: Received) -> Shown:
    return Shown.of(record, show_credentials=False)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(pattern="whatsapp.*"),
        Wanted(pattern="message.*"),
        Wanted(pattern="messaging.*"),
        Wanted(pattern="messaging.message.received.v1"),
        Wanted(source="shop", device="48/2", key="k"),
    ],
)
def test_wanted(wanted: Wanted) -> None:
    assert wanted(seen(structured()))


@pytest.mark.parametrize(
    "wanted",
    [Wanted(pattern="message"), Wanted(pattern="call"), Wanted(source="sho"), Wanted(device="48"), Wanted(key="kk")],
)
def test_not_wanted(wanted: Wanted) -> None:
    assert not wanted(seen(structured()))


@pytest.mark.parametrize("prefix", ["ce-", "ce_"])
def test_a_binary_event_is_seen_as_a_structured_one(prefix: str) -> None:
    headers = {f"{prefix}{name}": value for name, value in EVENT.items() if isinstance(value, str)}
    if prefix == "ce-":
        headers["ce-source"] = "/shop/devices/48%252F2"
    record = seen(received(b'{"text":"oi"}', {"content-type": "application/json", **headers}))
    assert record.event is not None
    assert {name: record.event[name] for name in EVENT} == EVENT
    assert record.key == "k"


@pytest.mark.parametrize(
    "value",
    [b"", b"\xff", b"[1]", b"{}", *(b'{"data":' * depth + b"1" + b"}" * depth for depth in (400, 600, 900, 5000))],
)
@pytest.mark.parametrize("headers", [{}, STRUCTURED, {"ce_specversion": "1.0"}])
def test_whatever_is_on_a_topic_is_shown_and_ends_nothing(value: bytes, headers: dict[str, str]) -> None:
    for show_credentials in (False, True):
        record = Shown.of(received(value, headers), show_credentials=show_credentials)
        assert (record.event is None) != (record.error is None)
        assert Wanted()(record)
        assert not Wanted(device="1")(record)
        assert json.loads(line_of(record))["topic"] == "whatsapp.in"
        show(record, PersonConsole())


def test_the_records_own_key_comes_first() -> None:
    assert seen(received(msgspec.json.encode(EVENT), STRUCTURED, key="kafka")).key == "kafka"
    assert seen(structured()).key == "k"


def test_credentials_are_hidden_by_type_and_by_name() -> None:
    secret = {"type": "messaging.connection.auth.v2", "data": {"device_id": "7", "other": "sesame"}}
    assert "sesame" not in str(seen(structured(**secret)).event)
    for extra in ({"qrText": "sesame"}, [{"PairingCode": "sesame"}], {"qr": [["sesame"], {"a": "sesame"}]}):
        assert "sesame" not in str(seen(structured(data={"extra": extra})).event)
    shown = seen(structured(data={"device_id": "7", "text": "oi", "list": [{"a": 1}], "qr": None})).event
    assert shown is not None
    assert shown["data"] == {"device_id": "7", "text": "oi", "list": [{"a": 1}], "qr": None}
    assert "sesame" in str(Shown.of(structured(**secret), show_credentials=True).event)


def test_nothing_moves_the_cursor_of_a_terminal() -> None:
    moves = "\x00\x07\x08\x0b\x0c\r\x1b\x1f\x7f\x85\x9b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069"
    assert one_line(f"a{moves}\nb") == "a" + "\ufffd" * (len(moves) + 1) + "b"
    assert plain(f"[red]{moves}") == "\\[red]" + "\ufffd" * len(moves)
    assert not set(moves) & set(pretty({"a": moves}))


async def test_neither_what_others_publish_nor_what_they_answer_moves_it(capsys: pytest.CaptureFixture[str]) -> None:
    moves = "a\x1b[2Jb"
    named = seen(
        received(msgspec.json.encode(EVENT | {"type": f"x.{moves}.v1", "id": moves}), STRUCTURED, topic=f"{moves}.")
    )
    assert named.name == moves
    show(named, PersonConsole())
    answer = Answer(502, moves, moves, f"{moves}\n{moves}", (), moves)
    _tell(Body("push.json", b"{}"), answer, 0.1, None)
    tally = Tally(200)
    tally.begin()
    tally.note(answer, latency_s=0.1, first=True)
    show_summary(tally.report(None), asked_rate=None)
    printed = capsys.readouterr().out
    assert printed.count("a\ufffd[2Jb") == 8, "topic, name, id; text twice, Retry-After; error and detail"
    assert "\x1b" not in printed
