"""CloudEvents over HTTP in its three modes, and the question before."""

import base64
import json
from typing import Any

import pytest

from bridge.errors import UndecodableBody
from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.request import Reply, Request
from tests.providers.goldens import RECEIVED_AT

SAID = {"specversion": "1.0", "id": "A-1", "source": "/things", "type": "com.example.done", "subject": "7"}


def events(body: bytes, **headers: str) -> tuple[Event, ...]:
    pairs = {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()}
    return PROVIDERS["cloudevents-http"].decoder()(Delivery(body, pairs, RECEIVED_AT))


def binary(body: bytes, content_type: str, **more: str) -> Event:
    (event,) = events(body, content_type=content_type, **{f"ce_{name}": text for name, text in (SAID | more).items()})
    return event


def data(event: Event) -> Any:
    return json.loads(bytes(event.data))  # type: ignore[arg-type]


def test_the_three_modes_make_the_same_event() -> None:
    whole = SAID | {"datacontenttype": "application/json", "data": {"n": [1, None]}}
    raw = json.dumps(whole).encode()
    (structured,) = events(raw, content_type="application/cloudevents+json; charset=utf-8")
    first, second = events(
        b"[%b,%b]" % (raw, raw.replace(b"A-1", b"A-2")), content_type="application/cloudevents-batch+json"
    )
    plain = binary(b'{"n": [1, null]}', "application/json")
    for event in (structured, first, plain):
        assert (event.id, event.type.name, event.subject) == (structured.id, "com.example.done", "7")
        assert (event.device, data(event)) == ("/things", whole)
    assert second.id != first.id


def test_what_is_not_json_is_kept_byte_for_byte_and_headers_are_decoded() -> None:
    body = b"\x00\xff<xml/>"
    made = data(binary(body, "text/xml", extension="Euro%20%E2%82%AC"))
    assert base64.b64decode(made["data_base64"]) == body
    assert (made["datacontenttype"], made["extension"]) == ("text/xml", "Euro €")
    assert "data" not in data(binary(b"", "application/json"))


def test_an_id_is_unique_within_its_source_only() -> None:
    assert binary(b"", "", source="/a").id != binary(b"", "", source="/b").id
    assert binary(b"", "", partitionkey="k-1").device == "k-1"


@pytest.mark.parametrize("missing", ["id", "source", "type", "specversion"])
def test_an_event_without_a_required_attribute_is_undecodable(missing: str) -> None:
    said = {name: text for name, text in SAID.items() if name != missing}
    with pytest.raises(UndecodableBody, match=missing):
        events(b"{}", content_type="application/json", **{f"ce_{name}": text for name, text in said.items()})
    with pytest.raises(UndecodableBody, match=missing):
        events(json.dumps([SAID, said]).encode(), content_type="application/cloudevents-batch+json")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"1},{", "application/json"),
        (b'1,"id":"other"', "application/json"),
        (b'"\xff"', "application/json"),
        (b"<x/>", "application/cloudevents+xml"),
    ],
)
def test_what_is_not_as_it_says_is_undecodable(body: bytes, content_type: str) -> None:
    with pytest.raises(UndecodableBody):
        binary(body, content_type)


def ask(*headers: tuple[bytes, bytes]) -> Reply | None:
    return PROVIDERS["cloudevents-http"].handshakes()["OPTIONS"](Request("OPTIONS", b"/webhooks/x", b"", headers))


def test_a_sender_that_asks_may_send() -> None:
    reply = ask((b"webhook-request-origin", b"eventemitter.example.com"), (b"webhook-request-rate", b"120"))
    assert reply is not None
    assert (reply.status, reply.body) == (200, b"")
    said = {"webhook-allowed-origin": "eventemitter.example.com", "webhook-allowed-rate": "*", "allow": "POST"}
    assert dict(reply.headers) == said


ORIGIN = b"webhook-request-origin"


@pytest.mark.parametrize("headers", [[], [(ORIGIN, b"\xff")], [(ORIGIN, b"a.example"), (ORIGIN, b"b.example")]])
def test_other_options_are_no_question(headers: list[tuple[bytes, bytes]]) -> None:
    assert ask(*headers) is None
