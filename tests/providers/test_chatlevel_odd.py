"""What no documentation promises: nothing refused that need not be, nothing lost, nothing unsafe."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bridge.errors import UndecodableBody
from bridge.events.cloudevents import StructuredEncoder
from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from tests.contracts.provider_contract import validate
from tests.providers.goldens import RECEIVED_AT, decode

DECODE = PROVIDERS["chatlevel"].decoder()
ENCODE = StructuredEncoder("shop").encode
MESSAGE = {"id": "M1", "from": "5511912340000", "fromType": "pn", "content": {"text": "oi"}, "type": "text"}


def body(event: str, data: Any, **envelope: Any) -> bytes:
    """One body; a field given as ... is left out."""
    content = {"event": event, "deviceId": 480213, "data": data, "timestamp": "2026-03-02T08:00:00.000Z"} | envelope
    return json.dumps({name: value for name, value in content.items() if value is not ...}).encode()


def one(raw: bytes, *, received_at: datetime = RECEIVED_AT) -> Event:
    for published in decode("chatlevel", raw):
        validate(published)
    (event,) = DECODE(Delivery(raw, {}, received_at))
    return event


def data(raw: bytes) -> dict[str, Any]:
    one(raw)
    published: dict[str, Any] = decode("chatlevel", raw)[0]["data"]
    return published


def without(name: str) -> dict[str, Any]:
    return {field: value for field, value in MESSAGE.items() if field != name}


class TestTimes:
    @pytest.mark.parametrize(
        "timestamp",
        [
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "yesterday",
            "",
            0,
            -1,
            10**30,
            253402300799,
            True,
            {"s": 1},
            [],
        ],
    )
    def test_an_odd_timestamp_is_kept_and_the_receive_time_taken(self, timestamp: Any) -> None:
        event = one(body("connection.auth", {"pairingCode": "K7QX2M9P"}, timestamp=timestamp))
        assert event.time == RECEIVED_AT
        assert data(body("connection.open", {}, timestamp=timestamp))["extra"] == {"envelope.timestamp": timestamp}

    def test_a_number_beyond_floats_is_an_odd_timestamp(self) -> None:
        event = one(b'{"event":"connection.open","deviceId":1,"data":{},"timestamp":1e999}')
        assert event.time == RECEIVED_AT
        assert bytes(event.data.extra["envelope.timestamp"]) == b"1e999"  # type: ignore[attr-defined]

    @pytest.mark.parametrize("timestamp", [..., None, "", 0, "0001-01-01T00:00:00Z"])
    @pytest.mark.parametrize("event", ["connection.closed", "message.updated", "presence.update"])
    def test_without_a_usable_timestamp_equal_data_at_another_time_is_no_duplicate(
        self, event: str, timestamp: Any
    ) -> None:
        """Else the second of two disconnections within the window would be dropped as a retry."""
        raw = body(event, {"messageId": "M1", "from": "5511912340000"}, timestamp=timestamp)
        first, second = (one(raw, received_at=RECEIVED_AT + timedelta(minutes=n)) for n in (0, 9))
        assert first.id != second.id

    def test_without_a_timestamp_a_message_is_still_recognised_by_its_data(self) -> None:
        raw = body("message.received", MESSAGE, timestamp=...)
        first, second = (one(raw, received_at=RECEIVED_AT + timedelta(minutes=n)) for n in (0, 9))
        assert first.id == second.id

    def test_an_odd_call_date_does_not_refuse_the_call(self) -> None:
        call = {"id": "C1", "from": "5511912340000", "status": "offer", "date": {"s": 1}}
        made = data(body("call", call))
        assert made["called_at"] is None
        assert made["extra"] == {"date": {"s": 1}}

    def test_two_odd_times_are_both_kept(self) -> None:
        made = data(body("message.received", MESSAGE | {"timestamp": "soon"}, timestamp="later"))
        assert made["extra"] == {"timestamp": "soon", "envelope.timestamp": "later"}

    def test_a_time_with_an_offset_is_published_in_utc(self) -> None:
        event = one(body("connection.open", {}, timestamp="2026-03-02T05:00:00-03:00"))
        assert event.time == datetime(2026, 3, 2, 8, tzinfo=UTC)
        assert decode("chatlevel", body("connection.open", {}, timestamp="2026-03-02T05:00:00-03:00"))[0]["time"] == (
            "2026-03-02T08:00:00Z"
        )


class TestTheSixthGeneration:
    def test_an_event_of_no_device_is_published_as_unknown(self) -> None:
        raw = body("subscription.expired", {"plan": "pro"}, deviceId=...)
        event = one(raw)
        assert (event.type.name, event.device) == ("unknown", "unknown")
        assert data(raw)["device_id"] is None
        assert data(raw)["payload"] == {"plan": "pro"}

    @pytest.mark.parametrize("device", [0, -1, 2**63, 1.5, True, {"id": 1}, "", "a b", "a\x00", "é", "x" * 129])
    def test_an_odd_device_is_refused_where_the_event_is_known_and_kept_where_it_is_not(self, device: Any) -> None:
        with pytest.raises(UndecodableBody, match="deviceId"):
            one(body("connection.open", {}, deviceId=device))
        assert data(body("presence.update", {}, deviceId=device))["extra"] == {"envelope.deviceId": device}

    @pytest.mark.parametrize("name", ["", "x" * 5000, "a\x00\r\n"])
    def test_an_odd_event_name_is_unknown_and_kept_whole(self, name: str) -> None:
        made = data(body(name, {}))
        assert name.startswith(made["event"])
        assert made["event"] == name or made["extra"]["envelope.event"] == name

    @pytest.mark.parametrize("payload", [None, 7, "x", [1], ...])
    def test_an_unknown_event_may_have_any_data(self, payload: Any) -> None:
        made = data(body("presence.update", payload))
        assert made["payload"] == (None if payload is ... else payload)

    @pytest.mark.parametrize("event", ["connection.open", "connection.closed", "connection.auth", "connection.logout"])
    @pytest.mark.parametrize("nothing", [None, ...])
    def test_no_data_is_empty_data_where_data_may_be_empty(self, event: str, nothing: Any) -> None:
        assert one(body(event, nothing)).type.name == event

    def test_a_device_sent_as_text_is_the_same_device(self) -> None:
        assert one(body("connection.open", {}, deviceId="480213")).id == one(body("connection.open", {})).id

    def test_a_second_name_of_the_device_is_kept(self) -> None:
        made = data(body("connection.open", {}, instanceId="inst_77"))
        assert made["device_id"] == "480213"
        assert made["extra"] == {"envelope.instanceId": "inst_77"}

    @pytest.mark.parametrize("content", [{}, {"content": None}])
    def test_a_message_without_content_is_a_message(self, content: dict[str, Any]) -> None:
        made = data(body("message.received", without("content") | {"type": "sticker"} | content))
        assert (made["content"], made["message_type"]) == ({}, "sticker")

    def test_a_message_without_type_is_text_only_if_it_has_text(self) -> None:
        assert data(body("message.received", without("type")))["message_type"] == "text"
        assert data(body("message.received", without("type") | {"content": {"url": "x"}}))["message_type"] == "unknown"

    def test_an_update_without_content_is_an_update(self) -> None:
        event = one(body("message.updated", {"messageId": "M1", "from": "5511912340000"}))
        assert event.type.name == "message.updated"


class TestContacts:
    def test_the_other_party_may_be_named_by_number_or_lid_alone(self) -> None:
        number = data(body("message.received", without("from") | {"phoneNumber": "5511912340000"}))["contact"]
        assert (number["kind"], number["phone_number"]) == ("phone", "+5511912340000")
        lid = data(body("message.received", without("from") | {"from": "", "lid": "201987654321098"}))["contact"]
        assert (lid["kind"], lid["lid"]) == ("lid", "201987654321098")
        with pytest.raises(UndecodableBody, match=r"`from` - at `\$\.data`"):
            one(body("message.received", without("from")))

    def test_what_the_gateway_calls_neither_number_nor_lid_is_never_called_a_phone(self) -> None:
        made = data(body("message.received", MESSAGE | {"from": "123456789012", "fromType": "username"}))
        assert made["contact"]["kind"] == "other"
        assert made["contact"]["phone_number"] is None
        assert made["extra"] == {"fromType": "username"}

    @pytest.mark.parametrize(
        ("party", "number"),
        [("5511912340000", "+5511912340000"), ("201987654321098@lid", None), ("status@broadcast", None)],
    )
    def test_a_number_that_is_none_is_kept_whether_or_not_another_one_is_known(
        self, party: str, number: str | None
    ) -> None:
        made = data(body("message.received", MESSAGE | {"from": party, "phoneNumber": "0800"}))
        assert made["contact"]["phone_number"] == number
        assert made["extra"] == {"phoneNumber": "0800"}

    @pytest.mark.parametrize("identifier", ["a\r\nX: y", "a\x00", "é", "x" * 5000, " a"])
    def test_a_contact_that_is_no_header_text_is_no_key_but_kept_in_the_data(self, identifier: str) -> None:
        event = one(body("message.received", MESSAGE | {"from": identifier}))
        assert event.contact is None
        assert event.data.contact.id == identifier  # type: ignore[attr-defined]

    def test_fields_of_the_other_direction_are_kept(self) -> None:
        made = data(body("message.received", MESSAGE | {"to": "5511900000000", "toType": "pn"}))
        assert made["extra"] == {"to": "5511900000000", "toType": "pn"}


class TestNothingIsLost:
    def test_fields_of_one_name_in_envelope_batch_and_item_are_all_kept(self) -> None:
        made = data(body("message.received", {"messages": [MESSAGE | {"v": 1}], "v": 2}, v=3))
        assert made["extra"] == {"v": 1, "batch.v": 2, "envelope.v": 3}

    def test_a_field_named_like_a_place_is_kept_too(self) -> None:
        made = data(body("message.received", MESSAGE | {"envelope.v": 1, "v": 2}, v=3))
        assert sorted(made["extra"].values()) == [1, 2, 3]

    def test_an_edit_with_a_status_keeps_both(self) -> None:
        update = {"status": "read", "editedContent": {"text": "a"}, "pinned": True}
        raw = body("message.updated", {"messageId": "M1", "from": "5511912340000", "update": update})
        assert data(raw)["content"] == {"text": "a"}
        assert data(raw)["extra"] == {"update.status": "read", "update.pinned": True}
        assert one(raw).drift == ("update.pinned",)

    def test_what_a_status_has_no_place_for_is_kept(self) -> None:
        update = {"status": 3, "messageType": "text"}
        raw = body("message.updated", {"messageId": "M1", "from": "5511912340000", "fromMe": False, "update": update})
        assert data(raw)["status"] == "3"
        assert data(raw)["extra"] == {"fromMe": False, "update.messageType": "text"}

    def test_numbers_and_escapes_come_out_as_they_came_in(self) -> None:
        content = rb'{"n":1.50,"big":123456789012345678901234567890,"far":1e999,"s":"\u00e9\/\u0000"}'
        raw = (
            b'{"event":"message.received","deviceId":1,"data":{"id":"M","from":"5511912340000","content":%b}}' % content
        )
        (event,) = DECODE(Delivery(raw, {}, RECEIVED_AT))
        assert content in msgspec.json.encode(event.data)

    def test_of_a_name_given_twice_the_last_one_counts_for_the_data_and_for_the_id(self) -> None:
        names = b'"event":"call","event":"connection.closed","deviceId":7,"deviceId":480213,'
        time = b'"timestamp":"2026-03-02T08:00:00.000Z",'
        twice = one(b"{%b%b%b}" % (names, time, b'"data":{"reason":"a"},"data":{"reason":"b"}'))
        assert twice.data.reason == "b"  # type: ignore[attr-defined]
        assert twice.id == one(b"{%b%b%b}" % (names, time, b'"data":{"reason":"b"}')).id


@pytest.mark.parametrize("name", ["\x1b[31m\r\n\u2028évil{}", "", "x" * 500])
def test_drift_names_are_short_printable_ascii(name: str) -> None:
    (drift,) = one(body("connection.closed", {name: 1})).drift
    assert drift.isascii()
    assert drift.isprintable()
    assert 0 < len(drift) <= 64


@pytest.mark.parametrize("depths", [(20, 500, 5000, 100_000), range(900, 1010)], ids=["far", "edge"])
def test_deep_nesting_is_an_event_or_undecodable(depths: Iterable[int]) -> None:
    """Which of both depends on the stack; at the edge decoding still works and a step after it may not."""
    outcomes = set()
    for depth in depths:
        for payload in (b"[" * depth + b"]" * depth, b'{"a":\n' * depth + b"1" + b"}" * depth):
            for raw in (
                b'{"event":"presence.update","deviceId":1,"data":%b}' % payload,
                b'{"event":"connection.open","deviceId":1,"data":{"x":%b},"timestamp":%b}' % (payload, payload),
                b'{"event":"message.received","deviceId":1,"data":{"id":"M","from":"5","content":{"x":%b}}}' % payload,
            ):
                outcomes.add(publish_or_refuse(raw, payload))
    assert outcomes == {True, False}


def publish_or_refuse(raw: bytes, payload: bytes) -> bool:
    try:
        events = DECODE(Delivery(raw, {}, RECEIVED_AT))
    except UndecodableBody as error:
        assert "deep" in str(error)  # noqa: PT017 -- either may happen
        return False
    assert payload.replace(b"\n", b"") in ENCODE(events[0], key="k").replace(b"\n", b"")
    return True


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"])
@pytest.mark.parametrize(
    "raw",
    [
        b'{"event":"presence.update","deviceId":1,"data":"%b"}',
        b'{"event":"presence.update","deviceId":1,"data":{"%b":1}}',
        b'{"event":"connection.closed","deviceId":1,"data":{"x":"%b"}}',
        b'{"event":"connection.closed","deviceId":1,"data":{},"x":"%b"}',
        b'{"event":"message.received","deviceId":1,"data":{"id":"M","from":"5","content":{"text":"%b"}}}',
        b'{"event":"message.received","deviceId":1,"data":{"id":"%b","from":"5"}}',
        b'{"event":"%b","deviceId":1}',
    ],
)
def test_bad_utf_8_anywhere_is_undecodable(raw: bytes, bad: bytes) -> None:
    """What is kept raw would be republished as it is."""
    with pytest.raises(UndecodableBody, match="UTF-8"):
        DECODE(Delivery(raw % bad, {}, RECEIVED_AT))


def test_no_refusal_ever_quotes_the_body() -> None:
    canary = "s3same"
    fields = ["id", "from", "fromType", "lid", "phoneNumber", "pushName", "content", "type", canary]
    bodies = [
        body("message.received", MESSAGE | {field: value})
        for field in fields
        for value in ({canary: canary}, [canary], canary, {canary: {canary: 1}}, 7)
    ]
    bodies += [body("message.received", {"messages": [{canary: canary}]}), body("call", canary), body("call", [canary])]
    bodies += [body("message.received", MESSAGE, deviceId={canary: 1}), body("call", {"status": {canary: 1}})]
    bodies += [raw[:cut] + canary.encode() for raw in bodies[:5] for cut in range(0, len(raw), 7)]
    bodies += [canary.encode(), f'"{canary}"'.encode(), f'{{"event":"{canary}"'.encode(), canary.encode() + b"\xff"]
    refusals = []
    for raw in bodies:
        try:
            DECODE(Delivery(raw, {}, RECEIVED_AT))
        except UndecodableBody as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert not [text for text in refusals if canary in text]
