"""The entrance: `POST /webhooks/<source>[/<token>]`, a raw ASGI handler that litestar mounts.

It checks size, encoding and proof, reads the body, lets the pipeline make records, waits for the broker and says
truthfully what became of it. One deadline covers reading and publishing. Every delivery ends in exactly one outcome.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter
from types import MappingProxyType

import msgspec
from litestar.types import HTTPScope, Receive, Send

from bridge.errors import (
    BrokerUnavailable,
    DeviceNotAllowed,
    PublishError,
    RecordTooLarge,
    UndecodableBody,
    VerificationFailed,
)
from bridge.ingest import outcomes
from bridge.ingest.answers import answer, answer_handshake, answer_method_not_allowed
from bridge.ingest.dead_letters import Keeper
from bridge.ingest.deadline import Deadline
from bridge.ingest.letters import Kept
from bridge.ingest.outcomes import Outcome
from bridge.ingest.pipeline import Prepared
from bridge.ingest.traceparent import valid_traceparent
from bridge.providers.base import Delivery
from bridge.providers.request import Handshake, Reply, Request
from bridge.providers.signatures import Verifier
from bridge.telemetry.facts import Facts, SourceFacts

__all__ = ["Entrance", "Ingest", "Rejected"]

_UNPROVEN = "the proof of the sender is missing or wrong; `webhook-bridge explain --request` tells which"


class Rejected(Exception):
    """Ends a delivery with an outcome that is not success.

    Attributes:
        outcome: which.
        detail: for the log.
        told: for the sender, where it gets to know less.
    """

    def __init__(self, outcome: Outcome, detail: str, told: str | None = None) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.told = detail if told is None else told


class _Greeted(Exception):
    """Ends a delivery that was no event but a provider's question."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


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
        looks_at_body: made from the others.
    """

    name: str
    verifier: Verifier | None
    keeper: Keeper
    facts: SourceFacts
    success_status: int
    deadline_s: float
    max_body_bytes: int
    handshakes: Mapping[str, Handshake] = MappingProxyType({})

    looks_at_body: bool = False

    def __post_init__(self) -> None:
        """Note whether something comes between the body and the pipeline."""
        looks = (self.verifier is not None and self.verifier.needs_body) or "POST" in self.handshakes
        msgspec.structs.force_setattr(self, "looks_at_body", looks)


class Ingest:
    """The ASGI application below /webhooks."""

    def __init__(
        self,
        entrances: Mapping[str, Entrance],
        facts: Facts,
        *,
        max_in_flight: int,
    ) -> None:
        """Wire.

        Args:
            entrances: by source name.
            facts: gets the outcome of what belongs to no source.
            max_in_flight: deliveries under way at once; one more is answered 503.
        """
        self._entrances = {name.encode(): entrance for name, entrance in entrances.items()}
        self.facts = facts
        self._max_in_flight = max_in_flight
        self.in_flight = 0

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        began = perf_counter()
        # The raw path, for litestar has normalised and unquoted the other one.
        segments = [segment for segment in scope["raw_path"].split(b"/") if segment][1:]
        entrance = self._entrances.get(segments[0]) if segments else None
        if entrance is None or len(segments) > 2:  # noqa: PLR2004 -- source and token
            detail = "no webhook source has this path"
            self.facts.rejected(
                "", outcomes.NOT_FOUND.code, outcomes.NOT_FOUND.status, detail=detail, client=_client(scope)
            )
            await _answer(send, outcomes.NOT_FOUND, detail)
            return
        if scope["method"] != "POST":
            greeting = entrance.handshakes.get(scope["method"])
            reply = None if greeting is None else greeting(_request(scope))
            if reply is not None:
                await _greet(entrance, scope, send, reply)
                return
            _tell(scope, entrance.facts, outcomes.METHOD_NOT_ALLOWED, str(scope["method"]))
            await answer_method_not_allowed(scope, send, entrance.name)
            return
        if self.in_flight >= self._max_in_flight:
            detail = f"{self._max_in_flight} deliveries are under way"
            _tell(scope, entrance.facts, outcomes.OVERLOADED, detail)
            await _answer(send, outcomes.OVERLOADED, detail)
            return
        self.in_flight += 1
        try:
            await self._answered(entrance, scope, receive, send, began=began)
        finally:
            self.in_flight -= 1

    async def _answered(
        self,
        entrance: Entrance,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        *,
        began: float,
    ) -> None:
        """Deliver, and return when the answer is sent, whoever sent it."""
        deadline = Deadline(entrance.deadline_s, self._answer_late, entrance, scope, send, began)
        try:
            ids = await self._deliver(entrance, scope, receive, began=began, deadline=deadline)
        except Rejected as rejected:
            if not deadline.missed:
                _tell(scope, entrance.facts, rejected.outcome, rejected.detail, took_s=perf_counter() - began)
                await _answer(send, rejected.outcome, rejected.told)
        except _Greeted as greeted:
            await _greet(entrance, scope, send, greeted.reply)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is ours: the provider shall try again
            entrance.facts.failed(error)
            if not deadline.missed:
                detail = "a fault of the bridge"
                _tell(scope, entrance.facts, outcomes.INTERNAL_ERROR, detail, took_s=perf_counter() - began)
                await _answer(send, outcomes.INTERNAL_ERROR, detail)
        else:
            if not deadline.missed:
                await answer(send, entrance.success_status, {"ids": ids})
        if deadline.late_answer is not None:  # it may have begun this moment, and the server ends what returns without
            await deadline.late_answer

    async def _deliver(
        self,
        entrance: Entrance,
        scope: HTTPScope,
        receive: Receive,
        *,
        began: float,
        deadline: Deadline,
    ) -> list[str]:
        headers = dict(scope["headers"])
        if entrance.verifier is not None and not entrance.verifier.needs_body:
            _prove(entrance.verifier, _request(scope))
        verify_s = perf_counter() - began
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding.strip().lower() not in (b"identity", b""):
            raise Rejected(outcomes.UNSUPPORTED_ENCODING, "send the body without a Content-Encoding")
        prepared: Sequence[Prepared | Kept] = []
        try:
            with deadline:
                body = await _read_body(receive, headers, entrance.max_body_bytes)
                received = perf_counter()
                if entrance.looks_at_body:
                    _look_at(entrance, _request(scope, body))
                    proven = perf_counter()
                    verify_s, received = proven - received, proven
                delivery = Delivery(body, headers, datetime.now(UTC))
                prepared = entrance.keeper.prepare(delivery, valid_traceparent(headers.get(b"traceparent")))
                handed_over = perf_counter()
                prepared = await entrance.keeper.publish(prepared, delivery, deadline)
        except TimeoutError:
            if not prepared:
                detail = f"the body did not arrive within {entrance.deadline_s:g} s"
                raise Rejected(outcomes.BODY_TIMEOUT, detail) from None
            raise Rejected(outcomes.DEADLINE_EXCEEDED, _unacknowledged(entrance)) from None
        except UndecodableBody as error:
            raise Rejected(outcomes.UNDECODABLE, str(error)) from error
        except DeviceNotAllowed as error:
            raise Rejected(outcomes.DEVICE_NOT_ALLOWED, str(error)) from error
        except PublishError as error:
            raise Rejected(_publish_outcome(error), str(error)) from error
        if deadline.missed:
            return []
        now = perf_counter()
        entrance.facts.delivered(
            body_bytes=len(body),
            verify_s=verify_s,
            decode_s=handed_over - received,
            ack_s=now - handed_over,
            took_s=now - began,
            dead_lettered=_has_letter(prepared),
        )
        return [item.id for item in prepared if item.id]

    def _answer_late(self, entrance: Entrance, scope: HTTPScope, send: Send, began: float) -> asyncio.Task[None]:
        """The deadline has come while the delivery goes on for others."""
        outcome, detail = outcomes.DEADLINE_EXCEEDED, _unacknowledged(entrance)
        _tell(scope, entrance.facts, outcome, detail, took_s=perf_counter() - began)
        return asyncio.create_task(_answer(send, outcome, detail), name="late-answer")


def _has_letter(prepared: Sequence[Prepared | Kept]) -> bool:
    for item in prepared:  # noqa: SIM110 -- half the time of a generator, and each delivery comes by
        if isinstance(item, Kept) and item.dead:
            return True
    return False


async def _answer(send: Send, outcome: Outcome, detail: str) -> None:
    if outcome.status:
        content = {"error": outcome.code, "detail": detail}
        await answer(send, outcome.status, content, retry_after_s=outcome.retry_after_s, close=outcome.close)


def _tell(scope: HTTPScope, facts: SourceFacts, outcome: Outcome, detail: str, *, took_s: float | None = None) -> None:
    facts.rejected(outcome.code, outcome.status, detail=detail, client=_client(scope), took_s=took_s)


def _client(scope: HTTPScope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


async def _read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body, at most `limit` bytes."""
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > limit:
        raise Rejected(outcomes.BODY_TOO_LARGE, f"the body has {int(length)} bytes, the limit is {limit}")
    first, more = await _read_chunk(receive)
    if not more and len(first) <= limit:
        return first  # the usual case: one chunk, not joined
    chunks, size = [first], len(first)
    while more and size <= limit:
        chunk, more = await _read_chunk(receive)
        chunks.append(chunk)
        size += len(chunk)
    if size > limit:
        raise Rejected(outcomes.BODY_TOO_LARGE, f"the body is over the limit of {limit} bytes")
    return b"".join(chunks)


