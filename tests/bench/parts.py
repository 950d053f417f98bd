"""What single steps of an event's way cost, in this process, with neither HTTP nor a broker."""

import asyncio
import itertools
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from time import process_time
from typing import Any

import uvloop

from bridge.events.cloudevents import StructuredEncoder, record_headers
from bridge.ingest.arrival import Entrance
from bridge.ingest.dead_letters import Keeper
from bridge.ingest.dedup import DedupTable
from bridge.ingest.http import Ingest
from bridge.ingest.pipeline import Pipeline
from bridge.ingest.seen import SeenIds
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.proof import URL_TOKEN
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier
from bridge.providers.values import event_id
from bridge.publishers.base import Record
from bridge.publishers.nats import NatsPublisher
from bridge.publishers.nats.records import encode_head
from bridge.routing import DEFAULT_TEMPLATE, RoutedSource, build_tables, topics
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics
from tests.bench.load import BODY_BYTES, Bodies
from tests.processes import TOKEN

__all__ = ["measure"]

_CALLS = 2000
_ENTRANCE = "the entrance: all of it, to a publisher that answers at once"


class _Parts:
    """A source called `bench`, wired as `bridge.app` does it."""

    def __init__(self) -> None:
        provider, dialect = PROVIDERS["chatlevel"], NatsPublisher.dialect
        source = RoutedSource(name="bench", types=provider.event_types)
        self.table = build_tables([source], routes=None, template=DEFAULT_TEMPLATE)["bench"]
        self.pipeline = Pipeline(source="bench", provider=provider, table=self.table, dialect=dialect)
        self.verifier = Verifier([URL_TOKEN], [TOKEN])
        self.decode, self.encode = provider.decoder(), StructuredEncoder("bench").encode
        self.headers = record_headers(
            prefix=dialect.prefix, content_type=dialect.content_type, percent_encode=dialect.percent_encode
        )
        facts = Facts(Metrics())
        self.facts = facts.source("bench", types=self.table.known, topics=topics([self.table]), outcomes=[])
        self.seen = SeenIds(window_s=4500, max_ids=100_000)
        entrance = Entrance(
            name="bench",
            verifier=self.verifier,
            keeper=Keeper(
                self.pipeline,
                DedupTable(_answer_at_once, self.seen, self.facts),
                source="bench",
                dialect=dialect,
                decoded_headers=(),
                dead_letter_topic="bridge.dead-letter",
                raw_topic=None,
                unknown=None,
            ),
            facts=self.facts,
            success_status=200,
            deadline_s=3,
            max_body_bytes=262_144,
        )
        self.ingest = Ingest({"bench": entrance}, facts, max_in_flight=1)
        self.bodies = Bodies()

    def remember(self, number: int) -> None:
        """An id that is new."""
        key = b"%015d" % number
        self.seen.see(key)
        self.seen.add(key)


async def _answer_at_once(_record: Record) -> None:
    pass


def measure(rounds: int) -> dict[str, list[float]]:
    """Microseconds a call, by part; a value for each round."""
    parts = _Parts()
    steps = _steps(parts)
    found: dict[str, list[float]] = {name: [] for name in (*steps, _ENTRANCE)}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(min(timeit.repeat(step, number=_CALLS, repeat=3)) / _CALLS * 1e6)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found[_ENTRANCE].append(min(runner.run(_enter(parts)) for _ in range(3)))
    return found


def _steps(parts: _Parts) -> dict[str, Callable[[], object]]:
    delivery = Delivery(parts.bodies.next(), {}, datetime.now(UTC))
    (prepared,) = parts.pipeline.prepare(delivery)
    event, label, (record,) = prepared.event, prepared.label, prepared.records
    raw, numbers = delivery.body[50:350], itertools.count()
    request = Request("POST", f"/webhooks/bench/{TOKEN}".encode(), b"", [(b"host", b"127.0.0.1")])

    def count_success() -> None:
        parts.facts.stored(record.topic)
        parts.facts.published(event, label)
        parts.facts.delivered(body_bytes=BODY_BYTES, verify_s=1e-6, decode_s=1e-5, ack_s=1e-3, took_s=2e-3)

    return {
        "verify: a token": lambda: parts.verifier.verify(request),
        "decode: bytes to a normalised event, its id in it": lambda: parts.decode(delivery),
        "of that, the id: BLAKE2b over the data": lambda: event_id(event.device, "message.received", raw),
        "route": lambda: parts.table.find("message.received"),
        "encode: the CloudEvent": lambda: parts.encode(event, key=event.device),
        "headers": lambda: parts.headers(event, event.device, None),
        "prepare: decode, id, route, encode, headers together": lambda: parts.pipeline.prepare(delivery),
        "dedup: a new id": lambda: parts.remember(next(numbers)),
        "NATS: the record's header block": lambda: encode_head(record, with_ttl=True),
        "metrics of a success": count_success,
    }


async def _enter(parts: _Parts) -> float:
    """Microseconds a delivery."""
    scope: Any = {
        "raw_path": f"/webhooks/bench/{TOKEN}".encode(),
        "method": "POST",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % BODY_BYTES)],
        "query_string": b"",
        "client": None,
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.bodies.next(), "more_body": False}

    async def send(_message: Any) -> None:
        pass

    began = process_time()
    for _ in range(_CALLS):
        await parts.ingest(scope, receive, send)
    return (process_time() - began) / _CALLS * 1e6
