"""What every provider must do. A new one inherits this with its name and a few bodies."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import UndecodableBody
from bridge.events.cloudevents import StructuredEncoder, record_headers
from bridge.events.model import Event
from bridge.events.schemas import ENVELOPE_PATH
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from tests.providers.goldens import RECEIVED_AT, decode, goldens, output_path

SCHEMAS = Path(__file__).parent.parent.parent / "schemas"

BAD_BODIES = (
    b"",
    b" ",
    b"{",
    b"[]",
    b"null",
    b"7",
    b'"x"',
    b"{}",
    b"\xff\xfe{}",
    "{}".encode("utf-16"),
    b"\xef\xbb\xbf{}",
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b'{"a":' + b"9" * 5_000 + b"}",
    b'{"a":NaN}',
)

# What breaks arithmetic on times, headers and keys, and what chance hardly finds.
ODD_VALUES = (
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    "2026-03-02T23:59:60Z",
    253402300799,
    -(2**63),
    10**400,
    "a\r\nX-Injected: 1\x00",
    "\x1b[31m",
    "x" * 5000,
    "a@b@c",
    "@",
    "..",
    "events.>",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(ODD_VALUES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


# The tests below are inherited by several classes on purpose: each provider is a test of its own.
inherited = settings(suppress_health_check=[HealthCheck.differing_executors])


def validate(event: dict[str, Any]) -> None:
    """Against the published schemas, formats checked."""
    path = event["dataschema"].removeprefix("urn:webhook-bridge:schema:").replace(":", "/") + ".json"
    for schema_path, instance in ((ENVELOPE_PATH, event), (path, event["data"])):
        schema = json.loads((SCHEMAS / schema_path).read_bytes())
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(instance)
        jsonschema.Draft7Validator(schema).validate(instance)  # for tools that read no newer draft


class ProviderContract:
    """Inherit, and set the hooks.

    Attributes:
        name: the provider's.
        payload: the name of the object in the body that holds the event's own fields.
        essential: its fields without which there is no event; every other one may be missing.
        resolution_s: of the sender's times.
    """

    name: str
    payload: str
    essential: frozenset[str]
    resolution_s: float = 0.01

    def with_payload(self, content: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
        """The body with another payload."""
        return content | {self.payload: changed}

    def events(self, body: bytes) -> tuple[Event, ...]:
        return PROVIDERS[self.name].decoder()(Delivery(body, {}, RECEIVED_AT))

    def inputs(self) -> dict[str, Path]:
        return {name: path for name, path in goldens().items() if name.startswith(f"{self.name}/")}

    def test_every_golden_comes_out_as_reviewed(self) -> None:
        for name, path in self.inputs().items():
            expected = json.loads(output_path(path).read_bytes())
            assert expected == decode(self.name, path.read_bytes()), name

    def test_every_declared_type_has_a_golden(self) -> None:
        made = {event.type.name for path in self.inputs().values() for event in self.events(path.read_bytes())}
        assert {event_type.name for event_type in PROVIDERS[self.name].event_types} == made

    def test_every_golden_validates_against_its_schemas(self) -> None:
        for path in self.inputs().values():
            for event in json.loads(output_path(path).read_bytes()):
                validate(event)

    def test_the_same_body_has_the_same_ids_and_another_body_other_ones(self) -> None:
        seen: dict[str, str] = {}
        for name, path in self.inputs().items():
            first, again = (self.events(path.read_bytes()) for _ in range(2))
            assert [event.id for event in first] == [event.id for event in again]
            for event in first:
                assert seen.setdefault(event.id, name) == name
            assert len({event.id for event in first}) == len(first)

    def payloads(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Of each golden that has one: its name, the body, and the payload inside it to change."""
        for name, path in self.inputs().items():
            content = json.loads(path.read_bytes())
            if isinstance(content.get(self.payload), dict):
                yield name, content, content[self.payload]

    def test_an_unknown_field_is_kept_and_counted_and_changes_nothing_else(self) -> None:
        for name, content, payload in self.payloads():
            before = self.events(json.dumps(content).encode())
            payload["aFieldOfTheNextGeneration"] = {"deep": [1, None]}
            body = json.dumps(content).encode()
            after = self.events(body)
            assert [event.type for event in before] == [event.type for event in after], name
            assert [event.subject for event in before] == [event.subject for event in after], name
            for event, published in zip(after, decode(self.name, body), strict=True):
                validate(published)
                if event is after[0]:  # of a batch, what is around the items goes with the first
                    assert '{"deep": [1, null]}' in json.dumps(published["data"]), name
                    drifted = any(path.endswith("aFieldOfTheNextGeneration") for path in event.drift)
                    assert drifted or event.type.name == "unknown", name  # which keeps the payload whole

    def test_whatever_is_not_essential_may_be_missing_or_null(self) -> None:
        for name, content, payload in self.payloads():
            for field in set(payload) - self.essential:
                for changed in ({k: v for k, v in payload.items() if k != field}, payload | {field: None}):
                    events = decode(self.name, json.dumps(self.with_payload(content, changed)).encode())
                    assert events, f"{name} without {field}"
                    for event in events:
                        validate(event)

    @pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
    def test_bad_bodies_are_undecodable_and_nothing_else(self, body: bytes) -> None:
        with pytest.raises(UndecodableBody):
            self.events(body)

    @inherited
    @given(st.binary(max_size=200))
    def test_any_bytes_are_events_or_undecodable(self, body: bytes) -> None:
        self.check_harmless(body)

    @inherited
    @given(st.data())
    def test_a_damaged_golden_is_events_or_undecodable(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(list(self.inputs().values())))
        body = path.read_bytes()
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 20)))
        self.check_harmless(body[:start] + data.draw(st.binary(max_size=10)) + body[end:])

    @inherited
    @given(st.data())
    def test_any_value_in_any_field_is_events_or_undecodable(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(list(self.inputs().values())))
        content = json.loads(path.read_bytes())
        place = content
        if isinstance(content.get("data"), dict) and content["data"] and data.draw(st.booleans()):
            place = content["data"]
        place[data.draw(st.sampled_from(list(place)) | st.text(max_size=8))] = data.draw(json_values)
        self.check_harmless(json.dumps(content).encode(errors="surrogatepass"))

    def check_harmless(self, body: bytes) -> None:
        """Whatever the payload says: what goes into headers, keys and attributes is short printable ASCII."""
        try:
            events = self.events(body)
        except UndecodableBody:
            return
        headers_of = record_headers(prefix="ce-", content_type="Content-Type", percent_encode=True)
        assert events
        for event in events:
            texts = [event.id, event.device, event.subject or "x", event.contact or "x", *event.drift]
            texts += headers_of(event, event.device, None).values()
            assert all(text.isascii() and text.isprintable() for text in texts)
            assert all(0 < len(text) <= 256 for text in texts)
            assert " " not in f"{event.id}{event.device}{event.subject}{event.contact}"
            assert StructuredEncoder("shop").encode(event, key=event.contact or event.device).count(b"\n") == 0
        for published in decode(self.name, body):
            validate(published)
            assert re.fullmatch(r"/shop/devices/[A-Za-z0-9._~%-]+", published["source"])

    def test_samples_decode_to_their_type_with_new_ids_each(self) -> None:
        provider = PROVIDERS[self.name]
        now = datetime.now(UTC)
        for name in provider.sample_events:
            (event,) = self.events(provider.sample(name, now=now))
            assert event.type.name != "unknown"
            assert event.drift == ()
            assert abs(event.time - now).total_seconds() < self.resolution_s
        first = provider.sample_events[0]
        assert self.events(provider.sample(first, now=now))[0].id != self.events(provider.sample(first, now=now))[0].id
