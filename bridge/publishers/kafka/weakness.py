"""What in the topics' and the brokers' settings weakens the promise that an acknowledged event is durable. Pure."""

from collections.abc import Callable, Iterator

from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.kafka.topics import Inspection, TopicConfig, TopicState
from bridge.publishers.status import Weakness

__all__ = ["weaknesses"]

_ENOUGH_REPLICAS = 3
_SENSITIVE_S = 86_400
_MAX_NAMED = 3


def weaknesses(settings: KafkaSettings, inspection: Inspection) -> tuple[Weakness, ...]:
    """All findings, one for all topics that share it."""
    there = [state for state in inspection.topics if state.error is None]
    doubts = (Weakness(doubt, durability=False) for doubt in inspection.doubts)
    return (*_of_topics(settings, there), *_of_cluster(settings, inspection, there), *doubts)


def _of_topics(settings: KafkaSettings, there: list[TopicState]) -> Iterator[Weakness]:
    """Findings of single topics, gathered."""
    for applies, text, durability in _RULES:
        names = [state.name for state in there if applies(settings, state)]
        if names:
            more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
            yield Weakness(f"{', '.join(names[:_MAX_NAMED])}{more}: {text}", durability=durability)


Rule = Callable[[KafkaSettings, TopicState], bool]


def _config(rule: Callable[[KafkaSettings, TopicState, TopicConfig], bool]) -> Rule:
    """A rule about what could be read."""
    return lambda settings, state: state.config is not None and rule(settings, state, state.config)


_RULES: tuple[tuple[Rule, str, bool], ...] = (
    (
        lambda _settings, state: state.replication == 1,
        "one copy, lost with its broker's disk: use replication 3",
        True,
    ),
    (
        lambda _settings, state: 1 < state.replication < _ENOUGH_REPLICAS,
        "2 replicas cannot lose one and still have two in sync: use replication 3",
        False,
    ),
    (
        _config(lambda _settings, state, config: state.replication > 1 and config.min_insync == 1),
        "min.insync.replicas is 1, so a leader may acknowledge alone and then be lost: set 2",
        True,
    ),
    (
        _config(lambda _settings, state, config: 1 < state.replication <= config.min_insync),
        "min.insync.replicas is as high as the replication, so it stops when one broker is down: set one less",
        False,
    ),
    (
        _config(lambda _settings, _state, config: config.unclean_election),
        "a replica that lags may become leader and drop acknowledged events: unclean.leader.election.enable=false",
        True,
    ),
    (
        _config(lambda _settings, _state, config: "compact" in config.cleanup_policy),
        "compaction drops all but the last event of a key: set cleanup.policy=delete",
        True,
    ),
    (
        _config(lambda settings, state, config: not state.sensitive and config.retention_s < settings.dedup_window_s),
        "events are deleted after little more than an hour: raise retention.ms to days",
        True,
    ),
    (
        _config(lambda _settings, state, config: state.sensitive and config.retention_s > _SENSITIVE_S),
        "pairing codes, which are credentials, stay for more than a day: lower retention.ms",
        False,
    ),
    (
        _config(lambda settings, _state, config: config.max_message_bytes < settings.max_record_bytes),
        "max.message.bytes is too small for the largest body: raise it, or lower BRIDGE_SOURCE_<NAME>_MAX_BODY_BYTES",
        False,
    ),
)


def _of_cluster(settings: KafkaSettings, inspection: Inspection, there: list[TopicState]) -> Iterator[Weakness]:
    if any(state.config is None for state in there):
        yield Weakness(
            "our user may not read the topics' settings, so weak ones stay unseen: allow DescribeConfigs on them",
            durability=False,
        )
    if inspection.auto_create:
        yield Weakness(
            "a topic that is deleted comes back by itself, with the broker's defaults: set "
            "auto.create.topics.enable=false on the brokers"
        )
    if settings.sasl is not None and not settings.tls:
        yield Weakness(
            "the login and all events go over the network in plain text: set BRIDGE_KAFKA_TLS=true", durability=False
        )
