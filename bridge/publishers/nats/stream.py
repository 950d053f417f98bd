"""The JetStream stream: looked at, made, added to.

Through the raw API: an update through the library's types would drop the settings that those do not know.

Not here: what is weak about the stream's settings (`weakness`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from bridge.publishers.nats.answers import ApiError
from bridge.publishers.nats.faults import Denied, NoResponders
from bridge.publishers.nats.settings import NatsSettings

__all__ = ["Inspection", "StreamConfig", "covers", "inspect"]

_NS = 1_000_000_000
_TIMEOUT_S = 2.0
_NOT_FOUND = 10059
_NAME_IN_USE = 10058  # another replica of ours was faster
_OVERLAP = 10065

Ask = Callable[[str, bytes], Awaitable[bytes]]


class StreamConfig(msgspec.Struct, frozen=True):
    """What we look at of a stream's configuration; -1 and 0 mean unlimited."""

    name: str = ""
    subjects: tuple[str, ...] = ()
    retention: str = "limits"
    discard: str = "old"
    discard_new_per_subject: bool = False
    max_msgs: int = -1
    max_bytes: int = -1
    max_msgs_per_subject: int = -1
    max_age: int = 0  # ns
    max_msg_size: int = -1
    duplicate_window: int = 0  # ns
    storage: str = "file"
    num_replicas: int = 1
    no_ack: bool = False
    sealed: bool = False
    allow_msg_ttl: bool = False


