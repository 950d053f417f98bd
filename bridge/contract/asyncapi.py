"""The topics of a configuration as an AsyncAPI 3.0 document: what is on which, with schemas, headers and keys.

No credential is in it: the configuration keeps them apart from the broker's address.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from bridge.broker import dialect_of, new_topics
from bridge.config import Config, make_tables
from bridge.contract.channels import ANY_TYPE, Carried, Channel, channels
from bridge.contract.components import ENVELOPE, component_of, components
from bridge.contract.headers import headers_schema
from bridge.contract.letters import LETTERS_KEY, letter_messages
from bridge.events.cloudevents import CONTENT_TYPE
from bridge.providers.base import Provider

__all__ = ["asyncapi"]

_KAFKA = {"bindingVersion": "0.5.0"}
_NATS = {"bindingVersion": "0.1.0"}
_KEYS = {
    "device": "the device, or what else is the provider's natural key",
    "contact": "the other party, or else the device",
    "subject": "the object (the event's `subject`), or else the device",
    "id": "the event's `id`",
}
Messages = dict[str, dict[str, Any]]
"""By name, as the document has them."""

_SASL = {"plain": "plain", "scram-sha-256": "scramSha256", "scram-sha-512": "scramSha512"}


def asyncapi(config: Config, providers: Mapping[str, Provider]) -> bytes:
    """The document as JSON. The same configuration always gives the same bytes.

    Args:
        config: secrets are not looked at.
        providers: by name, those that the config was loaded with.

    Raises:
        ConfigError: the rules of routing cannot be used.
    """
    tables = make_tables(config, providers)  # tables of our own: those of a running bridge learn
    types = [event_type for table in tables.values() for event_type in table.source.types]
    new = new_topics(config, tables)
    found = {address: _messages(config, channel) for address, channel in channels(tables).items()}
    found |= {topic: {message["name"]: _letter(config, message)} for topic, message in letter_messages(config).items()}
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "webhook-bridge",
            "version": version("webhook-bridge"),
            "description": "Webhooks as CloudEvents 1.0, each on the topic of its type. Delivery is at least once: an "
            "event is its `source` and `id` together. Ignore what you do not know.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(config),
        "channels": {
            _channel_id(address): _channel(config, address, messages, new.get(address))
            for address, messages in found.items()
        },
        "operations": {
            f"publish.{_channel_id(address)}": _operation(config, address, messages)
            for address, messages in found.items()
        },
        "components": {"schemas": components(types)} | _security(config),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _servers(config: Config) -> dict[str, Any]:
    kafka, broker = config.broker.kind == "kafka", config.broker
    urls = broker.servers or (f"nats://{config.embedded_listen}",)
    common: dict[str, Any] = {"protocol": "nats"}
    if kafka:
        common = {"protocol": "kafka-secure" if config.kafka.tls else "kafka", "bindings": {"kafka": _KAFKA}}
        if config.kafka.sasl in _SASL:
            common["security"] = [{"$ref": "#/components/securitySchemes/sasl"}]
    else:
        common |= {"description": "NATS with TLS." if broker.tls else "NATS.", "x-jetstream-stream": config.nats.stream}
    return {f"broker-{number}": {"host": url.partition("://")[2]} | common for number, url in enumerate(urls, 1)}


def _security(config: Config) -> dict[str, Any]:
    """How the broker wants to be logged in to, where the standard has a word for it."""
    if config.broker.kind != "kafka" or config.kafka.sasl not in _SASL:
        return {}
    return {"securitySchemes": {"sasl": {"type": _SASL[config.kafka.sasl]}}}


def _channel_id(address: str) -> str:
    """The address, but for braces, which have no place in references; no topic has two dots in a row."""
    return address.replace(ANY_TYPE, ".any")


def _channel(config: Config, address: str, messages: Messages, new: dict[str, str] | None) -> dict[str, Any]:
    made: dict[str, Any] = {"address": address}
    if ANY_TYPE in address:
        made["parameters"] = {"type": {"description": "The event's type, as the payload names it."}}
    made["messages"] = messages
    if config.broker.kind == "kafka":
        made["bindings"] = {"kafka": {"topic": address} | _as_made(config, new) | _KAFKA}
    else:
        made["x-jetstream-stream"] = config.nats.stream
    return made


def _as_made(config: Config, new: dict[str, str] | None) -> dict[str, Any]:
    """Partitions and settings of a topic that the bridge makes; of another's nothing is known."""
    if new is None:
        return {}
    known = {"partitions": config.kafka.partitions, "replicas": config.kafka.replication}
    whole = {name: int(text) for name, text in new.items() if name in ("retention.ms", "max.message.bytes")}
    settings = {"cleanup.policy": [new["cleanup.policy"]]} | whole
    return {name: count for name, count in known.items() if count} | {"topicConfiguration": settings}


