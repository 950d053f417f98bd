"""The JetStream stream: looked at, made, added to; and what of its settings weakens our promises.

Speaks the JSON API directly: nats-py's config class drops fields it does not know, so an update through it would reset
what a newer server or an operator has set.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from bridge.publishers.jetstream.link import Link, NoResponders
from bridge.publishers.nats.settings import NatsSettings

__all__ = ["StreamState", "probe_stream"]

_NS = 1_000_000_000
_NOT_FOUND = 10059  # JSStreamNotFoundErr
_MIN_SERVER = (2, 11)  # message TTLs; the fix of a retry taken for a duplicate of what was never stored (6415, 6486)
_REPLICAS_THAT_SURVIVE = 3


class StreamState(NamedTuple):
    """What a probe found.

    Attributes:
        problem: why no record can be taken, with its remedy; None if they can.
        missing: no stream takes our subjects.
        warnings: what weakens durability or deduplication.
        message_ttl: records may carry a time to live.
        details: for readiness.
    """

    problem: str | None = None
    missing: bool = False
    warnings: tuple[str, ...] = ()
    message_ttl: bool = False
    details: Mapping[str, str | int | bool] = MappingProxyType({})


async def probe_stream(link: Link, settings: NatsSettings) -> StreamState:
    """Look at the stream, and provision it where asked to.

    Raises:
        LinkLost, NotPermitted: as of `Link.request`.
    """
    if settings.provision == "off":
        return StreamState(details={"server_version": link.server_version})
    try:
        answer = await _api(link, f"STREAM.INFO.{settings.stream}", None)
        if settings.provision == "create":
            answer = await _provision(link, settings, answer)
    except NoResponders:
        return StreamState(problem="JetStream is off on this server or account; switch it on", missing=True)
    if error := answer.get("error"):
        return _failed(settings, error)
    return _judge(link, settings, answer)


async def _provision(link: Link, settings: NatsSettings, answer: dict[str, Any]) -> dict[str, Any]:
    error = answer.get("error")
    if error and error.get("err_code") == _NOT_FOUND:
        config = {
            "name": settings.stream,
            "subjects": list(settings.subjects),
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": settings.retention_s * _NS,
            "duplicate_window": min(settings.dedup_window_s, settings.retention_s) * _NS,
            "num_replicas": settings.replicas,
            "allow_msg_ttl": True,
            "allow_direct": True,
        }
        return await _api(link, f"STREAM.CREATE.{settings.stream}", config)
    if error:
        return answer
    config = answer["config"]
    lacking = _uncovered(settings.subjects, config.get("subjects", []))
    if not lacking:
        return answer
    return await _api(link, f"STREAM.UPDATE.{settings.stream}", config | {"subjects": [*config["subjects"], *lacking]})


async def _api(link: Link, call: str, content: dict[str, Any] | None) -> dict[str, Any]:
    payload = b"" if content is None else msgspec.json.encode(content)
    return msgspec.json.decode(await link.request(f"$JS.API.{call}", payload), type=dict[str, Any])


def _failed(settings: NatsSettings, error: dict[str, Any]) -> StreamState:
    if error.get("err_code") == _NOT_FOUND:
        remedy = "create it, or set BRIDGE_PROVISION=create"
        return StreamState(problem=f"stream {settings.stream!r} does not exist; {remedy}", missing=True)
    return StreamState(problem=f"stream {settings.stream!r}: {error.get('description', 'unknown error')}")


def _judge(link: Link, settings: NatsSettings, answer: dict[str, Any]) -> StreamState:
    config = answer["config"]
    details: dict[str, str | int | bool] = {
        "server_version": link.server_version,
        "stream": settings.stream,
        "replicas": config.get("num_replicas", 1),
        "storage": config.get("storage", "file"),
        "duplicate_window_s": config.get("duplicate_window", 0) // _NS,
        "max_age_s": config.get("max_age", 0) // _NS,
        # cannot be read from outside; the default of `sync_interval` is two minutes
        "fsync": "every message" if settings.always_synced else "unknown; set sync_interval: always",
        "messages": answer.get("state", {}).get("messages", 0),
    }
    lacking = _uncovered(settings.subjects, config.get("subjects", []))
    problem = None
    if lacking:
        problem = (
            f"stream {settings.stream!r} does not take {', '.join(lacking)}; add the subjects, "
            "or set BRIDGE_PROVISION=create"
        )
    elif config.get("sealed") or config.get("no_ack"):
        problem = f"stream {settings.stream!r} is sealed or does not acknowledge; use another stream"
    return StreamState(
        problem=problem,
        missing=bool(lacking),
        warnings=tuple(_weaknesses(link, settings, config)),
        message_ttl=bool(config.get("allow_msg_ttl")),
        details=details,
    )


def _weaknesses(link: Link, settings: NatsSettings, config: dict[str, Any]) -> list[str]:
    found = []
    replicas = config.get("num_replicas", 1)
    if config.get("storage") == "memory":
        found.append("the stream is in memory: a restart of the server loses it; use file storage")
    if replicas < _REPLICAS_THAT_SURVIVE and not settings.always_synced:
        copies = "one copy" if replicas == 1 else f"{replicas} copies"
        found.append(f"the stream has {copies}: losing a server can lose acknowledged events; use 3 replicas")
    if config.get("discard", "old") == "old" and any(config.get(key, -1) > 0 for key in ("max_msgs", "max_bytes")):
        found.append("a full stream silently drops its oldest events (discard=old); set discard=new")
    if config.get("max_msgs_per_subject", -1) > 0:
        found.append("the stream keeps a limited number of events per subject (max_msgs_per_subject)")
    if config.get("duplicate_window", 0) < settings.dedup_window_s * _NS:
        seconds = config.get("duplicate_window", 0) // _NS
        found.append(
            f"the stream's duplicate window is {seconds} s, below BRIDGE_DEDUP_WINDOW_S={settings.dedup_window_s}: "
            "late retries become duplicates"
        )
    if not config.get("max_age"):
        found.append("the stream keeps events for ever (no max_age): a full disk will be an outage")
    if not config.get("allow_msg_ttl"):
        found.append("the stream does not let credentials expire; set allow_msg_ttl")
    if _version(link.server_version) < _MIN_SERVER:
        found.append(f"nats-server {link.server_version} is older than 2.11, whose deduplication has known faults")
    if link.max_payload < settings.max_record_bytes:
        found.append(
            f"the server's max_payload is {link.max_payload} bytes, the largest event can have "
            f"{settings.max_record_bytes}; raise it or lower BRIDGE_SOURCE_<NAME>_MAX_BODY_BYTES"
        )
    return found


def _uncovered(wanted: tuple[str, ...], subjects: list[str]) -> list[str]:
    return [subject for subject in wanted if not any(_covers(pattern, subject) for pattern in subjects)]


def _covers(pattern: str, subject: str) -> bool:
    """Whether every subject that matches `subject` matches `pattern`, both with NATS wildcards."""
    have, want = pattern.split("."), subject.split(".")
    for index, part in enumerate(have):
        if part == ">":
            return len(want) > index
        if index >= len(want) or want[index] == ">":
            return False
        if part not in ("*", want[index]):
            return False
    return len(have) == len(want)


def _version(text: str) -> tuple[int, ...]:
    parts = text.split("-", maxsplit=1)[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())