async def _read_chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise Rejected(outcomes.DISCONNECTED, "the client closed the connection before its body was complete")
    return message["body"], message["more_body"]


def _request(scope: HTTPScope, body: bytes = b"") -> Request:
    return Request(str(scope["method"]), scope["raw_path"], scope["query_string"], scope["headers"], body)


def _look_at(entrance: Entrance, request: Request) -> None:
    """What wants the body before the pipeline gets it: a signature, then a question that is no event."""
    if entrance.verifier is not None and entrance.verifier.needs_body:
        _prove(entrance.verifier, request)
    greeting = entrance.handshakes.get("POST")
    if greeting is not None and (reply := greeting(request)) is not None:
        raise _Greeted(reply)


def _prove(verifier: Verifier, request: Request) -> None:
    try:
        verifier.verify(request)
    except VerificationFailed as error:
        raise Rejected(outcomes.UNAUTHORIZED, str(error), _UNPROVEN) from error


async def _greet(entrance: Entrance, scope: HTTPScope, send: Send, reply: Reply) -> None:
    entrance.facts.greeted(str(scope["method"]), reply.status, client=_client(scope))
    await answer_handshake(send, reply)


def _unacknowledged(entrance: Entrance) -> str:
    return f"the broker did not acknowledge within {entrance.deadline_s:g} s"


def _publish_outcome(error: PublishError) -> Outcome:
    if isinstance(error, RecordTooLarge):
        return outcomes.RECORD_TOO_LARGE
    if isinstance(error, BrokerUnavailable):
        return outcomes.BROKER_UNAVAILABLE
    return outcomes.RECORD_REFUSED
