"""The configured broker: Config -> publisher or reader. Where a kind of broker is chosen, once."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec

from bridge.config import Config, Secret, SourceConfig, reread_login
from bridge.errors import ConfigError
from bridge.publishers.base import HeaderDialect, Publisher, Received, Record, Since
from bridge.publishers.embedded import EmbeddedServer
from bridge.publishers.kafka import KafkaPublisher, KafkaSettings, Sasl, Topic
from bridge.publishers.kafka import reader as kafka_reader
from bridge.publishers.kafka import records as kafka_records
from bridge.publishers.kafka import topics as kafka_topics
from bridge.publishers.nats import NatsPublisher, NatsSettings
from bridge.publishers.nats import reader as nats_reader
from bridge.publishers.nats import records as nats_records
from bridge.routing import Table, subjects, topics

__all__ = [
    "LetterReader",
    "Reader",
    "as_sent",
    "dialect_of",
    "largest_body_bytes",
    "largest_record_bytes",
    "make_client",
    "make_embedded",
    "make_letter_reader",
    "make_probe",
    "make_publisher",
    "make_reader",
    "new_topics",
]

# An event is its webhook, normalised: measured growth stays below 2, attributes and headers below this sum. A letter's
# value is the webhook itself, and its headers are kept below the sum (`ingest.letters`).
_GROWTH_FACTOR = 2
_ENVELOPE_BYTES = 4096

_MECHANISMS: Mapping[str, Sasl | None] = {
    "none": None,
    "plain": "PLAIN",
    "scram-sha-256": "SCRAM-SHA-256",
    "scram-sha-512": "SCRAM-SHA-512",
    "oauthbearer": "OAUTHBEARER",
}

Reader = Callable[[Since], AsyncGenerator[Received, None]]
LetterReader = Callable[[Since, Mapping[int, int]], AsyncGenerator[Received, None]]


def make_embedded(config: Config) -> EmbeddedServer | None:
    """Our own broker, not started; None where another one is configured."""
    if config.broker.kind != "embedded":
        return None
    listen = config.embedded_listen
    return EmbeddedServer(config.data_dir, host=listen.host, port=listen.port)


def make_publisher(config: Config, tables: Mapping[str, Table], embedded: EmbeddedServer | None) -> Publisher:
    """A publisher for the configured broker, or for our embedded one; it takes every topic of the tables."""
    if config.broker.kind == "kafka":
        return KafkaPublisher(_kafka_settings(config, tables))
    if embedded is not None:
        return NatsPublisher(_nats_settings(config, tables, (embedded.url,), embedded.server_name))
    return NatsPublisher(_nats_settings(config, tables, config.broker.servers, None))


def make_client(config: Config, tables: Mapping[str, Table]) -> Publisher:
    """A publisher beside the bridge that runs; to an embedded broker it speaks where `serve` runs one."""
    if config.broker.kind == "kafka":
        return KafkaPublisher(msgspec.structs.replace(_kafka_settings(config, tables), max_record_bytes=0))
    settings = _nats_settings(config, tables, _servers(config), None)
    return NatsPublisher(msgspec.structs.replace(settings, max_record_bytes=0))


def make_probe(config: Config, tables: Mapping[str, Table]) -> Publisher:
    """A publisher that looks at the configured broker, tells what it would make there, and makes nothing.

    To an embedded broker it speaks where `serve` runs one; it starts none.
    """
    if config.broker.kind == "kafka":
        kafka = _kafka_settings(config, tables)
        return KafkaPublisher(msgspec.structs.replace(kafka, dry_run=True, max_record_bytes=0))
    settings = _nats_settings(config, tables, _servers(config), None)
    # Whether the largest records fit is for whom looks to judge, by `largest_record_bytes` of each source.
    return NatsPublisher(msgspec.structs.replace(settings, dry_run=True, max_record_bytes=0))


def largest_record_bytes(source: SourceConfig) -> int:
    """How large the records of this source can become, headers included."""
    return _GROWTH_FACTOR * source.max_body_bytes + _ENVELOPE_BYTES


def largest_body_bytes(limit_bytes: int) -> int:
    """The largest body whose records are sure to stay within the broker's limit; 0: none is."""
    return max(0, (limit_bytes - _ENVELOPE_BYTES) // _GROWTH_FACTOR)


def make_reader(config: Config, tables: Mapping[str, Table]) -> Reader:
    """Follows every topic of the tables."""
    if config.broker.kind == "kafka":
        kafka = _kafka_settings(config, tables)
        return lambda since: kafka_reader.follow(kafka, topics(tables.values()), since=since)
    nats = _nats_settings(config, tables, _servers(config), None)
    return lambda since: nats_reader.follow(nats, subjects(tables.values()), since=since)


def make_letter_reader(config: Config, tables: Mapping[str, Table], topic: str) -> LetterReader:
    """Reads one of our own topics, from where it was left off to its present end."""
    if config.broker.kind == "kafka":
        kafka = _kafka_settings(config, tables)
        return lambda since, positions: kafka_reader.follow(
            kafka, (topic,), since=since, to_end=True, positions=positions
        )
    nats = _nats_settings(config, tables, _servers(config), None)
    return lambda since, positions: nats_reader.follow(nats, (topic,), since=since, to_end=True, positions=positions)


def dialect_of(config: Config) -> HeaderDialect:
    """How records for the configured broker name their headers."""
    return KafkaPublisher.dialect if config.broker.kind == "kafka" else NatsPublisher.dialect


def new_topics(config: Config, tables: Mapping[str, Table]) -> dict[str, dict[str, str]]:
    """The Kafka topics that the bridge makes where they are missing, each with its configuration."""
    if config.broker.kind != "kafka" or config.provision != "create":
        return {}
    settings = _kafka_settings(config, tables)
    return {topic.name: dict(kafka_topics.new_config(settings, topic)) for topic in settings.topics}


def as_sent(config: Config, record: Record) -> tuple[dict[str, str], int]:
    """All headers that the configured broker gets with a record, and what of its limit the record takes, in bytes.

    Raises:
        RecordRefused: it cannot be sent at all.
    """
    if config.broker.kind == "kafka":
        return dict(record.headers), kafka_records.size_bytes(record)
    head = nats_records.encode_head(record, with_ttl=True)
    lines = head.decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines if line), len(head) + len(record.value)


