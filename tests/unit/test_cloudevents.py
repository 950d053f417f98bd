"""Our events, read by the official CloudEvents SDK."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from bridge.events.cloudevents import CONTENT_TYPE, StructuredEncoder, record_headers
from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def event(name: str = "message.received") -> Event:
    provider = PROVIDERS["chatlevel"]
    (made,) = provider.decoder()(Delivery(provider.sample(name, now=NOW), {}, NOW))
    return made


@pytest.mark.parametrize("name", PROVIDERS["chatlevel"].sample_events)
def test_the_official_sdk_reads_every_structured_event(name: str) -> None:
    made = event(name)
    value = StructuredEncoder("shop").encode(made, key=made.device, traceparent=None)
    message = HTTPMessage(headers={"content-type": CONTENT_TYPE}, body=value)
    for read in (JSONFormat().read(CloudEvent, value), from_structured(message, JSONFormat(), CloudEvent)):
        assert read.get_specversion() == "1.0"
        assert read.get_id() == made.id
        assert read.get_source() == "/shop/devices/480213"
        assert read.get_type() == f"messaging.{name}.v1"
        assert read.get_subject() == made.subject
        assert read.get_time() == NOW
        assert read.get_datacontenttype() == "application/json"
        assert read.get_dataschema() == f"urn:webhook-bridge:schema:messaging:{name}:v1.0"
        assert read.get_extension("partitionkey") == "480213"
        assert read.get_data()["device_id"] == "480213"


def test_the_source_is_a_uri_reference_whatever_the_device_is_called() -> None:
    made = msgspec.structs.replace(event(), device="a/b?c#d%e<f>")
    value = json.loads(StructuredEncoder("shop").encode(made, key="k"))
    assert value["source"] == "/shop/devices/a%2Fb%3Fc%23d%25e%3Cf%3E"


def test_headers_are_few_and_in_the_brokers_dialect() -> None:
    made = event()
    nats = record_headers(prefix="ce-", content_type="Content-Type", percent_encode=True)(made, "k", None)
    assert nats == {"Content-Type": CONTENT_TYPE, "ce-id": made.id, "ce-type": "messaging.message.received.v1"}
    kafka = record_headers(prefix="ce_", content_type="content-type", percent_encode=False)(made, "k", "00-trace")
    assert set(kafka) == {"content-type", "ce_id", "ce_type", "traceparent"}


@pytest.mark.parametrize(("plain", "encoded"), [('a "b"%é', "a%20%22b%22%25%C3%A9"), ("é", "%C3%A9"), ("a-1", "a-1")])
def test_header_values_are_percent_encoded_where_the_binding_asks(plain: str, encoded: str) -> None:
    made = msgspec.structs.replace(event(), id=plain)
    headers = record_headers(prefix="ce-", content_type="Content-Type", percent_encode=True)(made, "k", None)
    assert headers["ce-id"] == encoded


@pytest.mark.parametrize("indent", [2, None])
def test_a_record_is_one_line_however_the_provider_wrote_it(indent: int | None) -> None:
    payload = {"b": [1, {"c": "line\nbreak"}]}
    body = json.dumps({"event": "presence.update", "deviceId": 1, "data": payload}, indent=indent).encode()
    (made,) = PROVIDERS["chatlevel"].decoder()(Delivery(body, {}, NOW))
    value = StructuredEncoder("shop").encode(made, key="1")
    assert b"\n" not in value
    assert json.loads(value)["data"]["payload"] == payload


def test_absent_attributes_are_absent_not_null() -> None:
    value = json.loads(StructuredEncoder("shop").encode(event("connection.closed"), key="k"))
    assert not {"subject", "expirytime", "traceparent"} & value.keys()
