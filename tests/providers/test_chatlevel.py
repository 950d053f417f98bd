"""Chatlevel beyond what every provider must do: identity, credentials, drift, contacts."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import UndecodableBody
from bridge.events.messaging import TYPES
from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.values import contact, e164, event_id, utc_time
from tests.contracts.provider_contract import ProviderContract
from tests.providers.goldens import RECEIVED_AT

DECODE = PROVIDERS["chatlevel"].decoder()


def events(event: str, data: Any, timestamp: Any = "2026-03-02T08:00:00.000Z", **envelope: Any) -> tuple[Event, ...]:
    body = {"event": event, "deviceId": 480213, "data": data, "timestamp": timestamp} | envelope
    return DECODE(Delivery(json.dumps(body).encode(), {}, RECEIVED_AT))


MESSAGE = {"id": "M1", "from": "5511912340000", "content": {"text": "oi"}, "type": "text"}
EDIT = {"messageId": "M1", "from": "5511912340000", "update": {"editedContent": {"text": "oi"}, "messageType": "text"}}


class TestContract(ProviderContract):
    name = "chatlevel"
    payload = "data"
    # `messages` makes a batch; the other party may also be named by phoneNumber or lid
    essential = frozenset({"id", "messageId", "from", "to", "status", "messages"})


def test_the_ten_documented_types_a_status_and_the_fallback_are_declared() -> None:
    assert [event_type.name for event_type in TYPES] == [
        "message.received",
        "message.sent",
        "message.updated",
        "message.status",
        "message.deleted",
        "call",
        "connection.open",
        "connection.closed",
        "connection.auth",
        "connection.timeout",
        "connection.logout",
        "unknown",
    ]


@pytest.mark.parametrize("event", ["message.received", "call", "message.deleted"])
def test_a_retry_with_a_new_timestamp_is_the_same_event_where_data_is_unique(event: str) -> None:
    data = {**MESSAGE, "messageId": "M1", "status": "offer"}
    first, second = (events(event, data, f"2026-03-02T08:00:0{n}.000Z")[0] for n in (1, 2))
    assert first.id == second.id


@pytest.mark.parametrize("event", ["connection.closed", "connection.auth", "connection.open", "presence.update"])
def test_the_timestamp_tells_apart_what_has_equal_data(event: str) -> None:
    first, second = (events(event, {}, f"2026-03-02T08:00:0{n}.000Z")[0] for n in (1, 2))
    assert first.id != second.id


@pytest.mark.parametrize("timestamp", [None, "", "soon", 0, "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("event", ["connection.closed", "connection.auth", "presence.update"])
def test_without_a_usable_timestamp_equal_data_later_is_another_event(event: str, timestamp: Any) -> None:
    body = json.dumps({"event": event, "deviceId": 1, "data": {}, "timestamp": timestamp}).encode()
    first, again, later = (
        DECODE(Delivery(body, {}, RECEIVED_AT + timedelta(seconds=seconds)))[0] for seconds in (0, 0, 1)
    )
    assert first.id == again.id != later.id
    assert first.time == RECEIVED_AT


def test_an_edit_back_to_an_earlier_text_is_another_event() -> None:
    first, second = (events("message.updated", EDIT, f"2026-03-02T08:00:0{n}.000Z")[0] for n in (1, 2))
    assert first.id != second.id


def test_device_event_and_data_each_change_the_id() -> None:
    base = events("message.received", MESSAGE)[0].id
    assert base != events("message.received", MESSAGE, deviceId=480214)[0].id
    assert base != events("message.received", {**MESSAGE, "content": {"text": "oi!"}})[0].id
    assert events("device.connected", {})[0].id != events("connection.open", {})[0].id


@given(st.tuples(*[st.text()] * 2, st.binary(), st.text()), st.tuples(*[st.text()] * 2, st.binary(), st.text()))
def test_no_two_different_tuples_share_an_id(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    assert (event_id(*one) == event_id(*two)) == (one == two)


def test_ids_do_not_change_between_versions() -> None:
    assert event_id("480213", "connection.open", b"{}", "t") == "bf5c2ebb3f5503dfb0e04931574d081d"


def test_pairing_codes_expire_after_a_minute_and_are_in_no_repr() -> None:
    (event,) = events("connection.auth", {"pairingCode": "K7QX2M9P", "qrCode": "data:sesame"})
    assert event.type.sensitive
    assert event.expirytime == event.time + timedelta(seconds=60)
    assert "K7QX2M9P" not in repr(event)
    assert "sesame" not in repr(event)


def test_unknown_fields_are_kept_verbatim_and_named() -> None:
    body = (
        b'{"event":"message.received","deviceId":1,"v":6,"data":'
        b'{"id":"M","from":"5511912340000","content":{},"big":123456789012345678901234567890,"v":[1.50]}}'
    )
    (event,) = DECODE(Delivery(body, {}, RECEIVED_AT))
    assert {name: bytes(value) for name, value in event.data.extra.items()} == {  # type: ignore[attr-defined]
        "envelope.v": b"6",
        "big": b"123456789012345678901234567890",
        "v": b"[1.50]",
    }
    assert set(event.drift) == {"v", "big", "envelope.v"}


def test_drift_names_are_short_and_few() -> None:
    (event,) = events("connection.closed", {f"{n}{'x' * 500}": 1 for n in range(100)})
    assert len(event.drift) <= 16
    assert all(len(name) <= 64 for name in event.drift)


def test_a_misfit_names_the_place_and_not_the_content() -> None:
    with pytest.raises(UndecodableBody) as raised:
        events("message.received", {**MESSAGE, "id": {"secret": "sesame"}})
    assert "$.data.id" in str(raised.value)
    assert "sesame" not in str(raised.value)


def test_a_misfit_inside_a_batch_names_the_item() -> None:
    with pytest.raises(UndecodableBody, match=r"\$\.data\.messages\[1\]"):
        events("message.received", {"messages": [MESSAGE, {"id": "M2"}]})


def test_items_of_a_batch_keep_their_order_and_have_ids_of_their_own() -> None:
    items = [{**MESSAGE, "id": f"M{n}"} for n in range(5)]
    made = events("message.received", {"messages": items})
    assert [event.subject for event in made] == ["M0", "M1", "M2", "M3", "M4"]
    alone = events("message.received", {"messages": items[2:3]})
    assert alone[0].id == made[2].id


def test_a_subject_that_is_no_header_text_is_left_out_but_kept_in_the_data() -> None:
    (event,) = events("message.received", {**MESSAGE, "id": "M\r\n1"})
    assert event.subject is None
    assert event.data.message_id == "M\r\n1"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5511912340000", "+5511912340000"),
        ("+5511912340000", "+5511912340000"),
        ("+55 (11) 91234-0000", "+5511912340000"),
        ("0551191234", None),
        ("12345", None),
        ("1234567890123456", None),
        ("abc", None),
        ("", None),
        (None, None),
        ("٥٥١١٩١٢٣٤٠٠٠٠", None),
    ],
)
def test_phone_numbers_become_e164_or_nothing(text: str | None, number: str | None) -> None:
    assert e164(text) == number


@pytest.mark.parametrize(
    ("identifier", "kind", "expected"),
    [
        ("5511912340000", "pn", ("5511912340000", "phone", "+5511912340000", None)),
        ("201987654321098", "lid", ("201987654321098", "lid", None, "201987654321098")),
        ("5511912340000@s.whatsapp.net", None, ("5511912340000", "phone", "+5511912340000", None)),
        ("5511912340000:12@s.whatsapp.net", None, ("5511912340000", "phone", "+5511912340000", None)),
        ("5511912340000@c.us", None, ("5511912340000", "phone", "+5511912340000", None)),
        ("201987654321098@lid", None, ("201987654321098", "lid", None, "201987654321098")),
        ("120363025246125486@g.us", None, ("120363025246125486", "group", None, None)),
        ("status@broadcast", None, ("status@broadcast", "other", None, None)),
        ("a@b@c", None, ("a@b@c", "other", None, None)),
        ("120363025246125486", "pn", ("120363025246125486", "other", None, None)),
    ],
)
def test_contacts_from_numbers_lids_and_jids(identifier: str, kind: str | None, expected: tuple[Any, ...]) -> None:
    made = contact(identifier, kind=kind, lid=None, phone_number=None, name="")
    assert (made.id, made.kind, made.phone_number, made.lid) == expected
    assert made.display_name is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-03-02T08:20:31.207Z", "2026-03-02T08:20:31.207000+00:00"),
        ("2026-03-02T05:20:31-03:00", "2026-03-02T08:20:31+00:00"),
        ("2026-03-02T08:20:31", "2026-03-02T08:20:31+00:00"),
        (1772439960, "2026-03-02T08:26:00+00:00"),
        (1772439960000, "2026-03-02T08:26:00+00:00"),
        ("1772439960", "2026-03-02T08:26:00+00:00"),
        ("1772439960123", "2026-03-02T08:26:00.123000+00:00"),
        ("yesterday", None),
        (0, None),
        (-1, None),
        ("9999-12-31T23:59:59Z", None),
        (253402300799, None),
        ("0001-01-01T00:00:00+14:00", None),
        (1e300, None),
        (float("inf"), None),
        (None, None),
    ],
)
def test_times_in_any_usual_form_become_utc(value: Any, text: str | None) -> None:
    made = utc_time(value)
    assert (made.isoformat() if made else None) == text


def test_what_a_batch_has_beyond_the_schema_is_kept_once() -> None:
    made = events("message.received", {"messages": [MESSAGE, {**MESSAGE, "id": "M2"}], "page": 1}, junk="x" * 1000)
    assert [b"xxx" in msgspec.json.encode(event.data) for event in made] == [True, False]
    assert [set(event.drift) for event in made] == [{"envelope.junk", "batch.page"}, set()]
