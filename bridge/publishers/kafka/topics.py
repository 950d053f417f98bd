"""The topics: looked at, made. By the brokers' own requests: the admin client's answers raise nothing either.

Not here: what is weak about their settings (`weakness`).
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
from aiokafka import errors
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from bridge.publishers.kafka.settings import KafkaSettings, Topic

__all__ = ["Inspection", "TopicConfig", "TopicState", "inspect", "new_config"]

_TOPIC, _BROKER = 2, 4  # resource types of DescribeConfigs
_CONFIGS = (
    "min.insync.replicas",
    "max.message.bytes",
    "retention.ms",
    "cleanup.policy",
    "unclean.leader.election.enable",
)
_DEFAULT = -1  # the broker's own
_SAFE_REPLICATION = 3
_SENSITIVE_RETENTION_S = 600
_DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
_CREATE_TIMEOUT_MS = 3000
_MAX_NAMED = 5

Ask = Callable[..., Awaitable[Any]]


class TopicConfig(msgspec.Struct, frozen=True):
    """What we look at of a topic's configuration."""

    min_insync: int
    max_message_bytes: int
    retention_s: float  # infinite: for ever
    cleanup_policy: str
    unclean_election: bool


class TopicState(msgspec.Struct, frozen=True):
    """A topic as its brokers describe it.

    Attributes:
        name: of the topic.
        sensitive: as in the settings.
        error: of the answer; None: it is there.
        partitions: how many.
        leaderless: how many of them have no leader.
        replication: of the partition with the fewest replicas.
        in_sync: of the partition with the fewest replicas in sync.
        config: None: it may not be read.
    """

    name: str
    sensitive: bool = False
    error: type[Exception] | None = None
    partitions: int = 0
    leaderless: int = 0
    replication: int = 0
    in_sync: int = 0
    config: TopicConfig | None = None

    @property
    def behind(self) -> bool:
        """Whether fewer replicas are in sync than must be."""
        return self.config is not None and self.in_sync < self.config.min_insync


