"""Binary mode of CloudEvents: read back by the official SDK where it has the binding, else by the binding's text."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.bindings.http import from_binary as from_binary_http
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, from_kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from bridge.events.model import Event
from bridge.events.reading import read_event
from bridge.ingest.pipeline import Pipeline
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect, Record
from bridge.publishers.nats import NatsPublisher
from bridge.routing import DEFAULT_TEMPLATE, RoutedSource, build_tables
from tests.stub_provider import StubProvider

NOW = datetime(2026, 3, 2, 8, 0, 0, 250_000, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NATS = NatsPublisher.dialect
KAFKA = HeaderDialect(prefix="ce_", content_type="content-type", percent_encode=False)
BINARY, STRUCTURED = "binary", "structured"


class One(StubProvider):
    """A provider that makes one given event."""

    def __init__(self, event: Event) -> None:
        super().__init__("one")
        self.event = event

    def decoder(self):
        return lambda _: (self.event,)


def event(name: str = "message.received") -> Event:
    provider = PROVIDERS["chatlevel"]
    (made,) = provider.decoder()(Delivery(provider.sample(name, now=NOW), {}, NOW))
    return made


def record(made: Event, dialect: HeaderDialect, mode: str, *, trace: str | None = None) -> Record:
    routed = RoutedSource(name="shop-1", types=StubProvider.event_types)
    pipeline = Pipeline(
        source="shop-1",
        provider=One(made),
        table=build_tables([routed], routes=None, template=DEFAULT_TEMPLATE)["shop-1"],
        dialect=dialect,
        event_format=mode,  # type: ignore[arg-type]
    )
    ((prepared),) = pipeline.prepare(Delivery(b"", {}, NOW), trace)
    return prepared.records[0]


def on_kafka(made: Record) -> KafkaMessage:
    headers = {name: text.encode() for name, text in made.headers.items()}
    return KafkaMessage(headers=headers, key=made.key.encode(), value=made.value)


@pytest.mark.parametrize("name", PROVIDERS["chatlevel"].sample_events)
def test_the_official_sdk_reads_every_binary_event_from_kafka(name: str) -> None:
    made = event(name)
    message = on_kafka(record(made, KAFKA, BINARY, trace=TRACE))
    for read in (from_binary(message, JSONFormat(), CloudEvent), from_kafka(message, JSONFormat())):
        assert read.get_attributes() == {
            "specversion": "1.0",
            "id": made.id,
            "source": "/shop-1/devices/480213",
            "type": f"messaging.{name}.v1",
            "time": NOW,
            "recordedtime": "2026-03-02T08:00:00.250000Z",
            "datacontenttype": "application/json",
            "dataschema": f"urn:webhook-bridge:schema:messaging:{name}:v1.0",
            "partitionkey": "480213",
            "traceparent": TRACE,
            **({"subject": made.subject} if made.subject else {}),
            **({"expirytime": "2026-03-02T08:01:00.250000Z"} if name == "connection.auth" else {}),
        }
        assert read.get_data() == json.loads(msgspec.json.encode(made.data))


def test_on_kafka_the_content_type_is_that_of_the_data_and_values_are_plain_utf8() -> None:
    made = msgspec.structs.replace(event(), subject='50 % "é"')
    headers = record(made, KAFKA, BINARY, trace=TRACE).headers
    assert headers["content-type"] == "application/json"
    assert headers["ce_subject"] == '50 % "é"'
    assert headers["traceparent"] == headers["ce_traceparent"] == TRACE
    assert "ce_datacontenttype" not in headers
    assert all(name.startswith("ce_") for name in headers.keys() - {"content-type", "traceparent"})


def test_on_nats_every_attribute_is_a_ce_header_and_percent_encoded() -> None:
    made = msgspec.structs.replace(event(), subject='50 % "é"', device="a/b")
    headers = record(made, NATS, BINARY).headers
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": made.id,
        "ce-source": "/shop-1/devices/a%252Fb",  # the URI's own escape, escaped once more by the binding
        "ce-type": "messaging.message.received.v1",
        "ce-subject": "50%20%25%20%22%C3%A9%22",
        "ce-time": "2026-03-02T08:00:00.250000Z",
        "ce-recordedtime": "2026-03-02T08:00:00.250000Z",
        "ce-datacontenttype": "application/json",
        "ce-dataschema": "urn:webhook-bridge:schema:messaging:message.received:v1.0",
        "ce-partitionkey": "a/b",
    }


def test_the_sdks_http_binding_whose_encoding_nats_shares_reads_it() -> None:
    made = msgspec.structs.replace(event(), subject='50 % "é"')
    sent = record(made, NATS, BINARY)
    read = from_binary_http(HTTPMessage(headers=dict(sent.headers), body=sent.value), JSONFormat(), CloudEvent)
    assert (read.get_id(), read.get_subject(), read.get_time()) == (made.id, '50 % "é"', NOW)
    assert read.get_extension("partitionkey") == "480213"


def test_the_value_of_a_binary_record_is_the_data_alone() -> None:
    made = event()
    for dialect in (NATS, KAFKA):
        assert record(made, dialect, BINARY).value == msgspec.json.encode(made.data)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- as it asks


@given(TEXTS | st.none(), TEXTS, TIMES, st.booleans(), st.booleans())
def test_both_modes_on_both_brokers_read_back_as_the_same_event(
    subject: str | None, device: str, time: datetime, expires: bool, trace: bool
) -> None:
    expirytime = time + timedelta(seconds=60) if expires else None
    made = msgspec.structs.replace(event(), subject=subject, device=device, time=time, expirytime=expirytime)
    read = []
    for dialect in (NATS, KAFKA):
        for mode in (STRUCTURED, BINARY):
            sent = record(made, dialect, mode, trace=TRACE if trace else None)
            read.append(read_event(sent.value, {name.title(): text for name, text in sent.headers.items()}))
            if dialect is NATS:
                assert all(text.isascii() and text.isprintable() for text in sent.headers.values())
    assert read[0] == read[1] == read[2] == read[3]
    assert read[0]["partitionkey"] == device
    assert unquote(read[0]["source"]) == f"/shop-1/devices/{device}"


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"", {}),
        (b"{}", {}),
        (b"{}", {"ce-id": "1", "ce-type": "x"}),
        (b"\xff", {"Content-Type": "application/cloudevents+json"}),
        (b"[]", {"Content-Type": "application/cloudevents+json"}),
        (b"[" * 100_000, {"ce_specversion": "1.0"}),
    ],
)
def test_what_is_no_event_is_a_value_error(value: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        read_event(value, headers)
