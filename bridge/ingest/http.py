"""The entrance: `POST /webhooks/<source>[/<token>]`, a raw ASGI handler that litestar mounts.

It checks size, encoding and proof, reads the body, lets the pipeline make records, waits for the broker and says
truthfully what became of it. One deadline covers reading and publishing. Every delivery ends in exactly one outcome.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from time import perf_counter

from litestar.types import HTTPScope, Receive, Send

from bridge.errors import (
    BrokerUnavailable,
    DeviceNotAllowed,
    PublishError,
    RecordTooLarge,
    SpoolError,
    UndecodableBody,
    VerificationFailed,
)
from bridge.ingest import outcomes
from bridge.ingest.admission import Pool, RateLimit, Room
from bridge.ingest.answers import answer_handshake, answer_method_not_allowed
from bridge.ingest.arrival import Arrival, Entrance, Rejected, accept, answer_late, client_of, deny, reject, spool, tell
from bridge.ingest.deadline import Deadline
from bridge.ingest.outcomes import Outcome
from bridge.ingest.traceparent import valid_traceparent
from bridge.providers.base import Delivery
from bridge.providers.request import Reply, Request, is_encoded
from bridge.providers.signatures import Verifier
from bridge.telemetry.facts import Facts

__all__ = ["Ingest"]

_UNPROVEN = "the proof of the sender is missing or wrong; `webhook-bridge explain --request` tells which"


class _Greeted(Exception):
    """Ends a delivery that was no event but a provider's question."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


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
            max_in_flight: deliveries under way at once, shared by the sources; one more is answered 503. As many again
                may be late: answered, and their publish not.
        """
        under_way, late = (Pool(max_in_flight, len(entrances)) for _ in range(2))
        self.rooms = {name: Room(under_way.share(), late.share()) for name in entrances}
        self._sources = {name.encode(): (entrance, self.rooms[name]) for name, entrance in entrances.items()}
        self.facts = facts
        self._max_in_flight = max_in_flight
        self._waits_for_late = True
        self.late: set[Deadline] = set()

    @property
    def in_flight(self) -> int:
        """Deliveries under way, of all sources."""
        return sum(room.under_way.taken for room in self.rooms.values())

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        began = perf_counter()
        # The raw path, for litestar has normalised and unquoted the other one.
        segments = [segment for segment in scope["raw_path"].split(b"/") if segment][1:]
        source = self._sources.get(segments[0]) if segments else None
        if source is None or len(segments) > 2:  # noqa: PLR2004 -- source and token
            detail = "no webhook source has this path"
            self.facts.rejected(
                "", outcomes.NOT_FOUND.code, outcomes.NOT_FOUND.status, detail=detail, client=client_of(scope)
            )
            await deny(send, Rejected(outcomes.NOT_FOUND, detail))
            return
        entrance, room = source
        if scope["method"] != "POST":
            if await _answered_question(entrance, scope, send):
                return
            tell(scope, entrance.facts, outcomes.METHOD_NOT_ALLOWED, str(scope["method"]))
            await answer_method_not_allowed(scope, send, entrance.name)
            return
        if not room.under_way.take():
            detail = (
                f"{room.under_way.taken} deliveries of this source are under way, and of all {self._max_in_flight} "
                "places none is free that is not kept for another source"
            )
            tell(scope, entrance.facts, outcomes.OVERLOADED, detail)
            await deny(send, Rejected(outcomes.OVERLOADED, detail))
            return
        arrival = Arrival(entrance, room, scope, send, began)
        try:
            await self._answered(arrival, receive)
        finally:
            arrival.place.give_back()

    def end_late(self) -> None:
        """Wait no longer for late publishes, from now on: the bridge stops."""
        self._waits_for_late = False
        for deadline in list(self.late):
            deadline.end()

    async def _answered(self, arrival: Arrival, receive: Receive) -> None:
        """Deliver, and return when the answer is sent, whoever sent it."""
        entrance = arrival.entrance
        deadline = Deadline(entrance.deadline_s - entrance.spool_s, partial(self._missed, arrival))
        try:
            await self._deliver(arrival, receive, deadline)
        except Rejected as rejected:
            if not deadline.missed:
                await reject(arrival, rejected)
        except _Greeted as greeted:
            await _greet(entrance, arrival.scope, arrival.send, greeted.reply)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is ours: the provider shall try again
            entrance.facts.failed(error)
            if not deadline.missed:
                await reject(arrival, Rejected(outcomes.INTERNAL_ERROR, "a fault of the bridge"))
        else:
            if not deadline.missed:
                await accept(arrival)
        if deadline.late_answer is not None:  # it may have begun this moment, and the server ends what returns without
            self.late.discard(deadline)
            await deadline.late_answer

    async def _deliver(self, arrival: Arrival, receive: Receive, deadline: Deadline) -> None:
        entrance, scope = arrival.entrance, arrival.scope
        headers = dict(scope["headers"])
        if entrance.verifier is not None and not entrance.verifier.needs_body:
            _prove(entrance.verifier, _request(scope))
        arrival.verify_s = perf_counter() - arrival.began
        if is_encoded(headers):
            raise Rejected(outcomes.UNSUPPORTED_ENCODING, "send the body without a Content-Encoding")
        if entrance.rate is not None and not entrance.looks_at_body:
            _charge(entrance.rate)
        try:
            with deadline:
                body = await _read_body(receive, headers, entrance.max_body_bytes)
                arrival.received, arrival.body_bytes = perf_counter(), len(body)
                if entrance.looks_at_body:
                    _look_at(entrance, scope, body)
                    proven = perf_counter()
                    arrival.verify_s, arrival.received = proven - arrival.received, proven
                delivery = Delivery(body, headers, datetime.now(UTC))
                items = entrance.keeper.prepare(delivery, valid_traceparent(headers.get(b"traceparent")))
                arrival.prepared = items
                arrival.handed_over = perf_counter()
                arrival.prepared = await entrance.keeper.publish(items, delivery, deadline)
        except TimeoutError:
            if not arrival.prepared:
                detail = f"the body did not arrive within {entrance.deadline_s - entrance.spool_s:g} s"
                raise Rejected(outcomes.BODY_TIMEOUT, detail) from None
            if not deadline.missed:
                await spool(arrival, deadline)
        except (UndecodableBody, DeviceNotAllowed, PublishError, SpoolError) as error:
            raise Rejected(_outcome_of(error), str(error)) from error

    def _missed(self, arrival: Arrival, deadline: Deadline) -> asyncio.Task[None] | None:
        """The deadline has come while publishes are on their way: they may go on, and what answers is given back."""
        late = arrival.room.late
        if not (self._waits_for_late and late.take()):
            return None
        self.late.add(deadline)
        arrival.place.give_back()
        arrival.place = late
        return asyncio.create_task(answer_late(arrival, deadline), name="late-answer")


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


def _look_at(entrance: Entrance, scope: HTTPScope, body: bytes) -> None:
    """What wants the body before the pipeline gets it: a signature, a question that is no event; then its rate."""
    request, verifier = _request(scope, body), entrance.verifier
    if verifier is not None and verifier.needs_body:
        if verifier.needs_peer:
            request = request._replace(peer=client_of(scope) or "")
        _prove(verifier, request)
    greeting = entrance.handshakes.get("POST")
    if greeting is not None and (reply := greeting(request)) is not None:
        raise _Greeted(reply)
    if entrance.rate is not None:
        _charge(entrance.rate)


def _charge(rate: RateLimit) -> None:
    """A delivery whose sender is proven."""
    if wait_s := rate.charge():
        detail = f"more deliveries than this source's rate allows; in {wait_s} s the next one is let in"
        raise Rejected(outcomes.RATE_LIMITED, detail, retry_after_s=wait_s)


def _prove(verifier: Verifier, request: Request) -> None:
    try:
        verifier.verify(request)
    except VerificationFailed as error:
        raise Rejected(outcomes.UNAUTHORIZED, str(error), _UNPROVEN) from error


async def _answered_question(entrance: Entrance, scope: HTTPScope, send: Send) -> bool:
    """Whether it was a provider's question, asked without POST, and so without a proof or a body."""
    greeting = entrance.handshakes.get(str(scope["method"]))
    if greeting is None:
        return False
    try:
        reply = greeting(_request(scope))
    except Exception as error:  # noqa: BLE001 -- a provider's code that should not raise: the sender shall ask again
        detail = "a fault of the bridge"
        entrance.facts.failed(error)
        tell(scope, entrance.facts, outcomes.INTERNAL_ERROR, detail)
        await deny(send, Rejected(outcomes.INTERNAL_ERROR, detail))
        return True
    if reply is not None:
        await _greet(entrance, scope, send, reply)
    return reply is not None


async def _greet(entrance: Entrance, scope: HTTPScope, send: Send, reply: Reply) -> None:
    entrance.facts.greeted(str(scope["method"]), reply.status, client=client_of(scope))
    await answer_handshake(send, reply)


def _outcome_of(error: Exception) -> Outcome:
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return outcomes.RECORD_REFUSED


_OUTCOMES: tuple[tuple[type[Exception], Outcome], ...] = (
    (UndecodableBody, outcomes.UNDECODABLE),
    (DeviceNotAllowed, outcomes.DEVICE_NOT_ALLOWED),
    (RecordTooLarge, outcomes.RECORD_TOO_LARGE),
    (BrokerUnavailable, outcomes.BROKER_UNAVAILABLE),
    (SpoolError, outcomes.SPOOL_UNAVAILABLE),
)
