"""Presets against what senders publish: their own libraries sign, and ours must agree, byte for byte."""

import base64
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
import standardwebhooks
import stripe
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from slack_sdk.signature import SignatureVerifier

from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier
from bridge.providers.signing import Signer
from tests.providers.proving import believes

NOW = 1772798300
AT = datetime.fromtimestamp(NOW, UTC)
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SEED = SigningKey(bytes(range(32)))
WHPK = "whpk_" + base64.b64encode(bytes(SEED.verify_key)).decode()
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = '{"test": 2432232314, "text": "ünïcode ☃"}'

Sign = Callable[[str], Mapping[str, str]]


class Sender(NamedTuple):
    preset: str
    secret: str
    sign: Sign


def standard(body: str) -> Mapping[str, str]:
    signature = standardwebhooks.Webhook(WHSEC).sign(ID, AT, body)
    return {"webhook-id": ID, "webhook-timestamp": str(NOW), "webhook-signature": signature}


def by_svix(body: str) -> Mapping[str, str]:
    signature = svix.webhooks.Webhook(WHSEC).sign(ID, AT, body)
    return {"svix-id": ID, "svix-timestamp": str(NOW), "svix-signature": signature}


def by_key_pair(body: str) -> Mapping[str, str]:
    signature = base64.b64encode(SEED.sign(f"{ID}.{NOW}.{body}".encode()).signature).decode()
    return {"webhook-id": ID, "webhook-timestamp": str(NOW), "webhook-signature": f"v1,AAAA v1a,{signature}"}


def by_stripe(body: str) -> Mapping[str, str]:
    header = stripe.WebhookSignature.generate_signature_header(body, "whsec_test_secret_0123", NOW)
    return {"stripe-signature": header}


def by_slack(body: str) -> Mapping[str, str]:
    signature = SignatureVerifier("8f742231b10e8888abcd99yyyzzz85a5").generate_signature(timestamp=str(NOW), body=body)
    return {"x-slack-request-timestamp": str(NOW), "x-slack-signature": str(signature)}


