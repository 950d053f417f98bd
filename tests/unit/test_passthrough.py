"""Bodies of every kind, read by what presets share."""

from datetime import UTC, datetime

import msgspec
import pytest

from bridge.errors import UndecodableBody
from bridge.events.model import Event
from bridge.providers.base import Delivery
from bridge.providers.captured import read_captured
from bridge.providers.passthrough import fallback_type, form_fields, items, json_object, make_event, text, time_of

AT = datetime(2026, 3, 6, 12, tzinfo=UTC)
FALLBACK = fallback_type("toy")


def of_batch(body: bytes) -> list[Event]:
    """One event an item, as a preset makes them whose sender sends arrays."""
    delivery = Delivery(body, {}, AT)
    made = []
    for item in items(body):
        fields = json_object(item)
        made.append(make_event(delivery, FALLBACK, item, name=text(fields, "event"), identity=text(fields, "id")))
    return made


def test_an_array_is_one_event_an_item_each_with_its_own_payload() -> None:
    made = of_batch(b'[{"event": "bounce", "id": "a"}, {"event": "open"}, {"event": "open", "x": 1}]')
    assert [event.type.name for event in made] == ["bounce", "open", "open"]
    assert bytes(made[0].data) == b'{"event": "bounce", "id": "a"}'
    assert made[0].id == "a"
    assert len({event.id for event in made}) == 3


@pytest.mark.parametrize("body", [b"[]", b"{}", b"[1]", b"[{}, null]", b'[{"a": "\xff"}]', b"[" * 9999, b"", b"[{}"])
def test_an_array_of_anything_else_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableBody):
        of_batch(body)


def test_a_form_keeps_every_value() -> None:
    assert form_fields(b"a=1&b=&a=2&c=%C3%BC+%2B&a=2") == {"a": ["1", "2", "2"], "b": "", "c": "ü +"}
    assert form_fields(b"a=1&a=1&b=&b=&c=12&c=12") == {"a": ["1", "1"], "b": ["", ""], "c": ["12", "12"]}


@pytest.mark.parametrize("body", [b"", b"a", b"a=%FF", b"\xff=1", b"&".join([b"a=1"] * 1001)])
def test_what_is_no_form_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableBody):
        form_fields(body)


def test_a_form_without_an_end_is_read_in_no_time() -> None:
    with pytest.raises(UndecodableBody):
        form_fields(b"a=1&" * 60_000)


def test_an_identity_or_key_that_is_no_header_text_becomes_a_digest_of_it() -> None:
    def made(identity: str, key: str) -> Event:
        return make_event(Delivery(b"{}", {}, AT), FALLBACK, b"{}", name="x", identity=identity, key=key)

    assert (made("a-1", "shop").id, made("a-1", "shop").device) == ("a-1", "shop")
    odd = [made(identity, key) for identity in ("ü", "ö", "x" * 999) for key in ("\n", "sh op")]
    assert len({event.id for event in odd}) == len(odd)
    assert {event.device for event in odd} == {odd[0].device, odd[1].device}
    assert made("", "").device == "unknown"


def test_times_of_any_usual_form_are_read_and_others_are_none() -> None:
    fields = json_object(
        b'{"s": 1772798281, "ms": 1772798281000, "f": 1772798281.0, "t": "2026-03-06T11:58:01Z", "b": true}'
    )
    assert {time_of(fields, name) for name in ("s", "ms", "f", "t")} == {datetime(2026, 3, 6, 11, 58, 1, tzinfo=UTC)}
    assert time_of(fields, "missing", "b", "s") is not None
    assert time_of(fields, "missing", "b") is None
    assert text(json_object(msgspec.json.encode({"a": [1], "b": None, "c": True})), "a") == ""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_captured_request_is_read_whatever_ends_its_lines(line_end: str) -> None:
    head = ["POST /webhooks/x?a=1 HTTP/1.1", "Host: h", "X-A:  b ", "x-a: c", "Content-Length: 4"]
    captured = read_captured((line_end.join([*head, "", ""]) + "\r\n\n!\n").encode())
    assert captured.method == "POST"
    assert (captured.path, captured.query) == (b"/webhooks/x", b"a=1")
    assert [pair for pair in captured.headers if pair[0] == b"x-a"] == [(b"x-a", b"b"), (b"x-a", b"c")]
    assert captured.body == b"\r\n\n!", "a body may begin with line ends, and the file's own is none of it"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff\xfe", b"POST", b"POST /x HTTP/1.1\nno header\n\n", b"get / HTTP/1.1"]
)
def test_what_is_no_captured_request_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_captured(content)
