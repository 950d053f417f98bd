"""The configured broker: Config -> publisher or reader. Where a kind of broker is chosen, once."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from bridge.config import Config, Secret, SourceConfig, read_secret_file
from bridge.publishers.base import Publisher
from bridge.publishers.embedded import EmbeddedServer
from bridge.publishers.nats import NatsPublisher, NatsSettings, Received, follow
from bridge.routing import Table, subjects

__all__ = [
    "Reader",
    "largest_body_bytes",
    "largest_record_bytes",
    "make_embedded",
    "make_probe",
    "make_publisher",
    "make_reader",
]

# An event is its webhook, normalised: measured growth stays below 2, attributes and headers below this sum.
_GROWTH_FACTOR = 2
_ENVELOPE_BYTES = 4096

Reader = Callable[[Literal["new", "all"] | datetime], AsyncIterator[Received]]


def make_embedded(config: Config) -> EmbeddedServer | None:
    """Our own broker, not started; None where another one is configured."""
    if config.broker.kind != "embedded":
        return None
    listen = config.embedded_listen
    return EmbeddedServer(config.data_dir, host=listen.host, port=listen.port)


def make_publisher(config: Config, tables: Mapping[str, Table], embedded: EmbeddedServer | None) -> Publisher:
    """A publisher for the configured broker, or for our embedded one; it takes every topic of the tables."""
    if embedded is not None:
        return NatsPublisher(_nats_settings(config, tables, (embedded.url,), embedded.server_name))
    return NatsPublisher(_nats_settings(config, tables, config.broker.servers, None))


def make_probe(config: Config, tables: Mapping[str, Table]) -> Publisher:
    """A publisher that looks at the configured broker, tells what it would make there, and makes nothing.

    To an embedded broker it speaks where `serve` runs one; it starts none.
    """
    embedded = make_embedded(config)
    servers = config.broker.servers if embedded is None else (embedded.url,)
    settings = _nats_settings(config, tables, servers, None)
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
    embedded = make_embedded(config)
    servers = config.broker.servers if embedded is None else (embedded.url,)
    settings = _nats_settings(config, tables, servers, None)

    def read(since: Literal["new", "all"] | datetime) -> AsyncIterator[Received]:
        return follow(settings, settings.subjects, since=since)

    return read


def _nats_settings(
    config: Config, tables: Mapping[str, Table], servers: tuple[str, ...], server_name: str | None
) -> NatsSettings:
    nats = config.nats
    return NatsSettings(
        servers=servers,
        subjects=subjects(tables.values()),
        stream=nats.stream,
        provision=config.provision,
        replicas=nats.replicas,
        retention_s=nats.retention_s,
        dedup_window_s=config.dedup_window_s,
        require_durable=config.require_durable,
        max_record_bytes=max(map(largest_record_bytes, config.sources)),
        user=nats.user,
        password=_reader(nats.password),
        token=_reader(nats.token),
        nkey=_reader(nats.nkey),
        creds=_reader(nats.creds),
        tls_ca_file=nats.tls_ca_file,
        tls_cert_file=nats.tls_cert_file,
        tls_key_file=nats.tls_key_file,
        tls_first=nats.tls_first,
        tls_hostname=nats.tls_hostname,
        expected_server_name=server_name,
        always_synced=config.broker.kind == "embedded",
    )


def _reader(secret: Secret | None) -> Callable[[], str] | None:
    """The secret's value of today: a mounted file is read again at each connect, so a rotation needs no restart."""
    if secret is None:
        return None
    path = secret.path
    return secret.reveal if path is None else lambda: read_secret_file(path)
