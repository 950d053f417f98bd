"""A delivery kept as it came, as a record and read back: what is on the dead-letter topic and on the raw topic.

The value is the raw body, everything else is in headers: `bridge-reason` on NATS, `bridge_reason` on Kafka.

Of the request's headers only those are kept that are known to hold no credential: a few of HTTP, and those that the
provider's decoder reads. A list of what to leave out would be one proxy's or one provider's new header behind, and what
leaks then is the proof of the sender, on a topic that others read.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal
from urllib.parse import unquote

import msgspec

from bridge.errors import RecordRefused, RecordTooLarge
from bridge.events.cloudevents import percent_encoded
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect, Received, Record
from bridge.spool.model import Entry

__all__ = [
    "HARMLESS_HEADERS",
    "REASONS",
    "Kept",
    "Letter",
    "Reason",
    "letter_id",
    "letter_of",
    "letter_of_refused",
    "reason_of",
    "record_of",
    "wanted_headers",
]

Reason = Literal["undecodable", "unknown_type", "record_too_large", "record_refused"]
REASONS: tuple[Reason, ...] = ("undecodable", "unknown_type", "record_too_large", "record_refused")
"""Why a delivery became a dead letter; on the raw topic there is none."""

HARMLESS_HEADERS = ("content-type", "user-agent", "traceparent", "x-request-id")
"""Kept whatever the provider is."""

# Together below what `bridge.broker` reckons with for the headers of any record, 4 KiB.
_MAX_DETAIL_CHARS = 300
_MAX_VALUE_BYTES = 256
_MAX_ENCODED_BYTES = 600
_MAX_HEADERS_BYTES = 1536

_CREDENTIAL = re.compile("auth|cookie|token|secret|signature|passw|api-?key|hmac|credential")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OWN = "bridge"
_CONTENT_TYPE = "application/octet-stream"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery with what became of it.

    Attributes:
        id: the same on each of the provider's retries.
        source: the source's name.
        delivery: body, the headers that are kept, and when it came.
        reason: why it is a dead letter; None on the raw topic.
        detail: the same in words, without content of the body.
        topic: where the record was to go that the broker refused, else empty.
        dedup_id: that record's.
        record: that record, where nothing is known of the delivery but this: it was refused when the spool was drained.
            Then the delivery's body is the record's value.
    """

    id: str
    source: str
    delivery: Delivery
    reason: Reason | None = None
    detail: str = ""
    topic: str = ""
    dedup_id: str = ""
    record: Record | None = None


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A letter and the record that carries it: published as events are (`pipeline.Prepared`)."""

    letter: Letter
    records: tuple[Record, ...]

    @property
    def dead(self) -> bool:
        """Whether it is a dead letter, and not a copy on the raw topic."""
        return self.letter.reason is not None

    @property
    def id(self) -> str:
        """What the answer lists; empty: nothing."""
        return self.letter.id if self.dead else ""


def wanted_headers(decoded: Iterable[str]) -> tuple[bytes, ...]:
    """Names of the request's headers that are kept, those that the decoder reads first; never a credential's."""
    names = dict.fromkeys((*(name.lower() for name in decoded), *HARMLESS_HEADERS))
    return tuple(name.encode() for name in names if not _CREDENTIAL.search(name))


def letter_id(source: str, delivery: Delivery, decoded: Iterable[bytes]) -> str:
    """A digest of source, raw body and the headers that tell deliveries of equal bodies apart."""
    digest = blake2b(digest_size=16, key=b"bridge/letter/v1")
    for part in (source.encode(), *(delivery.headers.get(name, b"") for name in decoded), delivery.body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()


def record_of(letter: Letter, *, topic: str, wanted: Iterable[bytes], dialect: HeaderDialect) -> Record:
    """The record of a letter; of one source they keep their order.

    Args:
        letter: what is kept.
        topic: the dead-letter or the raw topic.
        wanted: see `wanted_headers`.
        dialect: how the broker's records name and write headers.
    """
    separator = dialect.prefix[-1]
    facts = {
        "id": letter.id,
        "source": letter.source,
        "received": letter.delivery.received_at.isoformat(),
        "reason": letter.reason or "",
        "detail": _CONTROL.sub(" ", letter.detail[:_MAX_DETAIL_CHARS]),
        "topic": letter.topic,
        "dedupid": letter.dedup_id,
        "key": "" if letter.record is None else letter.record.key,
    }
    headers = {dialect.content_type: _CONTENT_TYPE}
    for name, text in facts.items():
        if text:
            headers[f"{_OWN}{separator}{name}"] = _encoded(text, dialect)
    for name, text in () if letter.record is None else letter.record.headers.items():
        headers[f"{_OWN}{separator}record{separator}{name}"] = _encoded(text, dialect)
    left = _MAX_HEADERS_BYTES
    for wanted_name in wanted:
        value = letter.delivery.headers.get(wanted_name)
        if value is None:
            continue
        name = f"{_OWN}{separator}header{separator}{wanted_name.decode()}"
        text = _encoded(_CONTROL.sub(" ", value[:_MAX_VALUE_BYTES].decode("latin-1")), dialect)
        left -= len(name) + len(text.encode())
        if left < 0:
            break
        headers[name] = text
    return Record(
        topic=topic, key=letter.source, value=letter.delivery.body, headers=headers, dedup_id=f"{letter.id}@{topic}"
    )


def reason_of(refusal: RecordRefused) -> Reason:
    """Why what the broker refused for good became a letter."""
    return "record_too_large" if isinstance(refusal, RecordTooLarge) else "record_refused"


def letter_of_refused(entry: Entry, refusal: RecordRefused) -> Letter:
    """The letter of a record that waited in the spool, with the delivery it came with no longer known.

    A replay publishes the record as it is.
    """
    record = entry.record
    digest = blake2b(record.dedup_id.encode(), digest_size=16, key=b"bridge/refused/v1")
    return Letter(
        id=digest.hexdigest(),
        source=entry.source,
        delivery=Delivery(record.value, {}, entry.received_at),
        reason=reason_of(refusal),
        detail=str(refusal),
        topic=record.topic,
        dedup_id=record.dedup_id,
        record=record,
    )


def letter_of(received: Received) -> Letter:
    """The letter that a record holds.

    Raises:
        ValueError: none.
    """
    facts: dict[str, str] = {}
    headers: dict[bytes, bytes] = {}
    of_record: dict[str, str] = {}
    for name, value in received.headers.items():
        found = re.fullmatch(rf"{_OWN}([-_])(?:(header|record)\1)?(.+)", name, re.IGNORECASE)
        if found is None:
            continue
        text = unquote(value) if found[1] == "-" else value
        match (found[2] or "").lower():
            case "header":
                headers[found[3].lower().encode()] = text.encode("latin-1", "replace")
            case "record":
                of_record[found[3]] = text
            case _:
                facts[found[3].lower()] = text
    reason = facts.get("reason")
    if not {"id", "source", "received"} <= facts.keys() or reason not in (None, *REASONS):
        raise ValueError("the record is no letter of the bridge: the headers of one are missing or unknown")
    topic, dedup_id = facts.get("topic", ""), facts.get("dedupid", "")
    record = Record(topic, facts["key"], received.value, of_record, dedup_id) if "key" in facts else None
    return Letter(
        id=facts["id"],
        source=facts["source"],
        delivery=Delivery(received.value, headers, _time(facts)),
        reason=reason,
        detail=facts.get("detail", ""),
        topic=topic,
        dedup_id=dedup_id,
        record=record,
    )


def _encoded(text: str, dialect: HeaderDialect) -> str:
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate is no text for any broker
    if not dialect.percent_encode:
        return text
    encoded = percent_encoded(text)
    return encoded if len(encoded) <= _MAX_ENCODED_BYTES else re.sub("%.?$", "", encoded[:_MAX_ENCODED_BYTES])


def _time(facts: Mapping[str, str]) -> datetime:
    try:
        return datetime.fromisoformat(facts["received"]).astimezone(UTC)
    except OverflowError:
        raise ValueError("the record is no letter of the bridge: its time is beyond all times") from None
