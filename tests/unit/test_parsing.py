"""`bridge.events.parse`: a consumer's view of what the pipeline publishes, as the brokers' clients hand it over."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import load, make_tables
from bridge.events import CloudEvent, NotAnEvent, messaging, parse
from bridge.events.model import Event
from bridge.events.parsing import _STRUCTS, Headers, _family
from bridge.ingest.pipeline import Pipeline
from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect, Record
from bridge.publishers.kafka import KafkaPublisher
from bridge.publishers.nats import NatsPublisher
from tests.open_provider import OpenProvider

NOW = datetime(2026, 3, 2, 8, 0, 0, 250_000, tzinfo=UTC)
GOLDENS = sorted((Path(__file__).parent.parent / "providers" / "chatlevel").glob("*.in.json"))
CHATLEVEL = PROVIDERS["chatlevel"]


def prepared(body: bytes, dialect: HeaderDialect, mode: str, provider: Any = CHATLEVEL) -> list[tuple[Event, Record]]:
    providers = {provider.name: provider}
    table = make_tables(load({"BRIDGE_SOURCES": provider.name}, providers=providers), providers)[provider.name]
    pipeline = Pipeline(source="shop-1", provider=provider, table=table, dialect=dialect, event_format=mode)  # type: ignore[arg-type]
    made = pipeline.prepare(Delivery(body, {}, NOW), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    return [(item.event, item.records[0]) for item in made]


def by_aiokafka(headers: dict[str, str]) -> Headers:
    return tuple((name, text.encode()) for name, text in headers.items())


def by_nats_py(headers: dict[str, str]) -> Headers:
    return headers | {"Nats-Msg-Id": "1@t"}


CLIENTS = [(KafkaPublisher.dialect, by_aiokafka), (NatsPublisher.dialect, by_nats_py)]
BOTH = pytest.mark.parametrize(("dialect", "client"), CLIENTS, ids=["aiokafka", "nats-py"])
MODES = pytest.mark.parametrize("mode", ["structured", "binary"])


@BOTH
@MODES
def test_whatever_the_provider_sends_comes_back_as_it_was_published(
    dialect: HeaderDialect, client: Callable[[dict[str, str]], Headers], mode: str
) -> None:
    for golden in GOLDENS:
        for made, record in prepared(golden.read_bytes(), dialect, mode):
            event = parse(record.value, client(record.headers))
            assert (event.id, event.type, event.time) == (made.id, made.type.ce_type, made.time), golden
            assert (event.source, event.subject) == (f"/shop-1/devices/{made.device}", made.subject)
            assert (event.recordedtime, event.expirytime) == (NOW, made.expirytime)
            assert (event.partitionkey, event.specversion) == (record.key, "1.0")
            assert event.datacontenttype == "application/json"
            assert event.traceparent is not None
            assert type(event.data) is made.type.data
            assert msgspec.json.decode(msgspec.json.encode(event.data)) == msgspec.json.decode(
                msgspec.json.encode(made.data)
            )


def test_every_type_of_the_vocabulary_comes_as_its_struct() -> None:
    goldens = [pair for golden in GOLDENS for pair in prepared(golden.read_bytes(), *CLIENTS[0][:1], "structured")]
    seen = {type(parse(record.value).data) for _, record in goldens}
    assert seen == {event_type.data for event_type in messaging.TYPES}


@BOTH
@MODES
def test_payloads_of_other_domains_come_as_json_has_them(
    dialect: HeaderDialect, client: Callable[[dict[str, str]], Headers], mode: str
) -> None:
    ((_, record),) = prepared(b'{"type": "push", "device": "d1", "ref": [1]}', dialect, mode, OpenProvider())
    event = parse(record.value, client(record.headers))
    assert event.type == "open.push.v1"
    assert event.data == {"payload": {"type": "push", "device": "d1", "ref": [1]}}


def event(**changes: Any) -> dict[str, Any]:
    """A message.received as JSON has it."""
    ((_, record),) = prepared(CHATLEVEL.sample("message.received", now=NOW), CLIENTS[0][0], "structured")
    return dict(json.loads(record.value)) | changes


def parsed(content: object, headers: Headers | None = None) -> CloudEvent:
    return parse(json.dumps(content).encode(), headers)


def test_a_percent_sign_in_a_header_means_what_the_brokers_binding_says() -> None:
    """On NATS values are percent-encoded, on Kafka they are plain."""
    attributes = {name: text for name, text in event(id="50%25").items() if name not in ("data", "subject")}
    for prefix, identity in (("ce-", "50%"), ("ce_", "50%25")):
        headers = {f"{prefix}{name}": text for name, text in attributes.items()}
        assert parsed(event()["data"], headers).id == identity


def test_without_headers_at_hand_a_whole_event_is_read() -> None:
    for headers in (None, (), {}):
        assert isinstance(parsed(event(), headers).data, messaging.MessageReceived)
    assert isinstance(parse(json.dumps(event())).data, messaging.MessageReceived)


def test_a_later_minor_is_read_by_the_struct_of_this_one() -> None:
    newer = event(dataschema="urn:webhook-bridge:schema:messaging:message.received:v1.12", newattribute="x")
    newer["data"] |= {"mood": "good"}
    newer["data"]["contact"] |= {"avatar": None}
    data = parsed(newer).data
    assert isinstance(data, messaging.MessageReceived)
    assert data.message_id == newer["data"]["message_id"]


@pytest.mark.parametrize(
    "dataschema",
    [
        "urn:webhook-bridge:schema:messaging:message.received:v2.0",
        "urn:webhook-bridge:schema:messaging:message.sung:v1.0",
        "urn:webhook-bridge:schema:github:event:v1.0",
        "",
    ],
)
def test_majors_and_types_not_known_are_no_error(dataschema: str) -> None:
    assert parsed(event(dataschema=dataschema, data=[{"whatever": 1}])).data == [{"whatever": 1}]


STRUCTURED = {"Content-Type": "application/cloudevents+json"}


@pytest.mark.parametrize(
    ("value", "headers", "said"),
    [
        (None, (), "no value: a tombstone"),
        (b"", (), "0 bytes, not JSON"),
        (b"hello", STRUCTURED, "5 bytes, not JSON"),
        ("\ud800", (), "1 characters, not JSON"),
        (b"[]", STRUCTURED, "JSON, but no object"),
        (b"{}", {"content-type": "application/json"}, "the headers are not those of an event"),
        (b"{}", STRUCTURED, r"not an event of the bridge: Object missing required field `id`"),
        (b'{"id": 1}', (), r"not an event of the bridge: Expected `str`, got `int` - at `\$.id`"),
        (b"{}", [("ce_specversion", b"1.0"), ("ce_id", None)], r"required field `source`"),
    ],
)
def test_what_is_no_event_is_refused_in_words(value: bytes | str | None, headers: Headers, said: str) -> None:
    with pytest.raises(NotAnEvent, match=said):
        parse(value, headers)


def test_data_that_breaks_its_schema_is_refused_by_schema_and_place_and_not_shown() -> None:
    broken = event()
    broken["data"]["contact"]["display_name"] = ["canary"]
    with pytest.raises(NotAnEvent) as raised:
        parsed(broken)
    assert "urn:webhook-bridge:schema:messaging:message.received:v1.0" in str(raised.value)
    assert "$.contact.display_name" in str(raised.value)
    assert "canary" not in str(raised.value)


@given(
    st.binary(max_size=40) | st.text(max_size=20),
    st.none()
    | st.dictionaries(st.text(max_size=8) | st.sampled_from(["content-type", "ce_specversion"]), st.text(max_size=8))
    | st.lists(st.tuples(st.sampled_from(["Content-Type", "ce-specversion", "ce-time"]), st.binary(max_size=8))),
)
def test_whatever_the_record_is_it_is_an_event_or_not_an_event(value: bytes | str, headers: Headers | None) -> None:
    with contextlib.suppress(NotAnEvent):
        parse(value, headers)


def test_pairing_codes_do_not_show_in_the_repr_of_an_event() -> None:
    body = CHATLEVEL.sample("connection.auth", now=NOW)
    ((made, record),) = prepared(body, CLIENTS[1][0], "binary")
    event = parse(record.value, record.headers)
    assert made.data.qr_code or made.data.pairing_code  # type: ignore[attr-defined]
    for code in (event.data.qr_code, event.data.pairing_code):
        assert code is None or code not in repr(event)
    assert "credentials hidden" in repr(event)


def test_every_vocabulary_that_a_provider_speaks_is_known_to_parse() -> None:
    """Types that share a schema pass payloads through; all others have structs of their own."""
    types = {event_type for name in BUILT_IN for event_type in PROVIDERS[name].event_types if not event_type.schema}
    assert types
    for event_type in types:
        assert _STRUCTS[_family(event_type.dataschema)] is event_type.data
