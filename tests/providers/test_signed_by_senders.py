"""Presets against what senders publish: their own libraries sign, and ours must agree, byte for byte."""

import base64
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode

import pytest
import standardwebhooks
import stripe
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import HMAC_SHA256, RequestValidator

from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier
from bridge.providers.signing import Signer
from tests.providers.proving import believes, with_odd

NOW = 1772798300
AT = datetime.fromtimestamp(NOW, UTC)
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SEED = SigningKey(bytes(range(32)))
WHPK = "whpk_" + base64.b64encode(bytes(SEED.verify_key)).decode()
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = '{"test": 2432232314, "text": "ünïcode ☃"}'
PUBLIC_URL = "https://hooks.example.com"
PATH = "/webhooks/x"
AUTH_TOKEN = "8f742231b10e8888abcd99yyyzzz85a5"
FORM = urlencode([("To", "+18005551212"), ("Body", "ünïcode ☃ & more"), ("Empty", ""), ("tag", "b"), ("tag", "a")])
FORM_TYPE = "application/x-www-form-urlencoded"
BODY_HASH = f"bodySHA256={RequestValidator(AUTH_TOKEN).compute_hash(BODY)}"

Sign = Callable[[str], Mapping[str, str]]


class Sender(NamedTuple):
    preset: str
    secret: str
    sign: Sign
    body: str = BODY
    query: str = ""
    content: Mapping[str, str] = {}


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