class Inspection(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        topics: each one asked for.
        reasons: why records cannot be taken, with remedies.
        missing: topics known not to be there, or not for us, and why: whoever publishes need not wait for them.
        created: what `create` did.
        plans: what it would do, where it is a dry run.
        doubts: what may go wrong with publishing and could not be seen.
        auto_create: whether the brokers make topics by themselves; None: it may not be read.
    """

    topics: tuple[TopicState, ...] = ()
    reasons: tuple[str, ...] = ()
    missing: dict[str, str] = {}
    created: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    auto_create: bool | None = None

    @property
    def limits(self) -> dict[str, int]:
        """max.message.bytes by topic, where it could be read."""
        return {state.name: state.config.max_message_bytes for state in self.topics if state.config is not None}

    @property
    def troubled(self) -> frozenset[str]:
        """Topics of which it is known why they take nothing just now."""
        behind = {state.name for state in self.topics if state.leaderless or state.behind}
        return frozenset(behind | self.missing.keys())

    @property
    def present(self) -> list[str]:
        """The topics that are there."""
        return [state.name for state in self.topics if state.error is None]


async def inspect(ask: Ask, settings: KafkaSettings, wanted: Iterable[str], node: int | None) -> Inspection:
    """Look at the topics; with `provision="create"` make those of the settings that are missing.

    Args:
        ask: `Producer.ask`.
        settings: which topics, and how to make them.
        wanted: further topics that were published to.
        node: one of the brokers, for its own settings; None: do not ask for them.

    Raises:
        KafkaError, TimeoutError: no broker answered.
    """
    known = {topic.name: topic for topic in settings.topics} | {name: Topic(name) for name in wanted}
    states, controller = await _describe(ask, known.values())
    absent = [state.name for state in states if state.error is errors.UnknownTopicOrPartitionError]
    made: list[str] = []  # or to be made
    failures: dict[str, str] = {}
    creatable = [topic for topic in settings.topics if topic.name in absent]
    if creatable and settings.provision == "create":
        failures = await _create(ask, settings, creatable, controller)
        made = [topic.name for topic in creatable if topic.name not in failures]
    missing = {name: failures.get(name) or _absence(settings, [name]) for name in absent if name not in made}
    hidden = [state.name for state in states if state.error is errors.TopicAuthorizationFailedError]
    missing |= {name: _hiding([name]) for name in hidden}
    states = await _with_configs(ask, states)
    created = () if settings.dry_run else tuple(made)
    return Inspection(
        topics=states,
        reasons=() if settings.provision == "off" else tuple(_reasons(settings, states, missing, created, failures)),
        missing=missing,
        created=created,
        plans=(f"{_named(made)} would be created",) if made and settings.dry_run else (),
        auto_create=await _auto_create(ask, node),
    )


async def _describe(ask: Ask, topics: Iterable[Topic]) -> tuple[tuple[TopicState, ...], int | None]:
    """The topics, and the node that can make some."""
    sensitive = {topic.name: topic.sensitive for topic in topics}
    if not sensitive:
        return (), None
    answer = (await ask(MetadataRequest(list(sensitive), allow_auto_topic_creation=False))).to_object()
    controller = answer.get("controller_id", -1)
    states = tuple(_state(topic, sensitive=sensitive.get(topic["topic"], False)) for topic in answer["topics"])
    return states, controller if controller >= 0 else None


def _state(topic: dict[str, Any], *, sensitive: bool) -> TopicState:
    error = errors.for_code(topic["error_code"])
    partitions = topic["partitions"]
    return TopicState(
        name=topic["topic"],
        sensitive=sensitive,
        error=None if error is errors.NoError else error,
        partitions=len(partitions),
        leaderless=sum(partition["leader"] < 0 for partition in partitions),
        replication=min((len(partition["replicas"]) for partition in partitions), default=0),
        in_sync=min((len(partition["isr"]) for partition in partitions), default=0),
    )


async def _with_configs(ask: Ask, states: Sequence[TopicState]) -> tuple[TopicState, ...]:
    present = [state.name for state in states if state.error is None]
    if not present:
        return tuple(states)
    try:
        answer = await ask(DescribeConfigsRequest([(_TOPIC, name, list(_CONFIGS)) for name in present]))
    except (errors.KafkaError, OSError, TimeoutError):
        return tuple(states)  # the topics are there all the same
    configs = {}
    for code, _message, _kind, name, entries in answer.resources:
        if code == 0:
            configs[name] = _config({entry[0]: entry[1] for entry in entries})
    return tuple(msgspec.structs.replace(state, config=configs.get(state.name)) for state in states)


def _config(values: dict[str, str]) -> TopicConfig:
    retention_ms = int(values.get("retention.ms") or -1)
    return TopicConfig(
        min_insync=int(values.get("min.insync.replicas") or 1),
        max_message_bytes=int(values.get("max.message.bytes") or _DEFAULT_MAX_MESSAGE_BYTES),
        retention_s=float("inf") if retention_ms < 0 else retention_ms / 1000,
        cleanup_policy=values.get("cleanup.policy") or "delete",
        unclean_election=values.get("unclean.leader.election.enable") == "true",
    )


async def _auto_create(ask: Ask, node: int | None) -> bool | None:
    if node is None:
        return None
    try:
        answer = await ask(DescribeConfigsRequest([(_BROKER, str(node), ["auto.create.topics.enable"])]), node=node)
    except (errors.KafkaError, OSError, TimeoutError):
        return None  # one broker of several may be down
    for code, _message, _kind, _name, entries in answer.resources:
        if code == 0 and entries:
            return bool(entries[0][1] == "true")
    return None


async def _create(ask: Ask, settings: KafkaSettings, topics: Sequence[Topic], controller: int | None) -> dict[str, str]:
    """Make them. Gives back those that could not be made, and why."""
    replication = _DEFAULT if settings.replication is None else settings.replication
    partitions = _DEFAULT if settings.partitions is None else settings.partitions
    requests: list[tuple[Any, ...]] = [
        (topic.name, partitions, replication, [], new_config(settings, topic)) for topic in topics
    ]
    # The broker's own judgement in a dry run too: of names, replication, policies and permissions.
    request = CreateTopicsRequest(requests, _CREATE_TIMEOUT_MS, validate_only=settings.dry_run)
    answer = await ask(request, node=controller, timeout_s=5.0)
    failures = {}
    for name, code, *_message in answer.topic_errors:
        error = errors.for_code(code)
        if error not in (errors.NoError, errors.TopicAlreadyExistsError):  # another replica of ours was faster
            failures[name] = f"the topic {name!r} cannot be created: {_why_not(settings, error)}"
    return failures


def new_config(settings: KafkaSettings, topic: Topic) -> list[tuple[str, str]]:
    """What a topic is made with."""
    config = {"cleanup.policy": "delete", "retention.ms": str(settings.retention_s * 1000)}
    if topic.sensitive:
        # Only whole segments are deleted, so these must be young too.
        config["retention.ms"] = config["segment.ms"] = str(_SENSITIVE_RETENTION_S * 1000)
    if settings.replication is not None and settings.replication >= _SAFE_REPLICATION:
        config |= {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
    if settings.max_record_bytes > _DEFAULT_MAX_MESSAGE_BYTES:
        config["max.message.bytes"] = str(settings.max_record_bytes)
    return list(config.items())


def _asked_replication(settings: KafkaSettings) -> str:
    if settings.replication is None:
        return "the brokers' default.replication.factor"
    return f"BRIDGE_KAFKA_REPLICATION={settings.replication}"


def _why_not(settings: KafkaSettings, error: type[Exception]) -> str:
    remedies: dict[type[Exception], str] = {
        errors.InvalidReplicationFactorError: f"{_asked_replication(settings)} is more than there are brokers",
        errors.TopicAuthorizationFailedError: "our user may not: allow Create, or make it yourself and set "
        "BRIDGE_PROVISION=check",
        errors.ClusterAuthorizationFailedError: "our user may not: allow Create, or make it yourself and set "
        "BRIDGE_PROVISION=check",
        errors.PolicyViolationError: "the cluster's policy forbids it: see BRIDGE_KAFKA_PARTITIONS, _REPLICATION and "
        "_RETENTION_S, or make it yourself",
    }
    return remedies.get(error, f"the broker says {error.__name__.removesuffix('Error')}")


def _reasons(
    settings: KafkaSettings,
    states: Sequence[TopicState],
    missing: dict[str, str],
    created: Sequence[str],
    failures: dict[str, str],
) -> Iterable[str]:
    expected = {topic.name for topic in settings.topics}
    hidden = [state.name for state in states if state.error is errors.TopicAuthorizationFailedError]
    absent = [name for name in missing if name in expected and name not in failures and name not in hidden]
    if absent:
        yield _absence(settings, absent)
    yield from (failure for name, failure in failures.items() if name in expected)
    if created:
        yield f"{_named(created)} just created and not yet seen"
    if hidden:
        yield _hiding(hidden)
    invalid = [state.name for state in states if state.error is errors.InvalidTopicError]
    if invalid:
        yield f"Kafka can have no topics of the names {_named(invalid)}"
    leaderless = [state.name for state in states if state.leaderless]
    if leaderless:
        yield f"{_named(leaderless)} without a leader for some partitions: too few brokers are up"
    behind = [state.name for state in states if state.behind]
    if behind:
        yield f"{_named(behind)} with fewer replicas in sync than min.insync.replicas: too few brokers are up"


def _absence(settings: KafkaSettings, names: Sequence[str]) -> str:
    remedy = "create them" if settings.provision == "create" else "create them, or set BRIDGE_PROVISION=create"
    return f"{_named(names)} missing: {remedy}"


def _hiding(names: Sequence[str]) -> str:
    return f"our user may not see {_named(names)}: allow Describe and Write on them"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMED])
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"topics ({shown}{more})"
