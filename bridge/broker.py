"""The configured broker: Config -> publisher or reader. Where a kind of broker is chosen, once."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Literal

from bridge.config import Config
from bridge.publishers.base import Publisher
from bridge.publishers.nats import NatsPublisher, NatsSettings, Received, follow
from bridge.routing.table import source_subjects

__all__ = ["Reader", "make_publisher", "make_reader"]

# An event is its webhook, normalised: measured growth stays below 2, attributes and headers below this sum.
_GROWTH_FACTOR = 2
_ENVELOPE_BYTES = 4096

Reader = Callable[[Literal["new", "all"] | datetime], AsyncIterator[Received]]


def make_publisher(config: Config, servers: tuple[str, ...]) -> Publisher:
    """A publisher for the broker at these URLs (of the configured one, or of our embedded child)."""
    return NatsPublisher(_nats_settings(config, servers))


def make_reader(config: Config) -> Reader:
    """Follows every topic of the configured sources."""
    embedded = config.broker.kind == "embedded"
    servers = (f"nats://{config.embedded_listen}",) if embedded else config.broker.servers
    settings = _nats_settings(config, servers)

    def read(since: Literal["new", "all"] | datetime) -> AsyncIterator[Received]:
        return follow(settings, settings.subjects, since=since)

    return read


def _nats_settings(config: Config, servers: tuple[str, ...]) -> NatsSettings:
    raise NotImplementedError
