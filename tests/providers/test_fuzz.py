"""Whatever a request holds, a preset makes harmless records of it or refuses it with our own error.

Every provider that is registered is in it, as soon as it is.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from bridge.errors import UndecodableBody
from bridge.ingest.pipeline import Pipeline
from bridge.ingest.traceparent import valid_traceparent
from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.base import Delivery, Provider
from bridge.providers.captured import read_captured
from bridge.providers.generic_settings import Settings
from bridge.providers.keys import new_secret
from bridge.providers.proof import Plain, Proof, Timestamp
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier
from bridge.providers.signing import Signer
from bridge.providers.whatsapp_cloud_setup import Settings as WhatsAppSettings
from bridge.publishers.base import Record
from bridge.publishers.kafka import KafkaPublisher
from bridge.publishers.kafka.records import size_bytes
from bridge.publishers.nats import NatsPublisher
from bridge.publishers.nats.records import encode_head
from bridge.routing import DEFAULT_TEMPLATE, RoutedSource, build_tables
from bridge.secret import Secret
from tests.providers.goldens import RECEIVED_AT, goldens
from tests.providers.mutations import ODD_HEADERS, RAW, changed, requests_of
from tests.providers.proving import believes

# Building mutations costs more than what is done with them, on a busy machine seconds at first.
hostile = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = RECEIVED_AT.timestamp()
PUBLIC_URL = "https://hooks.example.com"
ODD_SETTINGS = {
    "from headers": Settings(
        type_from="header:X-Event",
        id_from="header:X-Id",
        time_from="header:Date",
        key_from="header:X-Key",
        subject_from="header:X-Subject",
    ),
    "deep": Settings(
        type_from="data.type.x", id_from="data.id", key_from="data", subject_from="id", batch="data.items"
    ),
    "batch": Settings(batch="data", form_field="payload", key_from="type", time_from="id"),
}
DECODED: dict[str, tuple[str, Provider]] = {name: (name, PROVIDERS[name]) for name in BUILT_IN} | {
    f"generic, {name}": ("generic", PROVIDERS["generic"].configured(chosen)) for name, chosen in ODD_SETTINGS.items()
}


def pipelines(name: str, provider: Provider) -> list[Pipeline]:
    """To both brokers, in either format."""
    routed = RoutedSource(name="shop", types=provider.event_types, open_types=provider.open_types)
    table = build_tables([routed], routes=None, template=DEFAULT_TEMPLATE)["shop"]
    return [
        Pipeline(source="shop", provider=provider, table=table, dialect=NatsPublisher.dialect),
        Pipeline(source="shop", provider=provider, table=table, dialect=KafkaPublisher.dialect, event_format="binary"),
    ]


@pytest.fixture(params=DECODED, name="decoded", scope="module")
def decoded_fixture(request: pytest.FixtureRequest) -> tuple[str, Provider, list[Pipeline]]:
    name, provider = DECODED[request.param]
    return name, provider, pipelines(name, provider)


@hostile(max_examples=25)
@given(data=st.data())
def test_a_request_that_is_nearly_right_makes_harmless_records_or_is_undecodable(
    decoded: tuple[str, Provider, list[Pipeline]], data: st.DataObject
) -> None:
    name, provider, made = decoded
    check(made, data.draw(changed(name, provider.headers)))


def test_values_that_no_encoder_writes_do_no_harm_wherever_they_stand(
    decoded: tuple[str, Provider, list[Pipeline]],
) -> None:
    name, _, made = decoded
    right = requests_of(name)[0]
    for raw in RAW:
        bodies = [raw, right.body[:-1] + b',"x":' + raw + b"}", right.body.replace(b":", b":" + raw + b",", 1)]
        bodies += [b"[" + raw + b"]", b'{"event":{"a":' + raw + b"}}", b"payload=" + raw, raw + b"=1&" + raw]
        for body in bodies:
            check(made, Delivery(body, right.headers, RECEIVED_AT))


@pytest.mark.parametrize("preset", ["generic", "cloudevents-http"])
def test_a_batch_of_more_items_than_any_sender_has_is_refused_before_it_holds_up_all_others(preset: str) -> None:
    """Within the usual body limit: each item makes an event and a record, of which 87,000 take seconds."""
    headers = {b"content-type": b"application/cloudevents-batch+json"}
    body = b"[" + b"{}," * 87_000 + b"{}]"
    with pytest.raises(UndecodableBody, match=r"at most 5000 items"):
        PROVIDERS[preset].decoder()(Delivery(body, headers, RECEIVED_AT))


def test_nesting_at_the_edge_of_the_stack_is_an_event_or_undecodable(
    decoded: tuple[str, Provider, list[Pipeline]],
) -> None:
    name, _, made = decoded
    right = requests_of(name)[0]
    for depth in (64, *range(900, 1010, 5), 100_000):
        deep = b"[" * depth + b"]" * depth
        check(made, Delivery(right.body[:-1] + b',"x":' + deep + b"}", right.headers, RECEIVED_AT))
        check(made, Delivery(b'{"event":' + deep + b"}", right.headers, RECEIVED_AT))


def check(made: Iterable[Pipeline], delivery: Delivery) -> None:
    for pipeline in made:
        try:
            prepared = pipeline.prepare(delivery, valid_traceparent(delivery.headers.get(b"traceparent")))
        except UndecodableBody as error:
            assert str(error).isprintable()  # noqa: PT017 -- either may happen
            continue
        assert prepared
        for record in (record for item in prepared for record in item.records):
            check_record(record)


def check_record(record: Record) -> None:
    """What both brokers take as one message, on a topic of the source."""
    assert re.fullmatch(r"events\.shop(\.[a-z0-9_-]{1,64}){1,9}", record.topic)
    assert encode_head(record, with_ttl=True).count(b"\r\n") >= len(record.headers) + 2
    assert size_bytes(record) < 1_000_000
    texts = [record.key, record.dedup_id, *record.headers, *record.headers.values()]
    assert all(text.isprintable() for text in texts)
    record.value.decode()


def proofs() -> dict[str, Proof]:
    """Of every preset, and those that `generic` can be told of."""
    found = {f"{name} {number}": proof for name in BUILT_IN for number, proof in enumerate(PROVIDERS[name].proofs)}
    form = Proof(scheme="hmac-sha1", header="x-sig", encoding="base64", signed="{url}{form}")
    when = Timestamp("x-time", "ms")
    return found | {
        "form": form,
        "all": Proof(
            scheme="hmac-sha512",
            header="x-sig",
            grammar=Plain("a="),
            signed="{method}{timestamp}{body}",
            timestamp=when,
        ),
        "equal": Proof(scheme="equal", header="x-secret"),
        "basic": Proof(scheme="basic"),
        "bearer": Proof(scheme="bearer"),
    }


class Proven:
    """A proof, and a request that it holds for."""

    def __init__(self, proof: Proof) -> None:
        body = b"a=1&b=%C3%A9"
        headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"authorization", b"Bearer x")]
        request = Request("POST", b"/webhooks/shop/token", b"token=t", headers, body)
        if proof.scheme == "ed25519":
            secret = proof.secret.prefix + _base64(SigningKey.generate().verify_key.encode())
            signed: Mapping[str, str] = {
                proof.id_header: "1",
                proof.timestamp.header if proof.timestamp else "": str(int(NOW)),
                proof.header: f"v1a,{_base64(bytes(64))}",
            }
        else:
            secret = "token" if proof.scheme == "url-token" else new_secret(proof)
            signer = Signer([proof], secret, public_url=PUBLIC_URL)
            request = signer.completed(request)
            signed = signer.sign(request, now=NOW)
        kept = [pair for pair in headers if pair[0].decode() not in signed]
        self.request = request._replace(headers=[*kept, *((n.encode(), v.encode()) for n, v in signed.items())])
        self.verifier = Verifier([proof], [secret], public_url=PUBLIC_URL, clock=lambda: NOW)
        self.names = [name.encode() for name in sorted(proof.headers)]


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


PROVEN = {name: Proven(proof) for name, proof in proofs().items()}
PARTS = (
    b",",
    b"=",
    b" ",
    b"v1",
    b"v1a,",
    b"t=",
    b"sha256=",
    b"v0=",
    b"9" * 400,
    b"-1",
    b"\xff",
    b"Bearer ",
    b"basic ==",
)
header_values = st.lists(st.sampled_from(PARTS) | st.binary(max_size=4), max_size=12).map(b"".join) | st.sampled_from(
    ODD_HEADERS
)


@pytest.mark.parametrize("name", [name for name in PROVEN if "v1a" not in str(PROVEN[name].request.headers)])
def test_what_the_mutations_begin_with_is_believed(name: str) -> None:
    assert believes(PROVEN[name].verifier, PROVEN[name].request)


@hostile(max_examples=200)
@given(data=st.data())
def test_whatever_becomes_of_a_proof_is_told_by_our_own_error(data: st.DataObject) -> None:
    proven = PROVEN[data.draw(st.sampled_from(list(PROVEN)))]
    headers = list(proven.request.headers)
    changes: dict[str, Any] = {}
    match data.draw(st.sampled_from(["drop", "twice", "other", "longer", "cut", "path", "query", "body", "kind"])):
        case "drop":
            headers.pop(data.draw(st.integers(0, len(headers) - 1)))
        case "twice":
            headers.append(data.draw(st.sampled_from(headers)))
        case "path" | "query" | "body" as part:
            changes[part] = data.draw(
                st.binary(max_size=60) | st.sampled_from([b"/webhooks/x/%zz%", b"token=%ff&" * 999])
            )
        case "kind":
            headers.append((b"content-type", data.draw(st.sampled_from(ODD_HEADERS))))
        case how:
            number = data.draw(st.integers(0, len(headers) - 1))
            name, value = headers[number]
            cut = data.draw(st.integers(0, len(value))) if how == "cut" else len(value)
            headers[number] = name, (b"" if how == "other" else value[:cut]) + data.draw(header_values)
    believes(proven.verifier, proven.request._replace(headers=headers, **changes))  # which raises nothing else


REGISTERING = WhatsAppSettings(verify_token=(Secret("t"),))
HANDSHAKES = [
    (name, method, handshake)
    for name in BUILT_IN
    for provider in (PROVIDERS[name], PROVIDERS[name].configured(REGISTERING))
    for method, handshake in provider.handshakes().items()
]


@hostile(max_examples=100)
@given(data=st.data())
def test_a_handshake_answers_what_can_be_sent_or_nothing(data: st.DataObject) -> None:
    name, method, handshake = data.draw(st.sampled_from(HANDSHAKES))
    sayable = st.sampled_from(ODD_HEADERS) | st.binary(max_size=30).filter(
        lambda value: not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value)
    )
    names = st.sampled_from([b"webhook-request-origin", b"x-github-event", b"content-type", b"accept"])
    headers = data.draw(st.lists(st.tuples(names, sayable), max_size=4))
    body = data.draw(changed(name, PROVIDERS[name].headers)).body
    asked = data.draw(
        st.sampled_from([body, b'{"type":"url_verification","challenge":%b}' % data.draw(st.sampled_from(RAW))])
    )
    query = data.draw(
        st.sampled_from([b"hub.mode=subscribe&hub.verify_token=t&hub.challenge=", b"hub.mode=subscribe&", b""])
    ) + data.draw(st.binary(max_size=30))
    reply = handshake(Request(method, b"/webhooks/shop", query, headers, asked))
    if reply is not None:
        assert 200 <= reply.status < 500
        sent = [text.encode("latin-1") for pair in reply.headers for text in pair] + [reply.content_type.encode()]
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", b"".join(sent))


CAPTURED = [path.read_bytes() for path in goldens().values() if path.suffix == ".http"]
ODD_LINES = (
    b"",
    b":",
    b"no header",
    b"Content-Length: " + b"9" * 5_000,
    b"Content-Length: 1",
    b"\x00: \xff",
    b"\xff",
    b"POST",
)


@hostile(max_examples=100)
@given(data=st.data())
def test_a_captured_file_is_a_request_or_refused_in_words(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(CAPTURED)).split(b"\n")
    number = data.draw(st.integers(0, min(len(lines) - 1, 6)))
    odd = data.draw(st.sampled_from(ODD_LINES) | st.binary(max_size=20))
    lines[number : number + data.draw(st.integers(0, 1))] = [odd]
    try:
        request = read_captured(b"\n".join(lines))
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 -- either may happen
        return
    assert request.path.startswith(b"/")
    believes(PROVEN["github 0"].verifier, request)


@given(st.binary(max_size=60) | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.?", fullmatch=True))
def test_a_traceparent_is_passed_on_as_it_came_or_not_at_all(value: bytes) -> None:
    passed = valid_traceparent(value)
    assert passed is None or (passed.encode() == value and len(value) == 55 and value.isascii())