class Inspection(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        config: None if there is no stream, or none to be seen.
        reasons: why records cannot be taken, with remedies.
        missing: known not to be there: whoever publishes need not wait for it.
        created, added: what `create` did.
        plans: what it would do, in a dry run; `config` is then as it would be.
        doubts: what may go wrong with publishing and cannot be seen for sure.
    """

    config: StreamConfig | None = None
    reasons: tuple[str, ...] = ()
    missing: bool = False
    created: bool = False
    added: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class _Cluster(msgspec.Struct, frozen=True):
    leader: str = ""


class _State(msgspec.Struct, frozen=True):
    messages: int = 0
    bytes: int = 0


class _Answer(msgspec.Struct, frozen=True):
    config: dict[str, Any] | None = None
    state: _State = _State()
    cluster: _Cluster | None = None
    error: ApiError | None = None


async def inspect(ask: Ask, settings: NatsSettings) -> Inspection:
    """Look at the stream; with `provision="create"` make it fit as far as adding goes.

    Raises:
        LinkLost: the link ended meanwhile.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await _Inspector(ask, settings).inspect()
    except NoResponders:
        return _not_ready("JetStream is not enabled on the broker, or not for our account: enable it")
    except Denied:
        return _not_ready(
            "our user may not ask for the stream's state: allow it to publish to $JS.API.STREAM.*."
            f"{settings.stream}, or set BRIDGE_PROVISION=off"
        )
    except TimeoutError:
        return _not_ready("JetStream does not answer: too few of its servers are up, or they are overloaded")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _not_ready("JetStream answers something unknown: check the broker's version")


def covers(pattern: str, subject: str) -> bool:
    """Whether all that `subject` stands for, wildcards included, matches `pattern`."""
    have, want = pattern.split("."), subject.split(".")
    for index, token in enumerate(have):
        if token == ">":  # noqa: S105 -- a subject's token
            return len(want) > index
        if index >= len(want) or want[index] == ">":
            return False
        if token not in ("*", want[index]):
            return False
    return len(have) == len(want)


def _uncovered(patterns: Iterable[str], subjects: Iterable[str]) -> tuple[str, ...]:
    patterns = tuple(patterns)
    return tuple(subject for subject in subjects if not any(covers(pattern, subject) for pattern in patterns))


class _Inspector:
    def __init__(self, ask: Ask, settings: NatsSettings) -> None:
        self._ask = ask
        self._settings = settings
        self._name = settings.stream

    async def inspect(self) -> Inspection:
        answer = await self._call("INFO")
        if answer.error is not None and answer.error.err_code == _NOT_FOUND:
            return await self._absent()
        if answer.error is not None or answer.config is None:
            return _not_ready(f"the stream {self._name!r} cannot be looked at: {_said(answer.error)}")
        config = answer.config
        missing = _uncovered(config.get("subjects") or (), self._settings.subjects)
        return await self._incomplete(answer, missing) if missing else self._found(answer)

    async def _absent(self) -> Inspection:
        settings, config = self._settings, self._new_config()
        if settings.provision != "create":
            remedy = "create it, or set BRIDGE_PROVISION=create"
            return _not_ready(f"the stream {self._name!r} does not exist: {remedy}", missing=True)
        if settings.dry_run:
            plan = f"create the stream {self._name!r} for {', '.join(settings.subjects)} (copies: {settings.replicas})"
            return Inspection(config=_typed(config), plans=(plan,))
        return await self._create(config)

    async def _incomplete(self, answer: _Answer, missing: tuple[str, ...]) -> Inspection:
        config = answer.config or {}
        if self._settings.provision != "create":
            remedy = "add them to it, or set BRIDGE_PROVISION=create"
            found = f"the stream {self._name!r} does not take {', '.join(missing)}: {remedy}"
            return _not_ready(found, config=_typed(config))
        if self._settings.dry_run:
            plan = f"add {', '.join(missing)} to the stream {self._name!r}"
            return msgspec.structs.replace(self._found(answer), plans=(plan,))
        return await self._add(config, missing)

    async def _create(self, config: dict[str, Any]) -> Inspection:
        answer = await self._call("CREATE", config)
        if answer.error is not None and answer.error.err_code == _NAME_IN_USE:
            answer = await self._call("INFO")
        if answer.error is not None or answer.config is None:
            reason = f"the stream {self._name!r} cannot be created: {_said(answer.error)}{self._remedy(answer.error)}"
            return _not_ready(reason, missing=True)
        return msgspec.structs.replace(self._found(answer), created=True)

    def _new_config(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "name": self._name,
            "subjects": settings.subjects,
            "storage": "file",
            "retention": "limits",
            "discard": "new",  # a full stream says so; `old` would acknowledge and drop the oldest
            "max_age": settings.retention_s * _NS,
            "duplicate_window": min(settings.dedup_window_s, settings.retention_s) * _NS,
            "num_replicas": settings.replicas,
            "allow_msg_ttl": True,
            "allow_direct": True,
        }

    async def _add(self, config: dict[str, Any], missing: tuple[str, ...]) -> Inspection:
        """Add subjects and change nothing else. Those that a new one covers go: a stream's must not overlap."""
        kept = _uncovered(missing, config.get("subjects") or ())
        answer = await self._call("UPDATE", {**config, "subjects": [*kept, *missing]})
        if answer.error is not None or answer.config is None:
            remedy = self._remedy(answer.error)
            reason = f"{', '.join(missing)} cannot be added to the stream {self._name!r}: {_said(answer.error)}{remedy}"
            return _not_ready(reason, config=_typed(config))
        return msgspec.structs.replace(self._found(answer), added=missing)

    def _found(self, answer: _Answer) -> Inspection:
        config = _typed(answer.config or {})
        reasons = []
        if config.sealed:
            reasons.append(f"the stream {self._name!r} is sealed and takes nothing more: use another stream")
        if config.no_ack:
            reasons.append(f"the stream {self._name!r} acknowledges nothing (no_ack): set it to false")
        if answer.cluster is not None and not answer.cluster.leader:
            reasons.append(f"the stream {self._name!r} has no leader: too few of its servers are up")
        if _is_full(config, answer.state):
            reasons.append(f"the stream {self._name!r} is full: raise max_msgs or max_bytes, or lower max_age")
        return Inspection(config=config, reasons=tuple(reasons))

    def _remedy(self, error: ApiError | None) -> str:
        if error is not None and error.err_code == _OVERLAP:
            return ": set BRIDGE_NATS_STREAM to the stream that has them, or BRIDGE_DEAD_LETTER_TOPIC to a free subject"
        return "" if self._settings.replicas == 1 else ": see BRIDGE_NATS_REPLICAS"

    async def _call(self, what: str, content: dict[str, Any] | None = None) -> _Answer:
        payload = b"" if content is None else msgspec.json.encode(content)
        return msgspec.json.decode(await self._ask(f"$JS.API.STREAM.{what}.{self._name}", payload), type=_Answer)


def _is_full(config: StreamConfig, state: _State) -> bool:
    if config.discard != "new":
        return False
    return 0 < config.max_msgs <= state.messages or 0 < config.max_bytes <= state.bytes


def _typed(config: dict[str, Any]) -> StreamConfig:
    return msgspec.convert(config, StreamConfig, strict=False)


def _said(error: ApiError | None) -> str:
    return "no reason given" if error is None else f"{error.description} ({error.err_code})"


def _not_ready(reason: str, *, missing: bool = False, config: StreamConfig | None = None) -> Inspection:
    return Inspection(reasons=(reason,), missing=missing, config=config)
