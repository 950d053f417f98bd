"""The rules about Kafka."""

import importlib.util
from collections.abc import Iterator

from bridge.config.broker_settings import KafkaConfig
from bridge.config.rules import Given, authorities, pair, rule
from bridge.config.settings import Config
from bridge.config.variables import variables
from bridge.errors import Problem

__all__: list[str] = []

_LOGINS = {
    "none": set[str](),
    "plain": {"user", "password"},
    "scram-sha-256": {"user", "password"},
    "scram-sha-512": {"user", "password"},
    "oauthbearer": {"token"},
}
_BUILT_IN = ("none", "gzip")


@rule("BRIDGE_BROKER")
def _kafka_variables_have_an_effect(config: Config, given: Given) -> Iterator[Problem]:
    if config.broker.kind == "kafka":
        return
    for variable in variables(KafkaConfig):
        if variable.name in given and getattr(config.kafka, variable.field) != variable.default:
            found = f"has no effect: BRIDGE_BROKER is {config.broker.kind}"
            yield Problem(given[variable.name], found, "BRIDGE_BROKER=kafka://…, or the variable unset")


@rule("BRIDGE_BROKER", "BRIDGE_KAFKA_SASL", "BRIDGE_KAFKA_USER", "BRIDGE_KAFKA_PASSWORD", "BRIDGE_KAFKA_TOKEN")
def _login_is_whole(config: Config, given: Given) -> Iterator[Problem]:
    if config.broker.kind != "kafka":
        return
    kafka = config.kafka
    needed = _LOGINS[kafka.sasl]
    for field in ("user", "password", "token"):
        name = f"BRIDGE_KAFKA_{field.upper()}"
        if field in needed and getattr(kafka, field) is None:
            yield Problem(name, "is not set", f"a value beside BRIDGE_KAFKA_SASL={kafka.sasl}")
        elif field not in needed and name in given:
            kinds = " or ".join(kind for kind, fields in _LOGINS.items() if field in fields)
            yield Problem(
                given[name], f"has no effect with BRIDGE_KAFKA_SASL={kafka.sasl}", f"BRIDGE_KAFKA_SASL={kinds}"
            )


@rule("BRIDGE_KAFKA_TLS")
def _tls_is_asked_for(config: Config, given: Given) -> Iterator[Problem]:
    if config.kafka.tls:
        return
    for field in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
        name = f"BRIDGE_KAFKA_{field.upper()}"
        if name in given:
            yield Problem(name, "is set, while BRIDGE_KAFKA_TLS is not set", "BRIDGE_KAFKA_TLS=true")


@rule("BRIDGE_KAFKA_TLS_CERT_FILE", "BRIDGE_KAFKA_TLS_KEY_FILE")
def _tls_pair_loads(config: Config, _given: Given) -> Iterator[Problem]:
    yield from pair("BRIDGE_KAFKA_TLS_", config.kafka.tls_cert_file, config.kafka.tls_key_file)


@rule("BRIDGE_KAFKA_TLS_CA_FILE")
def _tls_authorities_load(config: Config, _given: Given) -> Iterator[Problem]:
    yield from authorities("BRIDGE_KAFKA_TLS_CA_FILE", config.kafka.tls_ca_file)


@rule("BRIDGE_KAFKA_COMPRESSION")
def _compression_is_installed(config: Config, _given: Given) -> Iterator[Problem]:
    """The library would raise at the first connect (K11)."""
    compression = config.kafka.compression
    if compression not in _BUILT_IN and importlib.util.find_spec("cramjam") is None:
        yield Problem(
            "BRIDGE_KAFKA_COMPRESSION",
            f"is {compression}, which needs a package that is not installed",
            "gzip or none, or: pip install 'webhook-bridge[compression]'",
        )


@rule("BRIDGE_BROKER", "BRIDGE_KAFKA_RETENTION_S", "BRIDGE_DEDUP_WINDOW_S")
def _window_fits_into_retention(config: Config, _given: Given) -> Iterator[Problem]:
    window_s, retention_s = config.dedup_window_s, config.kafka.retention_s
    if config.broker.kind == "kafka" and retention_s < window_s:
        found = f"is {retention_s}, shorter than BRIDGE_DEDUP_WINDOW_S: events vanish while they are still retried"
        yield Problem("BRIDGE_KAFKA_RETENTION_S", found, f"at least {window_s}")
