"""A source's settings -> its pipeline: for the entrance, and for `explain`, which must say what the entrance does."""

from bridge.config import Config, SourceConfig
from bridge.ingest.pipeline import Pipeline
from bridge.providers.base import Provider
from bridge.publishers.base import HeaderDialect
from bridge.routing import Table

__all__ = ["make_pipeline"]


def make_pipeline(
    config: Config, source: SourceConfig, *, provider: Provider, table: Table, dialect: HeaderDialect
) -> Pipeline:
    """The pipeline of one source.

    Args:
        config: what holds for all sources.
        source: whose; it needs no token.
        provider: whose format its bodies have.
        table: where its events go.
        dialect: of the broker that the records are for.
    """
    return Pipeline(
        source=source.name,
        provider=provider,
        table=table,
        dialect=dialect,
        event_format=config.event_format,
        devices=frozenset(source.devices),
    )
