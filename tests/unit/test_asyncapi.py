"""The AsyncAPI document: valid, and true of every record that the pipeline makes."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from bridge.broker import as_sent, dialect_of
from bridge.config import Config, load, make_tables
from bridge.contract import asyncapi, documents, schemas
from bridge.contract.components import components
from bridge.errors import ConfigError, RecordTooLarge
from bridge.events import messaging
from bridge.events.model import EventType
from bridge.ingest.compiled import make_pipeline
from bridge.ingest.letters import REASONS, Letter, letter_of_refused, record_of, wanted_headers
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery, Provider
from bridge.publishers.base import Record
from bridge.spool.model import Entry
from tests.open_provider import OpenProvider

TESTS = Path(__file__).parent.parent
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
BOTH = {**PROVIDERS, "open": OpenProvider()}
SECRET = "canary-7f3a9c1e5b8d2460"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NATS = {"BRIDGE_BROKER": "tls://nats-0,nats-1:4333", "BRIDGE_NATS_USER": "u", "BRIDGE_NATS_PASSWORD": SECRET}
KAFKA = {
    "BRIDGE_BROKER": "kafka://kafka-0,kafka-1:9093",
    "BRIDGE_PROVISION": "create",
    "BRIDGE_KAFKA_PARTITIONS": "6",
    "BRIDGE_KAFKA_SASL": "scram-sha-512",
    "BRIDGE_KAFKA_TLS": "true",
    "BRIDGE_KAFKA_USER": "u",
    "BRIDGE_KAFKA_PASSWORD": SECRET,
}
ROUTED = {
    "BRIDGE_SOURCES": "shop-1=chatlevel,shop-2=chatlevel,hub=open,lab=open",
    "BRIDGE_SOURCE_LAB_UNKNOWN": "drop",
    "BRIDGE_ROUTES": """
        shop-1:message.* -> whatsapp.messages, audit.all key={contact}
        shop-*:message.* -> whatsapp.messages
        shop-2:connection.auth -> secrets.pairing
        *:call -> drop
        hub:push -> ci.all
        hub:pull.* -> ci.all, ci.{source}.{type}
        hub:p* -> ci.all
        lab:* -> lab.all
    """,
}
PLAIN = {"BRIDGE_SOURCES": "chatlevel,hub=open,git-1=github", "BRIDGE_SOURCE_GIT_1_TYPES": "push"}
BINARY = {"BRIDGE_EVENT_FORMAT": "binary"}
SETTINGS = {
    "nats": NATS | PLAIN,
    "nats-routed-binary": NATS | ROUTED | BINARY,
    "kafka-routed": KAFKA | ROUTED,
    "kafka-binary": KAFKA | PLAIN | BINARY | {"BRIDGE_RAW_TOPIC": "bridge.raw"},
}
EVERY = pytest.mark.parametrize("env", SETTINGS.values(), ids=SETTINGS)


def loaded(env: Mapping[str, str]) -> Config:
    proofs = {name: "SECRET" if name == "GIT_1" else "TOKEN" for name in _sources(env)}
    return load(env | {f"BRIDGE_SOURCE_{name}_{proof}": SECRET for name, proof in proofs.items()}, providers=BOTH)


def _sources(env: Mapping[str, str]) -> list[str]:
    text = env.get("BRIDGE_SOURCES", "chatlevel")
    return [entry.partition("=")[0].upper().replace("-", "_") for entry in text.split(",")]


def document(env: Mapping[str, str]) -> dict[str, Any]:
    return _document(tuple(env.items()))


@cache
def _document(env: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(asyncapi(loaded(dict(env)), BOTH))
    return made


@cache
def specification() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((TESTS / "asyncapi" / "3.0.0.json").read_bytes()))


@EVERY
def test_it_is_valid_by_the_specifications_schema(env: Mapping[str, str]) -> None:
    assert not [f"{error.json_path}: {error.message[:200]}" for error in specification().iter_errors(document(env))]


def deliveries(provider: Provider) -> Iterator[Delivery]:
    """Of every type that the provider has samples of, and of those that payloads name."""
    for event in provider.sample_events:
        body = provider.sample(event, now=NOW)
        headers = provider.sample_headers(event, body)
        yield Delivery(body, {name.lower().encode(): text.encode() for name, text in headers.items()}, NOW)
    for golden in (TESTS / "providers" / provider.name).glob("u*.in.json") if provider.name == "chatlevel" else ():
        yield Delivery(golden.read_bytes(), {}, NOW)
    for name in ("ping", "push", "pull.opened", "pull", "release", "No Name!", "") if provider.name == "open" else ():
        yield Delivery(json.dumps({"type": name, "device": "d", "subject": "s"}).encode(), {}, NOW)


def records(config: Config) -> Iterator[Record]:
    """From every source; with a trace and without."""
    tables = make_tables(config, BOTH)
    for source in config.sources:
        provider, table = BOTH[source.provider], tables[source.name]
        pipeline = make_pipeline(config, source, provider=provider, table=table, dialect=dialect_of(config))
        for number, delivery in enumerate(deliveries(provider)):
            for item in pipeline.prepare(delivery, TRACE if number % 2 else None):
                yield from item.records


def fits(made: dict[str, Any], schema: dict[str, Any], instance: object) -> bool:
    """Whether a draft-07 validator says so."""
    whole = schema | {"components": made["components"]}
    return bool(jsonschema.Draft7Validator(whole, format_checker=jsonschema.FormatChecker()).is_valid(instance))


def matching(made: dict[str, Any], channel: dict[str, Any], headers: dict[str, str], value: object) -> list[str]:
    """The messages of a channel whose headers and payload are like these."""
    return [
        name
        for name, message in channel["messages"].items()
        if fits(made, message["headers"], headers) and fits(made, message["payload"], value)
    ]


@EVERY
def test_every_record_is_exactly_one_message_of_its_channel(env: Mapping[str, str]) -> None:
    config, made = loaded(env), document(env)
    seen: set[tuple[str, str]] = set()
    for record in records(config):
        channels = [
            address
            for address in made["channels"]
            if re.fullmatch(re.escape(address).replace(r"\.\.any", r"\.(.+)"), record.topic)
        ]
        exact = [address for address in channels if address == record.topic] or channels
        (address,) = exact
        headers, value = as_sent(config, record)[0], json.loads(record.value)
        (message,) = matching(made, made["channels"][address], headers, value)
        declared = made["channels"][address]["messages"][message]["headers"]["properties"]
        assert headers.keys() <= declared.keys()
        seen.add((address, message))
    declared_all = {(address, name) for address, channel in made["channels"].items() for name in channel["messages"]}
    assert not [name for _, name in declared_all - seen if not name.startswith(("open.any", "github.", "bridge."))]
    assert any(name.startswith("github.") for _, name in seen) == ("github" in str(env))


def test_a_record_that_is_not_as_declared_is_found_by_the_test_above() -> None:
    config, made = loaded(PLAIN), document(PLAIN)
    record = next(records(config))
    headers, value = as_sent(config, record)[0], json.loads(record.value)
    channel = made["channels"][record.topic]
    assert matching(made, channel, headers, value)
    assert not matching(made, channel, headers, value | {"source": "/other/devices/1"})
    assert not matching(made, channel, headers, value | {"data": {}})
    assert not matching(made, channel, headers, value | {"type": "messaging.call.v2"})
    assert not matching(made, channel, headers | {"ce-type": "x"}, value)
    assert not matching(made, channel, {}, value)


def letters(config: Config) -> Iterator[Record]:
    """For each reason, of a record that waited in the spool, and on the raw topic."""
    headers = {b"content-type": b"text/plain", b"x-github-event": b"push", b"user-agent": b"a b"}
    came = Delivery(b"\xff", headers, NOW)
    refused = next(records(config))
    of_row = letter_of_refused(Entry(source="hub", received_at=NOW, record=refused), RecordTooLarge(2, 1))
    plain = Letter(id="0" * 32, source="hub", delivery=came)
    dead = [msgspec.structs.replace(plain, reason=reason, detail="why") for reason in REASONS]
    for letter in (*dead, msgspec.structs.replace(dead[0], topic="t", dedup_id="1@t"), of_row, plain):
        topic = config.raw_topic if letter.reason is None else config.dead_letter_topic
        assert topic
        wanted = wanted_headers(("x-github-event",))
        yield record_of(letter, topic=topic, wanted=wanted, dialect=dialect_of(config))


@EVERY
def test_every_letter_is_as_the_channel_of_its_topic_says(env: Mapping[str, str]) -> None:
    env = env | {"BRIDGE_RAW_TOPIC": "bridge.raw"}
    config, made = loaded(env), document(env)
    for record in letters(config):
        ((name, message),) = made["channels"][record.topic]["messages"].items()
        headers = as_sent(config, record)[0]
        assert fits(made, message["headers"], headers), name
        assert fits(made, message["headers"] | {"additionalProperties": False}, headers), "each header is declared"
        for required in message["headers"]["required"]:
            assert not fits(made, message["headers"], {other: headers[other] for other in headers if other != required})
        assert message["contentType"] == headers[dialect_of(config).content_type]
        assert message["x-sensitive"]
    (dead,) = made["channels"]["bridge.dead-letter"]["messages"].values()
    reason = f"bridge{dialect_of(config).prefix[-1]}reason"
    assert dead["headers"]["properties"][reason]["enum"] == [*REASONS]


def test_topics_of_letters_are_channels_only_where_there_are_any() -> None:
    assert "bridge.dead-letter" in document({})["channels"]
    without = document({"BRIDGE_DEAD_LETTER_TOPIC": ""})
    assert not [address for address in without["channels"] if address.startswith("bridge.")]
    (dead,) = document(KAFKA)["channels"]["bridge.dead-letter"]["messages"].values()
    assert "the source's name" in dead["bindings"]["kafka"]["key"]["description"]


def test_dropped_events_and_the_other_brokers_bindings_are_on_no_channel() -> None:
    nats, kafka = document(NATS | ROUTED), document(KAFKA | ROUTED)
    for made in (nats, kafka):
        assert not [name for channel in made["channels"].values() for name in channel["messages"] if ".call." in name]
    assert "kafka" not in json.dumps(nats["channels"])
    assert nats["channels"]["whatsapp.messages"]["x-jetstream-stream"] == "EVENTS"
    assert {operation["action"] for operation in nats["operations"].values()} == {"send"}
    assert all(
        operation["bindings"] == {"nats": {"bindingVersion": "0.1.0"}} for operation in nats["operations"].values()
    )


def test_types_that_payloads_name_have_a_channel_where_the_broker_takes_new_topics() -> None:
    nats, kafka = document(NATS | PLAIN), document(KAFKA | PLAIN)
    channel = nats["channels"]["events.hub..any"]
    assert channel["address"] == "events.hub.{type}"
    assert list(channel["parameters"]) == ["type"]
    assert not [address for address in kafka["channels"] if "any" in address]
    assert set(kafka["channels"]["events.hub.unknown"]["messages"]) == {"open.any", "open.unknown.v1"}
    assert set(nats["channels"]["events.hub.unknown"]["messages"]) == {"open.any", "open.unknown.v1"}  # beyond the cap


def test_kafka_bindings_say_topic_key_and_what_the_bridge_makes_topics_with() -> None:
    made = document(KAFKA | PLAIN)
    assert made["channels"]["events.chatlevel.connection.auth"]["bindings"]["kafka"] == {
        "topic": "events.chatlevel.connection.auth",
        "partitions": 6,
        "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": 600_000},
        "bindingVersion": "0.5.0",
    }
    elsewhere = document(KAFKA | PLAIN | {"BRIDGE_PROVISION": "check"})
    assert elsewhere["channels"]["events.chatlevel.call"]["bindings"]["kafka"] == {
        "topic": "events.chatlevel.call",
        "bindingVersion": "0.5.0",
    }
    routed = document(KAFKA | ROUTED)
    key = routed["channels"]["whatsapp.messages"]["messages"]["messaging.message.sent.v1"]["bindings"]["kafka"]["key"]
    assert "of shop-1 the other party" in key["description"]
    assert "of shop-2 the device" in key["description"]


def test_servers_are_the_brokers_without_credentials() -> None:
    assert document({})["servers"]["broker-1"]["host"] == "127.0.0.1:4222"
    kafka, nats = document(KAFKA), document(NATS)
    assert [(name, server["host"]) for name, server in kafka["servers"].items()] == [
        ("broker-1", "kafka-0:9092"),
        ("broker-2", "kafka-1:9093"),
    ]
    assert {server["protocol"] for server in kafka["servers"].values()} == {"kafka-secure"}
    assert kafka["components"]["securitySchemes"] == {"sasl": {"type": "scramSha512"}}
    assert [server["host"] for server in nats["servers"].values()] == ["nats-0:4222", "nats-1:4333"]
    for env in (KAFKA, NATS):
        assert SECRET not in asyncapi(loaded(env), BOTH).decode()


def test_credentials_are_marked() -> None:
    message = document({})["channels"]["events.chatlevel.connection.auth"]["messages"]["messaging.connection.auth.v1"]
    assert message["x-sensitive"] is True
    assert "expirytime" in json.dumps(document(BINARY)["channels"]["events.chatlevel.connection.auth"])


def test_the_same_settings_give_the_same_bytes() -> None:
    env = NATS | ROUTED
    assert asyncapi(loaded(env), BOTH) == asyncapi(loaded(dict(reversed(env.items()))), BOTH)


def test_rules_that_cannot_be_used_are_said() -> None:
    config = loaded({})
    with pytest.raises(ConfigError):
        asyncapi(type(config)(sources=config.sources, routes="nonsense"), BOTH)


def test_what_dataschema_names_is_among_the_documents() -> None:
    config = loaded(PLAIN)
    found = documents(config, BOTH)
    index = json.loads(found["schemas/"])
    for record in records(config):
        dataschema = json.loads(record.value)["dataschema"]
        assert json.loads(found[f"schemas/{index[dataschema]}"])["$id"] == dataschema


def test_two_definitions_of_one_name_stay_apart() -> None:
    class Contact(messaging.Contact, frozen=True, kw_only=True):
        """Another contact."""

        nick: str

    class Data(messaging.ConnectionOpen, frozen=True, kw_only=True):
        """With it."""

        contact: Contact

    found = components([messaging.CALL, messaging.MESSAGE_SENT, EventType("messaging", "other", Data, version="2.0")])
    assert found["messaging.call.v1.0"]["properties"]["contact"]["$ref"] == "#/components/schemas/messaging.Contact"
    other = found["messaging.other.v2.0"]["properties"]["contact"]["$ref"]
    assert other == "#/components/schemas/messaging.other.v2.0.Contact"
    assert "nick" in found["messaging.other.v2.0.Contact"]["properties"]
    assert "nick" not in found["messaging.Contact"]["properties"]


def test_a_provider_of_another_package_that_is_broken_takes_no_schema_away() -> None:
    class Broken(Mapping[str, Provider]):
        """As the registry is."""

        def __getitem__(self, name: str) -> Provider:
            if name == "broken":
                raise ImportError(name)
            return PROVIDERS[name]

        def __iter__(self) -> Iterator[str]:
            return iter(("broken", "chatlevel"))

        def __len__(self) -> int:
            return 2

    assert "messaging/call/v1.0.json" in schemas(Broken())