class Fields(dict[str, list[str]]):
    """A form's fields as web frameworks hand them to Twilio's library."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def by_twilio(form: str) -> Mapping[str, str]:
    fields = Fields(parse_qs(form, keep_blank_values=True))
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC_URL + PATH, fields)
    return {"x-twilio-signature": signature, "content-type": FORM_TYPE}


def by_twilio_with_a_shared_key(form: str) -> Mapping[str, str]:
    fields = Fields(parse_qs(form, keep_blank_values=True))
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC_URL + PATH, fields, HMAC_SHA256)
    return {"x-twilio-signature": signature, "content-type": FORM_TYPE}


def by_twilio_json(_body: str) -> Mapping[str, str]:
    url = f"{PUBLIC_URL}{PATH}?{BODY_HASH}"
    return {"x-twilio-signature": RequestValidator(AUTH_TOKEN).compute_signature(url, {})}


SENDERS = {
    "twilio": Sender("twilio", AUTH_TOKEN, by_twilio, FORM, content={"content-type": FORM_TYPE}),
    "twilio, shared key": Sender(
        "twilio", AUTH_TOKEN, by_twilio_with_a_shared_key, FORM, content={"content-type": FORM_TYPE}
    ),
    "twilio, JSON": Sender("twilio", AUTH_TOKEN, by_twilio_json, query=BODY_HASH),
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
    return VECTORS[sender.preset][1] if sender.preset in VECTORS else sender.body


def request(
    headers: Mapping[str, str] | list[tuple[bytes, bytes]], body: str | bytes, query: str | bytes = b""
) -> Request:
    pairs = headers if isinstance(headers, list) else [(name.encode(), text.encode()) for name, text in headers.items()]
    raw, asked = (text.encode() if isinstance(text, str) else text for text in (body, query))
    return Request("POST", PATH.encode(), asked, pairs, raw)


def signed_by(sender: Sender) -> Request:
    body = body_of(sender)
    return request(sender.sign(body), body, sender.query)


def verifier(sender: Sender, *secrets: str, now: float = NOW) -> Verifier:
    proofs = PROVIDERS[sender.preset].proofs
    return Verifier(proofs, secrets or [sender.secret], public_url=PUBLIC_URL, clock=lambda: now)


@pytest.fixture(params=SENDERS.values(), ids=SENDERS)
def sender(request: pytest.FixtureRequest) -> Sender:
    found: Sender = request.param
    return found


def test_every_preset_is_held_against_its_sender() -> None:
    assert {sender.preset for sender in SENDERS.values()} == {name for name in BUILT_IN if PROVIDERS[name].signs}


def test_what_the_sender_signs_verifies(sender: Sender) -> None:
    assert believes(verifier(sender), signed_by(sender))


def test_every_changed_byte_of_signature_timestamp_id_or_body_is_seen(sender: Sender) -> None:
    check, signed = verifier(sender, now=NOW + 1), signed_by(sender)
    for index, (name, value) in enumerate(signed.headers):
        for place in range(len(value)):
            if value[place : place + 1].isspace() or b"v1,AAAA" in value[: place + 7]:
                continue  # the separator of a list, and its first signature, which is of another kind
            other = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
            headers = list(signed.headers)
            headers[index] = (name, other)
            assert not believes(check, signed._replace(headers=headers)), other
    if sender.preset != "telegram":  # it signs nothing, and says who it is
        for place in range(len(signed.body)):
            other = signed.body[:place] + bytes([signed.body[place] ^ 1]) + signed.body[place + 1 :]
            assert not believes(check, signed._replace(body=other)), other


def test_every_changed_byte_of_a_url_that_is_signed_is_seen(sender: Sender) -> None:
    check, signed = verifier(sender), signed_by(sender)
    if not any(proof.needs_url for proof in PROVIDERS[sender.preset].proofs):
        assert believes(check, signed._replace(path=b"/elsewhere", query=b"x=1")), "and no other is looked at"
        return
    for part in ("path", "query"):
        value = getattr(signed, part)
        for place in range(len(value)):
            other = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
            assert not believes(check, signed._replace(**{part: other})), other


def test_every_other_secret_is_refused(sender: Sender) -> None:
    signed = signed_by(sender)
    for place in range(len("whsec_"), len(sender.secret.rstrip("="))):
        other = sender.secret[:place] + ("B" if sender.secret[place] != "B" else "C") + sender.secret[place + 1 :]
        if sender.secret != WHPK or place < len(WHPK) - 2:  # the last character has bits that nobody reads
            assert not believes(verifier(sender, other), signed), place


def test_a_header_that_is_missing_doubled_empty_or_not_ascii_is_refused(sender: Sender) -> None:
    check, signed = verifier(sender), signed_by(sender)
    for name, _ in signed.headers:
        for headers in with_odd(list(signed.headers), name):
            assert not believes(check, signed._replace(headers=headers)), headers


def test_a_replay_is_seen_outside_the_tolerance(sender: Sender) -> None:
    signed = signed_by(sender)
    timed = any(proof.timestamp is not None for proof in PROVIDERS[sender.preset].proofs)
    assert believes(verifier(sender, now=NOW + 299), signed)
    assert believes(verifier(sender, now=NOW + 301), signed) != timed
    assert believes(verifier(sender, now=NOW - 301), signed) != timed


def test_both_secrets_are_good_during_a_rotation(sender: Sender) -> None:
    newer = "whsec_" + "QUJD" * 8
    signed = signed_by(sender)
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
    for many in (f"{first},{second},v0=aa", "v1=00," * 7 + second):
        assert believes(verifier(SENDERS["stripe"]), request({"stripe-signature": f"t={NOW},{many}"}, BODY))


def test_one_of_two_public_keys_is_enough() -> None:
    """While a sender with a key pair rotates it."""
    other = "whpk_" + base64.b64encode(bytes(SigningKey(bytes(32)).verify_key)).decode()
    for keys in ([WHPK, other], [other, WHPK]):
        check = Verifier(PROVIDERS["standard-webhooks"].proofs, keys, clock=lambda: NOW)
        assert believes(check, request(by_key_pair(BODY), BODY))
    assert not believes(
        Verifier(PROVIDERS["svix"].proofs, [other], clock=lambda: NOW), request(by_key_pair(BODY), BODY)
    )


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
    [
        "1772798300.0",
        "1.7727983e9",
        f"-{NOW}",
        f" {NOW}",
        f"+{NOW}",
        "1_772_798_300",
        "",
        "0x69aabf1c",
        f"{NOW}\xa0",
        f"0{NOW}",
    ],
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
    signer = Signer(proofs, sender.secret, public_url=PUBLIC_URL)
    completed = signer.completed(request(sender.content, body))
    assert completed.query.decode() == sender.query
    signed = {**sender.content, **signer.sign(completed, now=NOW)}
    assert believes(verifier(sender), completed._replace(headers=request(signed, "").headers))
    if sender.preset in (*VECTORS, "stripe", "slack") or sender in (SENDERS["twilio"], SENDERS["twilio, JSON"]):
        assert signed == sender.sign(body)


# Some of it is text: of nothing but separators the library makes the URL alone, which a request of JSON is signed by.
FIELDS = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=8)), min_size=1, max_size=6).filter(
    lambda fields: any(name or value for name, value in fields)
)
BASES = ("https://h.example.com", "https://h.example.com:443", "https://h.example.com:8443", "http://h.example.com")


@given(FIELDS, st.sampled_from(BASES), st.sampled_from(["", ":443", ":8443", ":80"]), st.sampled_from(["", "a=1&b=ü"]))
def test_a_form_is_believed_exactly_when_twilios_library_does(
    fields: list[tuple[str, str]], public_url: str, port: str, query: str
) -> None:
    """Whichever port the sender signs: with the default one, without, or with the one that is called."""
    scheme, _, host = public_url.partition("://")
    rest = f"{PATH}?{query}" if query else PATH
    called = f"{scheme}://{host.partition(':')[0]}{port}{rest}"
    library, form = RequestValidator(AUTH_TOKEN), urlencode(fields)
    params = Fields(parse_qs(form, keep_blank_values=True))
    signature = library.compute_signature(called, params)
    headers = {"x-twilio-signature": signature, "content-type": FORM_TYPE}
    check = Verifier(PROVIDERS["twilio"].proofs, [AUTH_TOKEN], public_url=public_url)
    assert believes(check, request(headers, form, query)) == library.validate(public_url + rest, params, signature)


def test_an_old_request_is_not_a_new_one_whose_id_has_the_beginning_of_its_body() -> None:
    """`id.time.body` is the same text with a later time, where somebody wrote one into the old body."""
    start, end = '{"type":"note","text":"', '{"type":"payment"}'
    key = base64.b64decode(WHSEC.removeprefix("whsec_"))
    for beginning in (f"{ID}.1700000000.{start}", f"{ID}.1700000000.text=", f"{ID}.1700000000.say hello"):
        digest = hmac.digest(key, f"{beginning}.{NOW}.{end}".encode(), "sha256")
        signature = f"v1,{base64.b64encode(digest).decode()}"
        headers = {"webhook-id": beginning, "webhook-timestamp": str(NOW), "webhook-signature": signature}
        assert not believes(verifier(SENDERS["standard-webhooks"]), request(headers, end)), beginning


@pytest.mark.parametrize("preset", ["svix", "standard-webhooks"])
@pytest.mark.parametrize(("sender", "other"), [(standard, "svix-id"), (by_svix, "webhook-id")])
def test_an_id_under_the_other_name_is_the_signed_one_or_the_request_is_refused(
    preset: str, sender: Sign, other: str
) -> None:
    """Else a request could be shown again as another event: which of them names it is the decoder's to say."""
    check, headers = verifier(SENDERS[preset]), sender(BODY)
    assert believes(check, request({**headers, other: ID}, BODY))
    for value in ("msg_another", "", ID + "0"):
        assert not believes(check, request({**headers, other: value}, BODY)), value
    both = [(name.encode(), text.encode()) for name, text in [*headers.items(), (other, ID), (other, "msg_another")]]
    assert not believes(check, request(both, BODY))


@pytest.mark.parametrize("delivery_id", [ID, "evt.1", "urn:uuid:6f0c", "a/b+c==", "1|2", "x@y.example~1", "~", "<1@x>"])
def test_ids_that_senders_make_are_ids(delivery_id: str) -> None:
    assert believes(verifier(SENDERS["standard-webhooks"]), standard_with(by_hand(delivery_id, str(NOW))))
