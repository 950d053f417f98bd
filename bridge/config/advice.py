"""What is allowed and will hurt: settings that weaken a promise though nothing is wrong with them. For `check`.

Not here: what is wrong (`validate`), and what only the broker can tell (its publisher's health).
"""

import ipaddress
import os
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.tokens import kept_in
from bridge.errors import Problem
from bridge.providers.base import Provider
from bridge.spool.opening import read_kept

__all__ = ["advise"]


def advise(config: Config) -> tuple[Problem, ...]:
    """All findings, in the shape of problems: what is so, and what would be better."""
    found = [finding for rule in _RULES for finding in rule(config)]
    return (
        *found,
        *(finding for source in config.sources for rule in _SOURCE_RULES for finding in rule(config, source)),
    )


def _embedded_is_one_disk(config: Config) -> Iterator[Problem]:
    if config.broker.kind == "embedded" and not config.listen.loopback:
        yield Problem(
            "BRIDGE_BROKER",
            "is embedded: all events are on this machine's disk alone",
            "a cluster, where events must outlive this machine",
        )


def _nothing_is_looked_at(config: Config) -> Iterator[Problem]:
    if config.provision == "off":
        yield Problem(
            "BRIDGE_PROVISION",
            "is off: a missing topic or a weak setting of the broker is seen by nobody before an event fails",
            "check, where the broker's login may ask",
        )


def _one_copy_is_made(config: Config) -> Iterator[Problem]:
    if config.broker.kind == "nats" and config.provision == "create" and config.nats.replicas == 1:
        yield Problem(
            "BRIDGE_NATS_REPLICAS", "is 1: a stream made so is lost with its server's disk", "3 on a cluster of three"
        )


def _one_copy_of_each_topic_is_made(config: Config) -> Iterator[Problem]:
    if config.broker.kind == "kafka" and config.provision == "create" and config.kafka.replication == 1:
        yield Problem(
            "BRIDGE_KAFKA_REPLICATION", "is 1: topics made so are lost with their broker's disk", "3 on three brokers"
        )


def _kafka_logins_go_encrypted(config: Config) -> Iterator[Problem]:
    kafka = config.kafka
    if config.broker.kind != "kafka" or kafka.sasl == "none" or kafka.tls:
        return
    if not all(_is_loopback(server) for server in config.broker.servers):
        yield Problem("BRIDGE_KAFKA_TLS", "is false: login and events cross the network as they are", "true")


def _passwords_go_encrypted(config: Config) -> Iterator[Problem]:
    nats = config.nats
    if config.broker.kind != "nats" or config.broker.tls or (nats.password is None and nats.token is None):
        return
    if not all(_is_loopback(server) for server in config.broker.servers):
        name = "BRIDGE_NATS_TOKEN" if nats.password is None else "BRIDGE_NATS_PASSWORD"
        yield Problem(name, "crosses the network as it is, for nats:// goes without TLS", "BRIDGE_BROKER=tls://…")


def _requests_may_finish(config: Config) -> Iterator[Problem]:
    longest_ms = max((source.deadline_ms for source in config.sources), default=0)
    if config.shutdown_timeout_ms < longest_ms:
        yield Problem(
            "BRIDGE_SHUTDOWN_TIMEOUT_MS",
            f"is {config.shutdown_timeout_ms}: at each rollout requests are cut off before their deadline",
            f"at least {longest_ms}, the longest deadline of a source",
        )


def _nothing_is_left_in_the_spool(config: Config) -> Iterator[Problem]:
    if config.spool == "on":
        return
    folder = config.data_dir / "spool"
    kept = read_kept(folder / "totals.json")
    if kept is not None and kept.totals.rows > 0:
        yield Problem(
            "BRIDGE_SPOOL",
            f"is off, and {folder} holds about {kept.totals.rows} events that were answered with success",
            "on, or run `webhook-bridge drain` first",
        )


def _sender_is_proven(_config: Config, source: SourceConfig) -> Iterator[Problem]:
    if source.verify == "none":
        yield Problem(
            source.variable("verify"),
            "is none: events are taken from anybody who knows the URL",
            "unset, with a secret",
        )


def _token_is_given(config: Config, source: SourceConfig) -> Iterator[Problem]:
    if source.verify == "none" or source.secrets:
        return
    path = kept_in(config, source)
    if path.exists():
        return
    found = f"is not set: `serve` makes one and keeps it in {path}"
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not os.access(parent, os.W_OK):
        found += ", which cannot be written to from here"
    own = (
        "the provider's own, for it signs with no other"
        if source.verify == "secret"
        else "a token of your own, where the data directory may get lost"
    )
    yield Problem(source.variable(source.verify), found, own)


def _success_is_counted(_config: Config, source: SourceConfig) -> Iterator[Problem]:
    provider = _provider(source)
    if source.success_status != provider.success_status and not provider.any_2xx:
        found = f"is {source.success_status}, which {source.provider} does not count: it retries what was taken"
        yield Problem(source.variable("success_status"), found, str(provider.success_status))


def _late_retries_are_known(_config: Config, source: SourceConfig) -> Iterator[Problem]:
    span_s = sum(_provider(source).retry_plan_s)
    if source.dedup_window_s < span_s:
        yield Problem(
            source.variable("dedup_window_s"),
            f"is {source.dedup_window_s}: {source.provider} retries over {span_s} s, and a late one is stored twice",
            f"more than {span_s}",
        )


def _provider(source: SourceConfig) -> Provider:
    from bridge.providers import PROVIDERS  # noqa: PLC0415 -- as in `load`

    return PROVIDERS[source.provider]


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_RULES: tuple[Callable[[Config], Iterator[Problem]], ...] = (
    _embedded_is_one_disk,
    _nothing_is_looked_at,
    _one_copy_is_made,
    _one_copy_of_each_topic_is_made,
    _kafka_logins_go_encrypted,
    _passwords_go_encrypted,
    _requests_may_finish,
    _nothing_is_left_in_the_spool,
)
_SOURCE_RULES: tuple[Callable[[Config, SourceConfig], Iterator[Problem]], ...] = (
    _sender_is_proven,
    _token_is_given,
    _success_is_counted,
    _late_retries_are_known,
)