SENDERS = {
    "standard-webhooks": Sender("standard-webhooks", WHSEC, standard),
    "standard-webhooks, svix headers": Sender("standard-webhooks", WHSEC, by_svix),
    "standard-webhooks, v1a": Sender("standard-webhooks", WHPK, by_key_pair),
    "svix": Sender("svix", WHSEC, by_svix),
    "stripe": Sender("stripe", "whsec_test_secret_0123", by_stripe),
    "slack": Sender("slack", "8f742231b10e8888abcd99yyyzzz85a5", by_slack),
}
# Published by the senders, who have no library that signs: documentation (GitHub), and ours for want of one (Shopify).
VECTORS = {
    "github": (
        "It's a Secret to Everybody",
        "Hello, World!",
        {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    ),
    "whatsapp-cloud": (  # as GitHub's, which it took over
        "It's a Secret to Everybody",
        "Hello, World!",
        {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    ),
    "shopify": ("hush", '{"id":1}', {"x-shopify-hmac-sha256": "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY="}),
    "telegram": ("a-secret-token_0123", "{}", {"x-telegram-bot-api-secret-token": "a-secret-token_0123"}),
}
for _name, (_secret, _body, _headers) in VECTORS.items():
    SENDERS[_name] = Sender(_name, _secret, lambda _, headers=_headers: headers)


def body_of(sender: Sender) -> str:
    return VECTORS[sender.preset][1] if sender.preset in VECTORS else BODY


def request(headers: Mapping[str, str] | list[tuple[bytes, bytes]], body: str | bytes) -> Request:
    pairs = headers if isinstance(headers, list) else [(name.encode(), text.encode()) for name, text in headers.items()]
    return Request("POST", b"/webhooks/x", b"", pairs, body.encode() if isinstance(body, str) else body)


def verifier(sender: Sender, *secrets: str, now: float = NOW) -> Verifier:
    return Verifier(PROVIDERS[sender.preset].proofs, secrets or [sender.secret], clock=lambda: now)


@pytest.fixture(params=SENDERS.values(), ids=SENDERS)
def sender(request: pytest.FixtureRequest) -> Sender:
    found: Sender = request.param
    return found


def test_every_preset_is_held_against_its_sender() -> None:
    assert {sender.preset for sender in SENDERS.values()} == {name for name in BUILT_IN if PROVIDERS[name].signs}


def test_what_the_sender_signs_verifies(sender: Sender) -> None:
    body = body_of(sender)
    assert believes(verifier(sender), request(sender.sign(body), body))


def test_every_changed_byte_of_signature_timestamp_id_or_body_is_seen(sender: Sender) -> None:
    body, check = body_of(sender), verifier(sender, now=NOW + 1)
    signed = request(sender.sign(body), body)
    for index, (name, value) in enumerate(signed.headers):
        for place in range(len(value)):
            if value[place : place + 1].isspace() or b"v1,AAAA" in value[: place + 7]:
                continue  # the separator of a list, and its first signature, which is of another kind
            other = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
            headers = list(signed.headers)
            headers[index] = (name, other)
            assert not believes(check, request(headers, body)), other
    if sender.preset != "telegram":  # it signs nothing, and says who it is
        for place in range(len(signed.body)):
            other = signed.body[:place] + bytes([signed.body[place] ^ 1]) + signed.body[place + 1 :]
            assert not believes(check, request(list(signed.headers), other)), other


def test_a_replay_is_seen_outside_the_tolerance(sender: Sender) -> None:
    body = body_of(sender)
    signed = request(sender.sign(body), body)
    timed = sender.preset not in VECTORS
    assert believes(verifier(sender, now=NOW + 299), signed)
    assert believes(verifier(sender, now=NOW + 301), signed) != timed
    assert believes(verifier(sender, now=NOW - 301), signed) != timed


def test_both_secrets_are_good_during_a_rotation(sender: Sender) -> None:
    body = body_of(sender)
    newer = "whsec_" + "QUJD" * 8
    signed = request(sender.sign(body), body)
    assert believes(verifier(sender, newer, sender.secret), signed)
    assert not believes(verifier(sender, newer), signed)


def test_senders_that_rotate_sign_with_both_secrets() -> None:
    old, new = (standardwebhooks.Webhook(secret).sign(ID, AT, BODY) for secret in (WHSEC, "whsec_" + "QUJD" * 8))
    headers = {"webhook-id": ID, "webhook-timestamp": str(NOW), "webhook-signature": f"{old} v2,x {new}"}
    assert believes(verifier(SENDERS["standard-webhooks"]), request(headers, BODY))
    first, second = (
        stripe.WebhookSignature.generate_signature_header(BODY, secret, NOW).partition(",")[2]
        for secret in ("whsec_another_secret_9876", "whsec_test_secret_0123")
    )
    assert believes(verifier(SENDERS["stripe"]), request({"stripe-signature": f"t={NOW},{first},{second},v0=aa"}, BODY))


def by_hand(delivery_id: str, timestamp: str) -> dict[str, str]:
    """Signed with the right secret whatever these are, as no library would."""
    key = base64.b64decode(WHSEC.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{delivery_id}.{timestamp}.{BODY}".encode("latin-1", "replace"), "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


def standard_with(headers: Mapping[str, str]) -> Request:
    pairs = [(name.encode(), text.encode("latin-1")) for name, text in headers.items()]
    return request(pairs, BODY.encode("latin-1", "replace"))


def test_what_is_signed_by_hand_is_believed_while_it_is_as_it_should_be() -> None:
    assert believes(verifier(SENDERS["standard-webhooks"]), standard_with(by_hand(ID, str(NOW))))


@pytest.mark.parametrize(
    "timestamp",
    ["1772798300.0", "1.7727983e9", f"-{NOW}", f" {NOW}", f"+{NOW}", "1_772_798_300", "", "0x69aabf1c", f"{NOW}\xa0"],
)
def test_a_timestamp_is_a_whole_number_though_it_is_signed(timestamp: str) -> None:
    assert not believes(verifier(SENDERS["standard-webhooks"]), standard_with(by_hand(ID, timestamp)))


@pytest.mark.parametrize("delivery_id", ["", "msg_\xe9"])
def test_an_empty_or_non_ascii_header_is_refused_though_it_is_signed(delivery_id: str) -> None:
    assert not believes(verifier(SENDERS["standard-webhooks"]), standard_with(by_hand(delivery_id, str(NOW))))


@pytest.mark.parametrize("odd", ["{} v1", "v1 {}", " {}", "{} ", "{}\t", "{} " * 9, "v2,x", "v1,", "{},", "V{}"])
def test_odd_lists_of_signatures_are_refused_though_a_right_one_is_among_them(odd: str) -> None:
    headers = standard(BODY)
    headers = {**headers, "webhook-signature": odd.replace("{}", headers["webhook-signature"])}
    assert not believes(verifier(SENDERS["standard-webhooks"]), request(headers, BODY))


@pytest.mark.parametrize("odd", ["t={t},{}", "{},t={t}", "{},v1", "{},", "{};v1=00", " {}", "{} ", "v1=00," * 8 + "{}"])
def test_odd_pairs_are_refused_though_a_right_signature_is_among_them(odd: str) -> None:
    right = by_stripe(BODY)["stripe-signature"]
    headers = {"stripe-signature": odd.replace("{t}", str(NOW)).replace("{}", right)}
    assert not believes(verifier(SENDERS["stripe"]), request(headers, BODY))


def test_a_second_way_to_write_the_same_signature_is_none() -> None:
    """The last character of 64 bytes in base64 has four bits that nobody reads."""
    headers = dict(by_key_pair(BODY))
    *_, text = headers["webhook-signature"].partition("v1a,")
    other = text[:-3] + chr(ord(text[-3]) + 1) + "=="
    assert base64.b64decode(text) == base64.b64decode(other)
    headers["webhook-signature"] = f"v1a,{other}"
    assert not believes(verifier(SENDERS["standard-webhooks, v1a"]), request(headers, BODY))


HEADER_NAMES = sorted({name for name in BUILT_IN for proof in PROVIDERS[name].proofs for name in proof.headers})
ANY_HEADERS = st.lists(st.tuples(st.sampled_from(HEADER_NAMES).map(str.encode), st.binary(max_size=60)), max_size=6)


@given(
    st.sampled_from(list(SENDERS)), ANY_HEADERS, st.binary(max_size=80), st.binary(max_size=30), st.binary(max_size=30)
)
def test_whatever_the_request_is_it_is_refused_with_our_own_error(
    name: str, headers: list[tuple[bytes, bytes]], body: bytes, path: bytes, query: bytes
) -> None:
    asked = Request("POST", path, query, headers, body)
    assert not believes(verifier(SENDERS[name]), asked)


def test_send_signs_as_the_sender_does(sender: Sender) -> None:
    """Not the proof of the verifier, but of `send`, which must be believed for the same reason."""
    proofs, body = PROVIDERS[sender.preset].proofs, body_of(sender)
    if sender.secret == WHPK:
        with pytest.raises(ValueError, match="public key"):
            Signer(proofs, sender.secret)
        return
    signed = Signer(proofs, sender.secret).sign(request({}, body), now=NOW)
    assert believes(verifier(sender), request(signed, body))
    if sender.preset in (*VECTORS, "stripe", "slack"):
        assert signed == sender.sign(body)
