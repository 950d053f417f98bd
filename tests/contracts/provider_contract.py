"""What every provider must do. A new one inherits this with its name and a few bodies."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import UndecodableBody
from bridge.events.cloudevents import record_headers
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

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def validate(event: dict[str, Any]) -> None:
    """Against the published schemas, formats checked."""
    path = event["dataschema"].removeprefix("urn:webhook-bridge:schema:").replace(":", "/") + ".json"
    for schema_path, instance in ((ENVELOPE_PATH, event), (path, event["data"])):
        schema = json.loads((SCHEMAS / schema_path).read_bytes())
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(instance)
        jsonschema.Draft7Validator(schema).validate(instance)  # for tools that read no newer draft


class ProviderContract:
    """Inherit, and set the name."""

    name: str

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

    @pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
    def test_bad_bodies_are_undecodable_and_nothing_else(self, body: bytes) -> None:
        with pytest.raises(UndecodableBody):
            self.events(body)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_events_or_undecodable(self, body: bytes) -> None:
        self.check_harmless(body)

    @given(st.data())
    def test_a_damaged_golden_is_events_or_undecodable(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(list(self.inputs().values())))
        body = path.read_bytes()
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 20)))
        self.check_harmless(body[:start] + data.draw(st.binary(max_size=10)) + body[end:])

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
            texts = [event.id, event.device, *headers_of(event, None).values(), event.subject or "x"]
            assert all(text.isascii() and text.isprintable() and " " not in text[:9] for text in texts)
            assert all(0 < len(text) <= 256 for text in texts)
        for event in decode(self.name, body):
            validate(event)

    def test_samples_decode_to_their_type_with_new_ids_each(self) -> None:
        provider = PROVIDERS[self.name]
        now = datetime.now(UTC)
        for name in provider.sample_events:
            (event,) = self.events(provider.sample(name, now=now))
            assert event.type.name != "unknown"
            assert event.drift == ()
            assert abs(event.time - now).total_seconds() < 0.01
        first = provider.sample_events[0]
        assert self.events(provider.sample(first, now=now))[0].id != self.events(provider.sample(first, now=now))[0].id
