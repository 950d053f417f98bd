"""What in the stream's and the server's settings weakens the promise that an acknowledged event is durable. Pure."""

from collections.abc import Iterator

from bridge.publishers.nats.settings import NatsSettings
from bridge.publishers.nats.stream import StreamConfig
from bridge.publishers.status import Weakness

__all__ = ["unsafe_sync", "weaknesses"]

_NS = 1_000_000_000
_FIRST_GOOD_VERSION = (2, 11)  # message TTL; the last fix of a duplicate acknowledged but not stored (#6486)
_ENOUGH_REPLICAS = 3


unsafe_sync = Weakness(
    "whether the servers write to disk before they acknowledge cannot be read from here: "
    "set `sync_interval: always` in their jetstream section",
    durability=False,  # not known to be so
)


def weaknesses(
    settings: NatsSettings, stream: StreamConfig | None, *, server_version: str, max_payload: int
) -> tuple[Weakness, ...]:
    """All findings.

    Args:
        settings: what we need.
        stream: what was found; None: it was not looked at.
        server_version: as the server says.
        max_payload: the server's limit, bytes.
    """
    found = list(_of_server(settings, server_version))
    found += _of_size(settings, stream, max_payload)
    if stream is not None:
        found += _of_storage(stream)
        found += _of_discard(stream)
        found += _of_time(settings, stream)
    return tuple(found)


def _of_server(settings: NatsSettings, server_version: str) -> Iterator[Weakness]:
    if _version(server_version) < _FIRST_GOOD_VERSION:
        yield Weakness(f"nats-server {server_version} may call a record stored that is not: use 2.11 or later")
    if not settings.always_synced:
        yield unsafe_sync


def _of_size(settings: NatsSettings, stream: StreamConfig | None, max_payload: int) -> Iterator[Weakness]:
    limits = {"the broker": (max_payload, "max_payload")}
    if stream is not None and stream.max_msg_size > 0:
        limits["the stream"] = (stream.max_msg_size, "max_msg_size")
    for who, (limit, name) in limits.items():
        if limit < settings.max_record_bytes:
            yield Weakness(
                f"{who} takes {limit} bytes a message, the largest record needs {settings.max_record_bytes}: "
                f"raise {name}, or lower BRIDGE_SOURCE_<NAME>_MAX_BODY_BYTES",
                durability=False,
            )


def _of_storage(stream: StreamConfig) -> Iterator[Weakness]:
    if stream.storage != "file":
        yield Weakness("the stream is kept in memory: a restart of its servers loses it; use file storage")
    if stream.num_replicas == 1:
        yield Weakness("the stream has one copy, lost with its server's disk: use 3 replicas")
    elif stream.num_replicas < _ENOUGH_REPLICAS:
        yield Weakness("the stream has 2 replicas and stops when one is down: use 3", durability=False)


def _of_discard(stream: StreamConfig) -> Iterator[Weakness]:
    if stream.discard != "new" and (stream.max_msgs > 0 or stream.max_bytes > 0):
        yield Weakness("the stream drops its oldest events when it is full (discard=old): set discard=new")
    if stream.max_msgs_per_subject > 0 and not stream.discard_new_per_subject:
        yield Weakness("the stream drops the oldest events of a subject: set max_msgs_per_subject to -1")
    if stream.retention == "interest":
        yield Weakness("the stream keeps no event that no consumer waits for (retention=interest): use limits")


def _of_time(settings: NatsSettings, stream: StreamConfig) -> Iterator[Weakness]:
    window_s, age_s = stream.duplicate_window // _NS, stream.max_age // _NS
    if window_s < settings.dedup_window_s:
        yield Weakness(
            f"the stream's duplicate window is {window_s} s, a provider's late retry is then stored twice: "
            f"set duplicate_window to {settings.dedup_window_s} s (BRIDGE_DEDUP_WINDOW_S)"
        )
    if not age_s:
        yield Weakness("the stream keeps events for ever, until its disk is full: set max_age", durability=False)
    elif age_s < settings.dedup_window_s:
        yield Weakness(f"the stream keeps events for {age_s} s only: set max_age to days")
    if not stream.allow_msg_ttl:
        yield Weakness(
            "the stream has no message TTL, so pairing codes stay as long as all else: set allow_msg_ttl",
            durability=False,
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.partition("-")[0].split(".") if part.isdigit())
