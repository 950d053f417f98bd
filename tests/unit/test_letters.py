"""A delivery as a record of the dead-letter topic, and back."""

import contextlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ingest.letters import REASONS, Letter, letter_id, letter_of, record_of, wanted_headers
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect, Received, Record
from bridge.publishers.kafka import KafkaPublisher
from bridge.publishers.kafka.records import size_bytes
from bridge.publishers.nats import NatsPublisher
from bridge.publishers.nats.records import encode_head

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
DIALECTS = (NatsPublisher.dialect, KafkaPublisher.dialect)
WANTED = wanted_headers(("x-event", "x-delivery"))
CANARY = b"canary-7f3a9c1e5b8d2460"
RECKONED_BYTES = 4096  # with what `bridge.broker` reckons for all headers

texts = st.text(st.characters(codec="utf-8"), max_size=2000)
values = st.binary(max_size=3000)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=249)
letters = st.builds(
    Letter,
    id=st.just("0" * 32),
    source=st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True),
    delivery=st.builds(
        Delivery, st.binary(max_size=300), st.dictionaries(st.sampled_from(WANTED), values), st.just(NOW)
    ),
    reason=st.sampled_from([*REASONS, None]),
    detail=texts,
    topic=printable,
    dedup_id=st.lists(printable, min_size=2, max_size=2).map("@".join),
)


def received(record: Record) -> Received:
    return Received(topic=record.topic, key=None, value=record.value, headers=record.headers, time=NOW, seq=1)


def encoded(letter: Letter, dialect: HeaderDialect) -> Record:
    return record_of(letter, topic="bridge.dead-letter", wanted=WANTED, dialect=dialect)


@given(letter=letters, dialect=st.sampled_from(DIALECTS))
def test_whatever_came_both_brokers_take_it_as_one_message_within_what_is_reckoned_with(
    letter: Letter, dialect: HeaderDialect
) -> None:
    record = encoded(letter, dialect)
    head = encode_head(record, with_ttl=True)  # refuses what would end a header or the message
    assert head.count(b"\r\n") == len(record.headers) + 3
    assert len(head) < RECKONED_BYTES
    assert size_bytes(record) - len(record.value) < RECKONED_BYTES
    assert not any(ord(character) < 32 for value in record.headers.values() for character in value)


@given(letter=letters, dialect=st.sampled_from(DIALECTS))
def test_what_is_read_back_is_what_was_kept_but_for_what_is_too_long(letter: Letter, dialect: HeaderDialect) -> None:
    read = letter_of(received(encoded(letter, dialect)))
    assert (read.id, read.source, read.reason) == (letter.id, letter.source, letter.reason)
    assert (read.delivery.body, read.delivery.received_at) == (letter.delivery.body, NOW)
    if len(letter.topic) < 100:
        assert read.topic == letter.topic
    for name, value in letter.delivery.headers.items():
        if len(value) < 100 and not any(byte < 32 or byte == 127 for byte in value):
            assert read.delivery.headers[name] == value


def test_names_follow_the_dialect() -> None:
    letter = Letter(id="1", source="shop", delivery=Delivery(b"{", {b"x-event": b"a b"}, NOW), reason="undecodable")
    nats, kafka = (encoded(letter, dialect).headers for dialect in DIALECTS)
    assert nats["bridge-header-x-event"] == "a%20b"
    assert kafka["bridge_header_x-event"] == "a b"
    assert (nats["bridge-reason"], kafka["bridge_reason"]) == ("undecodable", "undecodable")


@pytest.mark.parametrize(
    "name",
    ["authorization", "cookie", "proxy-authorization", "x-gitlab-token", "x-hub-signature-256", "x-api-key", "referer"],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_credential_gets_into_the_record_not_even_where_a_provider_says_it_reads_it(
    name: str, dialect: HeaderDialect
) -> None:
    delivery = Delivery(b"{", {name.encode(): CANARY, b"user-agent": b"provider"}, NOW)
    wanted = wanted_headers(() if name == "referer" else (name,))
    letter = Letter(id=letter_id("shop", delivery, wanted), source="shop", delivery=delivery)
    record = record_of(letter, topic="t", wanted=wanted, dialect=dialect)
    assert CANARY.decode() not in str(record)
    assert "provider" in str(record)


def test_equal_deliveries_have_one_id_and_others_have_others() -> None:
    delivery = Delivery(b"{", {b"x-event": b"a", b"x-delivery": b"1", b"date": b"today"}, NOW)
    decoded = (b"x-event", b"x-delivery")
    again = msgspec.structs.replace(delivery, headers={**delivery.headers, b"date": b"tomorrow"})
    others = [
        msgspec.structs.replace(delivery, body=b"}"),
        msgspec.structs.replace(delivery, headers={b"x-event": b"a", b"x-delivery": b"2"}),
        msgspec.structs.replace(delivery, headers={b"x-event": b"a1", b"x-delivery": b""}),
    ]
    first = letter_id("shop", delivery, decoded)
    assert letter_id("shop", again, decoded) == first
    assert len({first, letter_id("hub", delivery, decoded), *(letter_id("shop", o, decoded) for o in others)}) == 5


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ce-id": "1"},
        {"bridge-id": "1", "bridge-source": "shop"},
        {"bridge-id": "1", "bridge-source": "shop", "bridge-received": "yesterday"},
        {"bridge-id": "1", "bridge-source": "shop", "bridge-received": NOW.isoformat(), "bridge-reason": "odd"},
    ],
)
def test_what_is_no_letter_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no letter|isoformat"):
        letter_of(Received(topic="t", key=None, value=b"", headers=headers, time=NOW, seq=1))


HEADER_NAMES = [
    f"bridge-{name}" for name in ("id", "source", "received", "reason", "key", "header-x", "record-ce-id", "\n")
]
ODD_TEXTS = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "%ED%A0%80", "\ud800", "é", "", *REASONS]


@given(st.dictionaries(st.sampled_from(HEADER_NAMES), st.sampled_from(ODD_TEXTS) | st.text(max_size=30)))
def test_whatever_a_record_holds_it_is_a_letter_or_refused_as_none(headers: dict[str, str]) -> None:
    """Others may write to these topics, too: an odd record must not end a replay."""
    right = {"bridge-id": "1", "bridge-source": "shop", "bridge-received": NOW.isoformat()}
    with contextlib.suppress(ValueError):
        letter_of(Received(topic="t", key=None, value=b"\xff", headers=right | headers, time=NOW, seq=1))
