"""A sender without a preset: its variables make the proof and the reading."""

import base64
import hmac
import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator

from bridge.config import load
from bridge.errors import ConfigError, UndecodableBody, VerificationFailed
from bridge.events.model import Event
from bridge.ingest.compiled import make_verifier
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.request import Request
from tests.generated import ROOT
from tests.providers.goldens import RECEIVED_AT

SECRET = "It's a Secret to Everybody"


def configuration(**settings: str) -> dict[str, str]:
    return {"BRIDGE_SOURCES": "own=generic"} | {f"BRIDGE_SOURCE_OWN_{name}": text for name, text in settings.items()}


def events(body: bytes | Any, headers: Mapping[str, str] | None = None, **settings: str) -> tuple[Event, ...]:
    provider = PROVIDERS["generic"].configured(load(configuration(**settings)).source("own").own)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = {name.lower().encode(): text.encode() for name, text in (headers or {}).items()}
    assert set(pairs) <= {name.encode() for name in provider.headers}, "a dead letter must keep what it is decoded with"
    return provider.decoder()(Delivery(raw, pairs, RECEIVED_AT))


def believes(body: str, headers: Mapping[str, str], query: str = "", **settings: str) -> bool:
    verifier = make_verifier(load(configuration(**settings)).source("own"), PROVIDERS["generic"])
    assert verifier is not None
    pairs = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
    try:
        verifier.verify(Request("POST", b"/webhooks/own", query.encode(), pairs, body.encode()))
    except VerificationFailed:
        return False
    return True


GITHUB = {"SIGNATURE": "hmac-sha256", "SIGNATURE_HEADER": "X-Hub-Signature-256", "SIGNATURE_PREFIX": "sha256="}
SIGNED = {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}


def test_a_published_vector_of_another_sender_verifies_by_variables_alone() -> None:
    spoken = GITHUB | {"SECRET": SECRET.replace(" ", "_")}
    assert not believes("Hello, World!", SIGNED, **spoken)
    key = SECRET.replace(" ", "_").encode()  # commas and spaces separate secrets
    right = {"X-Hub-Signature-256": "sha256=" + hmac.digest(key, b"Hello, World!", "sha256").hex()}
    assert believes("Hello, World!", right, **spoken)
    assert not believes("Hello, World?", right, **spoken)


def test_signature_and_secret_may_be_encoded() -> None:
    settings = {**GITHUB, "SIGNATURE_ENCODING": "base64", "SECRET_ENCODING": "hex"}
    key = bytes.fromhex("00ff51c97a3b4e6d8c9f01a2b3c4d5e6")
    signature = base64.b64encode(hmac.digest(key, b"{}", "sha256")).decode()
    assert believes("{}", {"X-Hub-Signature-256": f"sha256={signature}"}, **settings, SECRET=key.hex())


def test_a_library_of_another_sender_is_understood_with_its_timestamp() -> None:
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    slack = {
        "SIGNATURE": "hmac-sha256",
        "SIGNATURE_HEADER": "X-Slack-Signature",
        "SIGNATURE_PREFIX": "v0=",
        "SIGNED": "v0:{timestamp}:{body}",
        "TIMESTAMP_HEADER": "X-Slack-Request-Timestamp",
        "SECRET": secret,
    }
    library = SignatureVerifier(secret)
    now = int(library.clock.now())
    for age_s, right in ((0, True), (1000, False)):
        at = str(now - age_s)
        signature = str(library.generate_signature(timestamp=at, body="{}"))
        headers = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": at}
        assert believes("{}", headers, **slack) == right
        assert believes("{}", headers, **slack, TOLERANCE_S="2000")


def test_a_sender_that_signs_its_url_needs_no_preset() -> None:
    """Square's scheme, and Twilio's for JSON."""
    token, url = "8f742231b10e8888abcd99yyyzzz85a5", "https://hooks.example.com"
    settings = {
        "SIGNATURE": "hmac-sha1",
        "SIGNATURE_HEADER": "X-Twilio-Signature",
        "SIGNATURE_ENCODING": "base64",
        "SECRET": token,
        "PUBLIC_URL": url,
    }
    library = RequestValidator(token)
    query = f"bodySHA256={library.compute_hash('{}')}"
    headers = {"X-Twilio-Signature": library.compute_signature(f"{url}/webhooks/own?{query}", {})}
    assert believes("{}", headers, query=query, **settings, SIGNED="{url:bodySHA256}")
    assert not believes("[]", headers, query=query, **settings, SIGNED="{url:bodySHA256}")
    headers = {"X-Twilio-Signature": library.compute_signature(f"{url}/webhooks/own?a=1{{}}", {})}
    assert believes("{}", headers, query="a=1", **settings, SIGNED="{url}{body}")
    assert not believes("{}", headers, query="a=2", **settings, SIGNED="{url}{body}")


