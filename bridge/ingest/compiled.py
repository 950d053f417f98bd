"""A source's settings -> its pipeline: for the entrance, and for `explain`, which must say what the entrance does."""

from collections.abc import Mapping

from bridge.config import Config, SourceConfig, proofs_of
from bridge.ingest.dead_letters import Keeper, RefusedRecords
from bridge.ingest.dedup import DedupTable
from bridge.ingest.pipeline import Pipeline
from bridge.providers.base import Provider
from bridge.providers.signatures import Verifier
from bridge.publishers.base import HeaderDialect, Publisher
from bridge.routing import Table
from bridge.telemetry.facts import SourceFacts

__all__ = ["make_keeper", "make_pipeline", "make_refused_records", "make_verifier"]


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
    return Verifier(
        proofs_of(source, provider),
        [secret.reveal() for secret in source.secrets],
        public_url=source.public_url,
        trusted_proxies=source.trusted_proxies,
    )


def make_keeper(
    config: Config,
    source: SourceConfig,
    *,
    provider: Provider,
    table: Table,
    dialect: HeaderDialect,
    dedup: DedupTable,
) -> Keeper:
    """What becomes of the deliveries of one source.

    Args:
        config: what holds for all sources.
        source: whose.
        provider: see `make_pipeline`.
        table: see `make_pipeline`.
        dialect: see `make_pipeline`.
        dedup: takes the records.
    """
    configured = provider.configured(source.own)
    return Keeper(
        make_pipeline(config, source, provider=provider, table=table, dialect=dialect),
        dedup,
        source=source.name,
        dialect=dialect,
        decoded_headers=sorted(configured.headers - _of_proof(configured)),
        dead_letter_topic=config.dead_letter_topic,
        raw_topic=config.raw_topic,
        unknown=table.source.fallback if source.unknown == "dead-letter" else None,
    )


def make_refused_records(
    config: Config, publisher: Publisher, facts: Mapping[str, SourceFacts]
) -> RefusedRecords | None:
    """What takes the records that are refused when the spool is drained; None where there are no dead letters.

    Args:
        config: names the topic.
        publisher: takes the letters.
        facts: see `RefusedRecords`.
    """
    topic = config.dead_letter_topic
    return None if topic is None else RefusedRecords(publisher.publish, facts, topic=topic, dialect=publisher.dialect)


def _of_proof(provider: Provider) -> frozenset[str]:
    """Headers of secrets and of signatures: kept nowhere, whoever else reads them."""
    return frozenset(name for proof in provider.proofs for name in (proof.header, *proof.secret_headers))