def _servers(config: Config) -> tuple[str, ...]:
    """The NATS servers; of an embedded broker those of the `serve` that runs it."""
    embedded = make_embedded(config)
    return config.broker.servers if embedded is None else (embedded.url,)


def _nats_settings(
    config: Config, tables: Mapping[str, Table], servers: tuple[str, ...], server_name: str | None
) -> NatsSettings:
    nats = config.nats
    return NatsSettings(
        servers=servers,
        subjects=(*subjects(tables.values()), *config.own_topics),
        stream=nats.stream,
        provision=config.provision,
        replicas=nats.replicas,
        retention_s=nats.retention_s,
        dedup_window_s=config.dedup_window_s,
        require_durable=config.require_durable,
        max_record_bytes=max(map(largest_record_bytes, config.sources)),
        user=nats.user,
        password=_reader("BRIDGE_NATS_PASSWORD", nats.password),
        token=_reader("BRIDGE_NATS_TOKEN", nats.token),
        nkey=_reader("BRIDGE_NATS_NKEY", nats.nkey),
        creds=_reader("BRIDGE_NATS_CREDS", nats.creds),
        tls_ca_file=nats.tls_ca_file,
        tls_cert_file=nats.tls_cert_file,
        tls_key_file=nats.tls_key_file,
        tls_first=nats.tls_first,
        tls_hostname=nats.tls_hostname,
        expected_server_name=server_name,
        always_synced=config.broker.kind == "embedded",
    )


def _kafka_settings(config: Config, tables: Mapping[str, Table]) -> KafkaSettings:
    kafka, sensitive = config.kafka, _only_sensitive(tables)
    return KafkaSettings(
        servers=tuple(server.removeprefix("kafka://") for server in config.broker.servers),
        topics=tuple(
            Topic(name, sensitive=name in sensitive) for name in (*topics(tables.values()), *config.own_topics)
        ),
        provision=config.provision,
        partitions=kafka.partitions or None,
        replication=kafka.replication or None,
        retention_s=kafka.retention_s,
        dedup_window_s=config.dedup_window_s,
        require_durable=config.require_durable,
        max_record_bytes=max(map(largest_record_bytes, config.sources)),
        compression=None if kafka.compression == "none" else kafka.compression,
        linger_ms=kafka.linger_ms,
        sasl=_MECHANISMS[kafka.sasl],
        user=kafka.user,
        password=_reader("BRIDGE_KAFKA_PASSWORD", kafka.password),
        token=_reader("BRIDGE_KAFKA_TOKEN", kafka.token),
        tls=kafka.tls,
        tls_ca_file=kafka.tls_ca_file,
        tls_cert_file=kafka.tls_cert_file,
        tls_key_file=kafka.tls_key_file,
    )


def _only_sensitive(tables: Mapping[str, Table]) -> frozenset[str]:
    """Topics that have credentials and nothing else: what is created for them keeps its records for minutes."""
    sensitive, other = set[str](), set[str]()
    for table in tables.values():
        names = {event_type.name for event_type in table.source.types if event_type.sensitive}
        for name, found in table.known.items():
            (sensitive if name in names else other).update(route.topic for route in found.routes)
    return frozenset(sensitive - other)


def _reader(variable: str, secret: Secret | None) -> Callable[[], str] | None:
    """The secret's value of today: a mounted file is read again at each connect, so a rotation needs no restart.

    While the file is bad, which `bridge.rotation` tells of, it is the last good value.
    """
    if secret is None:
        return None
    if (path := secret.path) is None:
        return secret.reveal
    value = secret.reveal()

    def read() -> str:
        nonlocal value
        with contextlib.suppress(ConfigError):
            value = reread_login(variable, path)
        return value

    return read
