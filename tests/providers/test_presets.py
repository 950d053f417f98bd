"""What every preset that publishes payloads as they came must do. A new one is in it as soon as it is registered."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import UndecodableBody
from bridge.events.cloudevents import StructuredEncoder, record_headers
from bridge.events.model import Event
from bridge.events.open_types import encode_type
from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.passthrough import Payload, json_object
from tests.contracts.provider_contract import BAD_BODIES, json_values, validate
from tests.providers.goldens import RECEIVED_AT, decode, delivery_of, goldens, output_path

PRESETS = [name for name in BUILT_IN if PROVIDERS[name].event_types[-1].data is Payload]
GOLDENS = {name: path for name, path in goldens().items() if path.parent.name in PRESETS}
REDACTED = {"token"}


def events(path: Path, delivery: Delivery | None = None) -> tuple[Event, ...]:
    return PROVIDERS[path.parent.name].decoder()(delivery_of(path) if delivery is None else delivery)


def changed(path: Path, body: bytes) -> Delivery:
    return Delivery(body, delivery_of(path).headers, RECEIVED_AT)


@pytest.mark.parametrize("name", GOLDENS)
def test_a_golden_comes_out_as_reviewed_and_as_its_schema_says(name: str) -> None:
    path, delivery = GOLDENS[name], delivery_of(GOLDENS[name])
    expected = json.loads(output_path(path).read_bytes())

    assert expected == decode(path.parent.name, delivery.body, delivery.headers)
    for event in expected:
        validate(event)


@pytest.mark.parametrize("name", GOLDENS)
def test_the_data_is_the_payload_without_its_credentials(name: str) -> None:
    delivery = delivery_of(GOLDENS[name])
    if b"urlencoded" in delivery.headers[b"content-type"]:
        form = parse_qs(delivery.body.decode(), keep_blank_values=True)
        payload = json.loads(form["payload"][0]) if "payload" in form else {key: text for key, (text,) in form.items()}
    else:
        payload = json.loads(delivery.body)
    events = json.loads(output_path(GOLDENS[name]).read_bytes())
    redacted = REDACTED if name.startswith("slack/") else set()
    payloads = payload if isinstance(payload, list) else [payload]
    expected = [{key: value for key, value in item.items() if key not in redacted} for item in payloads]
    assert [event["data"] for event in events] == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_goldens_of_known_and_unknown_types_with_ids_of_their_own(preset: str) -> None:
    paths = [path for path in GOLDENS.values() if path.parent.name == preset]
    made = [event for path in paths for event in events(path)]
    assert len({event.id for event in made}) == len(made)
    assert len({event.type.name for event in made}) > 1
    assert "unknown" in {event.type.name for event in made}
    assert all(event.type.domain == preset == PROVIDERS[preset].name for event in made)
    again = [event for path in paths for event in events(path)]
    assert [event.id for event in made] == [event.id for event in again]


@pytest.mark.parametrize("preset", PRESETS)
def test_bad_bodies_are_undecodable_and_nothing_else(preset: str) -> None:
    path = next(path for path in GOLDENS.values() if path.parent.name == preset)
    for body in BAD_BODIES:
        if body not in (b"{}", b'{"a":' + b"9" * 5_000 + b"}"):  # of some, an event without a type
            with pytest.raises(UndecodableBody):
                events(path, changed(path, body))
        else:
            check_harmless(path, changed(path, body))


@settings(max_examples=300)
@given(st.data())
def test_whatever_the_request_is_the_attributes_are_harmless(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(GOLDENS.values())))
    delivery = delivery_of(path)
    headers = dict(delivery.headers)
    body = delivery.body
    match data.draw(st.sampled_from(["field", "inner", "damage", "header", "bytes"])):
        case "field" | "inner" as where if body.startswith(b"{"):
            content = place = json.loads(body)
            inside = [value for value in content.values() if isinstance(value, dict) and value]
            if where == "inner" and inside:
                place = data.draw(st.sampled_from(inside))
            place[data.draw(st.sampled_from(list(place) or ["type"]))] = data.draw(json_values)
            body = json.dumps(content).encode(errors="surrogatepass")
        case "damage":
            start = data.draw(st.integers(0, len(body)))
            body = body[:start] + data.draw(st.binary(max_size=10)) + body[start + data.draw(st.integers(0, 9)) :]
        case "header":
            headers[data.draw(st.sampled_from(list(headers)))] = data.draw(st.binary(max_size=300))
        case _:
            body = data.draw(st.binary(max_size=100))
    check_harmless(path, Delivery(body, headers, RECEIVED_AT))


def check_harmless(path: Path, delivery: Delivery) -> None:
    headers_of = record_headers(prefix="ce-", content_type="Content-Type", percent_encode=True)
    try:
        made = events(path, delivery)
    except UndecodableBody:
        return
    assert made
    for event in made:
        texts = [event.id, event.device, event.subject or "x"]
        assert all(re.fullmatch(r"[\x21-\x7e]{1,256}", text) for text in texts)
        assert event.type.name == encode_type(event.type.name)
        assert all(text.isascii() for text in headers_of(event, event.device, None).values())
        value = StructuredEncoder("shop").encode(event, key=event.device)
        assert json_object(json_object(value)["data"]) is not None


def samples() -> Iterator[tuple[str, str]]:
    for preset in PRESETS:
        for name in PROVIDERS[preset].sample_events:
            if (preset, name) != ("github", "ping"):
                yield preset, name


@pytest.mark.parametrize(("preset", "name"), list(samples()))
def test_samples_are_events_of_that_name_with_new_ids_each(preset: str, name: str) -> None:
    provider, now = PROVIDERS[preset], datetime.now(UTC)

    def made() -> Event:
        body = provider.sample(name, now=now)
        headers = {key.encode(): value.encode() for key, value in provider.sample_headers(name, body).items()}
        (event,) = provider.decoder()(Delivery(body, headers, now))
        return event

    first, second = made(), made()
    assert first.id != second.id
    assert first.type.name == encode_type(name)
    assert abs(first.time - now).total_seconds() < 2
    with pytest.raises(KeyError):
        provider.sample("no such event", now=now)