def test_a_shown_secret_and_a_token_in_the_url_are_proofs_too() -> None:
    shown = {"SIGNATURE": "equal", "SIGNATURE_HEADER": "X-Token", "SECRET": "a-shown-secret-51c9"}
    assert believes("{}", {"X-Token": "a-shown-secret-51c9"}, **shown)
    assert not believes("{}", {"X-Token": "a-shown-secret-51c8"}, **shown)
    assert believes("{}", {"Authorization": "Bearer a-token-of-the-url-51c9"}, TOKEN="a-token-of-the-url-51c9")
    assert load(configuration(TOKEN="a-token-of-the-url-51c9")).source("own").verify == "token"


def test_type_id_time_key_and_subject_come_from_where_the_variables_say() -> None:
    (event,) = events(
        {"meta": {"nr": 7, "at": 1772798300123}, "customer": {"id": "c-1"}, "thing": {"id": "t-1"}},
        {"X-Event": "Thing Created"},
        TYPE_FROM="header:X-Event",
        ID_FROM="meta.nr",
        TIME_FROM="meta.at",
        KEY_FROM="customer.id",
        SUBJECT_FROM="thing.id",
    )
    assert (event.id, event.type.ce_type, event.device, event.subject) == (
        "7",
        "generic.thing_created.v1",
        "c-1",
        "t-1",
    )
    assert event.time.isoformat() == "2026-03-06T11:58:20.123000+00:00"


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        ([{"type": "a", "id": "1"}, {"type": "b", "id": "2"}], {}),
        ({"all": {"events": [{"type": "a", "id": "1"}, {"type": "b", "id": "2"}]}}, {"BATCH": "all.events"}),
    ],
)
def test_each_item_of_a_batch_is_an_event(body: Any, settings: dict[str, str]) -> None:
    assert [(event.id, event.type.name) for event in events(body, **settings)] == [("1", "a"), ("2", "b")]


@pytest.mark.parametrize("body", [{"type": "a"}, {"type": "a", "events": []}, {"type": "a", "events": 1}])
def test_a_body_without_a_batch_is_one_event(body: Any) -> None:
    assert [event.type.name for event in events(body, BATCH="events")] == ["a"]


def test_the_items_of_a_request_with_one_id_are_no_duplicates_of_each_other() -> None:
    body, headers = [{"n": 1}, {"n": 1}], {"X-Id": "d-1"}
    first, second = (events(body, headers, ID_FROM="header:X-Id") for _ in range(2))
    assert [event.id for event in first] == [event.id for event in second] == ["d-1:0", "d-1:1"]
    assert events({"n": 1}, headers, ID_FROM="header:X-Id")[0].id == "d-1"


def test_forms_are_payloads_or_hold_them() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    (event,) = events(b"payload=%7B%22type%22%3A%22a%22%7D&x=1", form, FORM_FIELD="payload")
    assert (event.type.name, bytes(event.data)) == ("a", b'{"type":"a"}')
    (event,) = events(b"type=a&x=1&x=2", form)
    assert (event.type.name, bytes(event.data)) == ("a", b'{"type":"a","x":["1","2"]}')
    for body in (b"x=1", b"payload=1&payload=2", b"payload=%5B"):
        with pytest.raises(UndecodableBody):
            events(body, form, FORM_FIELD="payload")


def test_an_item_that_is_no_object_is_undecodable() -> None:
    with pytest.raises(UndecodableBody):
        events([{"type": "a"}, 7])


