"""What single steps of an event's way cost, in this process and without a loop or a broker."""

import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter

from bridge.events.cloudevents import StructuredEncoder, record_headers
from bridge.ingest.pipeline import Pipeline
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.signatures import TokenVerifier
from bridge.providers.values import event_id
from bridge.publishers.nats import NatsPublisher
from bridge.publishers.nats.records import encode_head
from bridge.routing import DEFAULT_TEMPLATE, RoutedSource, build_tables, topics
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics
from tests.bench.load import Bodies
from tests.processes import TOKEN

__all__ = ["measure"]

_CALLS = 2000


def measure(rounds: int) -> dict[str, list[float]]:
    """Microseconds a call, by part; a value for each round."""
    steps = _steps()
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(min(timeit.repeat(step, number=_CALLS, repeat=3)) / _CALLS * 1e6)
    return found


def _steps() -> dict[str, Callable[[], object]]:
    provider, dialect = PROVIDERS["chatlevel"], NatsPublisher.dialect
    table = build_tables(
        [RoutedSource(name="bench", types=provider.event_types)], routes=None, template=DEFAULT_TEMPLATE
    )["bench"]
    pipeline = Pipeline(source="bench", provider=provider, table=table, dialect=dialect)
    delivery = Delivery(Bodies().next(), {}, datetime.now(UTC))
    decode, encode = provider.decoder(), StructuredEncoder("bench").encode
    headers = record_headers(
        prefix=dialect.prefix, content_type=dialect.content_type, percent_encode=dialect.percent_encode
    )
    (event,) = decode(delivery)
    prepared = pipeline.prepare(delivery)
    record, raw, token = prepared[0].records[0], delivery.body[50:350], TOKEN.encode()
    verifier = TokenVerifier([TOKEN])
    facts = Facts(Metrics()).source("bench", types=table.known, topics=topics([table]), outcomes=[])
    return {
        "verify: a token": lambda: verifier.verify([token]),
        "decode: bytes to a normalised event, its id in it": lambda: decode(delivery),
        "id: BLAKE2b over the data": lambda: event_id(event.device, "message.received", raw),
        "route": lambda: table.find("message.received"),
        "encode: the CloudEvent": lambda: encode(event, key=event.device),
        "headers": lambda: headers(event, None),
        "prepare: decode, id, route, encode, headers together": lambda: pipeline.prepare(delivery),
        "NATS: the record's header block": lambda: encode_head(record, with_ttl=True),
        "metrics of a success": lambda: facts.delivered(
            prepared, body_bytes=400, verify_s=1e-6, decode_s=1e-5, ack_s=1e-3, took_s=perf_counter()
        ),
    }