def _operation(config: Config, address: str, messages: Messages) -> dict[str, Any]:
    reference = f"#/channels/{_channel_id(address)}"
    return {
        "action": "send",
        "channel": {"$ref": reference},
        "messages": [{"$ref": f"{reference}/messages/{name}"} for name in messages],
        "bindings": {"kafka": _KAFKA} if config.broker.kind == "kafka" else {"nats": _NATS},
    }


def _messages(config: Config, channel: Channel) -> Messages:
    return {name: _message(config, name, channel) for name in channel}


def _message(config: Config, name: str, channel: Channel) -> dict[str, Any]:
    carried = channel[name]
    event_type, binary = carried.event_type, config.event_format == "binary"
    others = [other for other in channel if other != name]
    headers = headers_schema(config, event_type, named_by_payloads=bool(carried.globs))
    data = {"$ref": f"#/components/schemas/{component_of(event_type)}"}
    sensitive = {"x-sensitive": True, "description": "Holds credentials."} if event_type.sensitive else {}
    if carried.globs:
        headers["properties"][f"{dialect_of(config).prefix}type"] |= _named(carried, others)
    made: dict[str, Any] = {"name": name, "summary": _summary(carried), **sensitive}
    made["contentType"] = "application/json" if binary else CONTENT_TYPE
    made["headers"] = headers
    made["payload"] = data if binary else _whole_event(carried, others, data)
    return made | _key_binding(config, _key(carried))


def _letter(config: Config, message: dict[str, Any]) -> dict[str, Any]:
    return message | _key_binding(config, LETTERS_KEY)


def _key_binding(config: Config, description: str) -> dict[str, Any]:
    if config.broker.kind != "kafka":
        return {}
    return {"bindings": {"kafka": {"key": {"type": "string", "description": description}} | _KAFKA}}


def _summary(carried: Carried) -> str:
    if carried.globs:
        return f"What payloads of {carried.event_type.domain} name otherwise."
    return (carried.event_type.data.__doc__ or "").partition("\n")[0]


def _whole_event(carried: Carried, others: list[str], data: dict[str, str]) -> dict[str, Any]:
    event_type = carried.event_type
    sources = "|".join(carried.keys)  # a-z 0-9 -
    properties = {
        "source": {"type": "string", "pattern": f"^/({sources})/devices/"},
        "type": _named(carried, others) if carried.globs else {"const": event_type.ce_type},
        "dataschema": {"const": event_type.dataschema},
        "partitionkey": {"type": "string", "description": _key(carried)},
        "data": data,
    }
    return {"allOf": [{"$ref": f"#/components/schemas/{ENVELOPE}"}, {"type": "object", "properties": properties}]}


def _named(carried: Carried, others: list[str]) -> dict[str, Any]:
    """Types that payloads name: those of the globs, without those that are messages of their own here."""
    globs = "|".join(map(_pattern, carried.globs))
    major = carried.event_type.ce_type.rpartition(".")[2]
    pattern = rf"^{_pattern(carried.event_type.domain)}\.({globs})\.{major}$"
    named: dict[str, Any] = {"type": "string", "pattern": pattern}
    return named | ({"not": {"enum": others}} if others else {})


def _pattern(glob: str) -> str:
    """`re.escape` escapes more than JavaScript allows; of a-z 0-9 _ - . and * these two mean something."""
    return glob.replace(".", r"\.").replace("*", ".*")


def _key(carried: Carried) -> str:
    """What becomes the record's key; where sources differ, for each."""
    if len(set(carried.keys.values())) == 1:
        return f"The record's key: {_KEYS[next(iter(carried.keys.values()))]}."
    said = (f"of {source} {_KEYS[key]}" for source, key in sorted(carried.keys.items()))
    return f"The record's key: {'; '.join(said)}."
