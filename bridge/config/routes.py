"""The settings of routing -> tables. Not here: what a rule or a topic's name must be (`bridge.routing`)."""

from collections.abc import Mapping

from bridge.config.settings import Config
from bridge.providers.base import Provider
from bridge.routing import RoutedSource, Table, build_tables

__all__ = ["make_tables"]


def make_tables(config: Config, providers: Mapping[str, Provider]) -> dict[str, Table]:
    """Where the events of each source go, by the source's name.

    Raises:
        ConfigError: with every problem of the routing; never for what `load` has returned.
    """
    return build_tables(
        [
            RoutedSource(
                name=source.name,
                types=providers[source.provider].event_types,
                open_types=providers[source.provider].open_types,
                drop_unknown=source.unknown == "drop",
            )
            for source in config.sources
        ],
        routes=config.routes,
        template=config.topic_template,
        open_topics=config.broker.kind in ("embedded", "nats"),
    )
