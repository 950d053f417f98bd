"""The settings of routing -> tables. Not here: what a rule or a topic's name must be (`bridge.routing`)."""

from collections.abc import Mapping

from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.errors import ConfigError
from bridge.events.model import EventType
from bridge.events.open_types import open_type
from bridge.providers.base import Provider
from bridge.routing import RoutedSource, Table, build_tables, own_topic_problems

__all__ = ["make_tables"]


def make_tables(config: Config, providers: Mapping[str, Provider]) -> dict[str, Table]:
    """Where the events of each source go, by the source's name.

    Raises:
        ConfigError: with every problem of the routing; never for what `load` has returned.
    """
    tables = build_tables(
        [
            RoutedSource(
                name=source.name,
                types=_types(source, providers[source.provider]),
                open_types=providers[source.provider].open_types,
                unknown=source.unknown,
            )
            for source in config.sources
        ],
        routes=config.routes,
        template=config.topic_template,
        open_topics=config.broker.kind in ("embedded", "nats"),
    )
    own = {"BRIDGE_DEAD_LETTER_TOPIC": config.dead_letter_topic, "BRIDGE_RAW_TOPIC": config.raw_topic}
    if problems := tuple(own_topic_problems(own, tables.values())):
        raise ConfigError(problems)
    return tables


def _types(source: SourceConfig, provider: Provider) -> tuple[EventType, ...]:
    """The provider's, the fallback type last, and those that the source declares."""
    known = {event_type.name for event_type in provider.event_types}
    fallback = provider.event_types[-1]
    declared = dict.fromkeys(name for name in source.types if name not in known) if provider.open_types else ()
    return (*(open_type(fallback, name) for name in declared), *provider.event_types)
