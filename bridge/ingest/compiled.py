"""A source's settings -> its pipeline: for the entrance, and for `explain`, which must say what the entrance does."""

from bridge.config import Config, SourceConfig
from bridge.ingest.pipeline import Pipeline
from bridge.providers.base import Provider
from bridge.providers.proof import URL_TOKEN
from bridge.providers.signatures import Verifier
from bridge.publishers.base import HeaderDialect
from bridge.routing import Table

__all__ = ["make_pipeline", "make_verifier"]


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
        provider=provider.configured(source.own),
        table=table,
        dialect=dialect,
        event_format=config.event_format,
        devices=frozenset(source.devices),
    )


def make_verifier(source: SourceConfig, provider: Provider) -> Verifier | None:
    """What a request to the source must prove; None where VERIFY=none was said aloud.

    Args:
        source: with its tokens or secrets.
        provider: whose requests it takes.
    """
    if source.verify == "none":
        return None
    proofs = provider.configured(source.own).proofs if source.verify == "secret" else (URL_TOKEN,)
    return Verifier(proofs, [secret.reveal() for secret in source.secrets], public_url=source.public_url)
