"""One delivery at the entrance: what it is on its way, and the ways it can be answered.

Not here: how it comes in and is taken apart (`http`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import MappingProxyType

import msgspec
from litestar.types import HTTPScope, Send

from bridge.errors import SpoolError
from bridge.ingest import outcomes
from bridge.ingest.admission import RateLimit, Room
from bridge.ingest.answers import answer
from bridge.ingest.dead_letters import Keeper
from bridge.ingest.deadline import Deadline
from bridge.ingest.letters import Kept
from bridge.ingest.outcomes import Outcome
from bridge.ingest.pipeline import Prepared
from bridge.providers.request import Handshake
from bridge.providers.signatures import Verifier
from bridge.telemetry.facts import SourceFacts

__all__ = ["Arrival", "Entrance", "Rejected", "accept", "answer_late", "client_of", "deny", "reject", "spool", "tell"]


class Rejected(Exception):
    """Ends a delivery with an outcome that is not success.

    Attributes:
        outcome: which.
        detail: for the log.
        told: for the sender, where it gets to know less.
        retry_after_s: where it is not the outcome's.
    """

    def __init__(
        self, outcome: Outcome, detail: str, told: str | None = None, *, retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.told = detail if told is None else told
        self.retry_after_s = outcome.retry_after_s if retry_after_s is None else retry_after_s


class Entrance(msgspec.Struct, frozen=True):
    """One source, compiled.

    Attributes:
        name: the source's name.
        verifier: None only where VERIFY=none was said aloud.
        keeper: bytes to records, and these to the broker.
        facts: gets one outcome per delivery.
        success_status: what the provider counts as success.
        deadline_s: from the end of the headers to the answer.
        max_body_bytes: the largest body taken.
        handshakes: by method, what answers requests that carry no event.
        rate: None: as many as come.
        looks_at_body: made from the others.
        spool_s: the part of `deadline_s` that is kept for the spool; 0: there is none.
    """

    name: str
    verifier: Verifier | None
    keeper: Keeper
    facts: SourceFacts
    success_status: int
    deadline_s: float
    max_body_bytes: int
    handshakes: Mapping[str, Handshake] = MappingProxyType({})
    rate: RateLimit | None = None

    spool_s: float = 0.0
    looks_at_body: bool = False

    def __post_init__(self) -> None:
        """Note whether something comes between the body and the pipeline."""
        looks = (self.verifier is not None and self.verifier.needs_body) or "POST" in self.handshakes
        msgspec.structs.force_setattr(self, "looks_at_body", looks)


class Arrival:
    """One delivery on its way.

    Attributes:
        entrance, scope, send: where it came in, and who gets the answer.
        room, place: what its source may have at once, and where in it this one counts.
        began: at the end of the headers, by `perf_counter`.
        verify_s: what proving its sender took.
        received, handed_over: when its body was there and proven, and when its records were, by the same clock.
        body_bytes: its size.
        prepared: its events, once there are any.
    """

    __slots__ = (
        "began",
        "body_bytes",
        "entrance",
        "handed_over",
        "place",
        "prepared",
        "received",
        "room",
        "scope",
        "send",
        "verify_s",
    )

    def __init__(self, entrance: Entrance, room: Room, scope: HTTPScope, send: Send, began: float) -> None:
        self.entrance = entrance
        self.room, self.place = room, room.under_way
        self.scope = scope
        self.send = send
        self.began = self.received = self.handed_over = began
        self.verify_s = 0.0
        self.body_bytes = 0
        self.prepared: Sequence[Prepared | Kept] = ()


async def answer_late(arrival: Arrival, deadline: Deadline) -> None:
    """Answer at the deadline, while publishes of the delivery go on."""
    try:
        await spool(arrival, deadline)
    except Rejected as rejected:
        await reject(arrival, rejected)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is ours
        arrival.entrance.facts.failed(error)
        await reject(arrival, Rejected(outcomes.INTERNAL_ERROR, "a fault of the bridge"))
    else:
        await accept(arrival)


async def spool(arrival: Arrival, deadline: Deadline) -> None:
    """Return when what the broker has not acknowledged is in the spool.

    Raises:
        Rejected: it is not, or there is none.
    """
    entrance = arrival.entrance
    if not entrance.spool_s:
        detail = f"the broker did not acknowledge within {entrance.deadline_s:g} s"
        raise Rejected(outcomes.DEADLINE_EXCEEDED, detail)
    try:
        async with asyncio.timeout(entrance.spool_s):
            await entrance.keeper.spool_missing(arrival.prepared, deadline)
    except TimeoutError:
        detail = f"neither the broker nor the spool has the event within {entrance.deadline_s:g} s"
        raise Rejected(outcomes.DEADLINE_EXCEEDED, detail) from None
    except SpoolError as error:
        raise Rejected(outcomes.SPOOL_UNAVAILABLE, str(error)) from error


async def accept(arrival: Arrival) -> None:
    """Answer with success: all of it is durable."""
    began, now = arrival.began, perf_counter()
    arrival.entrance.facts.delivered(
        body_bytes=arrival.body_bytes,
        verify_s=arrival.verify_s,
        decode_s=arrival.handed_over - arrival.received,
        ack_s=now - arrival.handed_over,
        took_s=now - began,
        dead_lettered=_has_letter(arrival.prepared),
    )
    ids = [item.id for item in arrival.prepared if item.id]
    await answer(arrival.send, arrival.entrance.success_status, {"ids": ids})


def _has_letter(prepared: Sequence[Prepared | Kept]) -> bool:
    for item in prepared:  # noqa: SIM110 -- half the time of a generator, and each delivery comes by
        if isinstance(item, Kept) and item.dead:
            return True
    return False


async def reject(arrival: Arrival, rejected: Rejected) -> None:
    """Answer with what it was rejected for, and count it."""
    facts, took_s = arrival.entrance.facts, perf_counter() - arrival.began
    tell(arrival.scope, facts, rejected.outcome, rejected.detail, took_s=took_s)
    await deny(arrival.send, rejected)


async def deny(send: Send, rejected: Rejected) -> None:
    """Answer with an outcome that is not success."""
    outcome = rejected.outcome
    if outcome.status:
        content = {"error": outcome.code, "detail": rejected.told}
        await answer(send, outcome.status, content, retry_after_s=rejected.retry_after_s, close=outcome.close)


def tell(scope: HTTPScope, facts: SourceFacts, outcome: Outcome, detail: str, *, took_s: float | None = None) -> None:
    """Count it, and log it."""
    facts.rejected(outcome.code, outcome.status, detail=detail, client=client_of(scope), took_s=took_s)


def client_of(scope: HTTPScope) -> str | None:
    """The peer's address."""
    client = scope.get("client")
    return client[0] if client else None