SIGNS = {"SIGNATURE": "hmac-sha256", "SIGNATURE_HEADER": "X-S", "SECRET": "a-signing-secret-51c9"}


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"SIGNATURE": "hmac-md5"}, "SIGNATURE"),
        ({**SIGNS, "SIGNATURE_HEADER": "X S"}, "SIGNATURE_HEADER"),
        ({"SIGNATURE": "hmac-sha256", "SECRET": SIGNS["SECRET"]}, "SIGNATURE_HEADER"),
        ({"SIGNATURE_HEADER": "X-S"}, "SIGNATURE_HEADER"),
        ({**SIGNS, "SIGNED": "{timestamp}"}, "SIGNED"),
        ({**SIGNS, "SIGNED": "{body}{secret}"}, "SIGNED"),
        ({**SIGNS, "SIGNED": "{body"}, "SIGNED"),
        ({**SIGNS, "SIGNED": "{timestamp}{body}"}, "TIMESTAMP_HEADER"),
        ({**SIGNS, "TIMESTAMP_HEADER": "X-T"}, "TIMESTAMP_HEADER"),
        ({**SIGNS, "SIGNED": "{id}{body}"}, "SIGNED_ID_HEADER"),
        ({**SIGNS, "SIGNED": "{url}{body}"}, "PUBLIC_URL"),
        ({**SIGNS, "SECRET_ENCODING": "hex"}, "SECRET"),
        ({**SIGNS, "TYPE_FROM": "header:X-S"}, "TYPE_FROM"),
        ({"KEY_FROM": "header:Authorization"}, "KEY_FROM"),
        ({"TYPE_FROM": "a..b"}, "TYPE_FROM"),
        ({"TYPE_FROM": "$.kind"}, "TYPE_FROM"),
        ({"ID_FROM": "/data/id"}, "ID_FROM"),
        ({"ID_FROM": "headers:X-Id"}, "ID_FROM"),
        ({"KEY_FROM": "Header:X-Key"}, "KEY_FROM"),
        ({"BATCH": "."}, "BATCH"),
        ({"TOLERANCE_S": "0"}, "TOLERANCE_S"),
        ({"SECRET": SIGNS["SECRET"]}, "VERIFY"),
    ],
)
def test_what_does_not_go_together_is_told_by_the_variables_name(settings: dict[str, str], variable: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(configuration(**settings))
    assert f"BRIDGE_SOURCE_OWN_{variable}:" in str(raised.value)
    assert SIGNS["SECRET"] not in str(raised.value)


def test_what_is_wrong_with_a_signature_does_not_make_a_token_of_its_secret() -> None:
    env = configuration(SIGNATURE="hmac-sha256") | {"BRIDGE_LISTEN": "0.0.0.0:8080", "BRIDGE_BROKER": "nats://n:4222"}
    with pytest.raises(ConfigError) as raised:
        load(env)
    blamed = {problem.variable for problem in raised.value.problems}
    assert blamed == {"BRIDGE_SOURCE_OWN_SIGNATURE_HEADER", "BRIDGE_SOURCE_OWN_SECRET"}


@pytest.mark.parametrize(
    "settings",
    [
        {"TYPE_FROM": "kind", "ID_FROM": "uuid", "KEY_FROM": "customer.id", "TIME_FROM": "customer.at"},
        {"TYPE_FROM": "header:X-Event", "ID_FROM": "header:X-Id", "SUBJECT_FROM": "data.id"},
        {"BATCH": "all.events", "TYPE_FROM": "meta.kind", "KEY_FROM": "id", "SUBJECT_FROM": "id.nr"},
    ],
)
def test_what_send_makes_up_is_as_the_variables_say(settings: dict[str, str]) -> None:
    provider = PROVIDERS["generic"].configured(load(configuration(**settings)).source("own").own)
    body = provider.sample("thing.changed", now=RECEIVED_AT)
    (event,) = events(body, provider.sample_headers("thing.changed", body), **settings)
    assert (event.type.name, event.time) == ("thing.changed", RECEIVED_AT)
    assert str(uuid.UUID(event.id)) == event.id, "an id of its own, not one of the payload's bytes"


def test_the_pages_sender_without_a_preset_is_understood() -> None:
    part = (ROOT / "docs" / "providers.md").read_text().partition("## A sender without a preset")[2]
    lines = re.findall(r"^export BRIDGE_SOURCE_ACME_(\w+)='?(.*?)'?$", part, re.MULTILINE)
    settings = dict(lines)
    now = str(int(time.time()))
    found = re.search(r"body='(.*?)'", part)
    assert found is not None
    body = found[1]
    signature = hmac.new(settings["SECRET"].encode(), f"{now}.{body}".encode(), "sha256").hexdigest()
    headers = {"X-Acme-Timestamp": now, "X-Acme-Signature": signature}
    assert believes(body, headers, **settings)
    assert not believes(body, headers | {"X-Acme-Timestamp": str(int(now) - 1)}, **settings)
    (event,) = events(body.encode(), **settings)
    assert (event.type.name, event.id, event.device) == ("order.paid", "1", "c-7")
