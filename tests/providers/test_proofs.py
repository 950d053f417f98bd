"""Verifiers from data, held against the vectors that senders publish and against everything odd."""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from bridge.errors import VerificationFailed
from bridge.providers.grammars import reader
from bridge.providers.proof import URL_TOKEN, Pairs, Plain, Proof, SecretForm, Timestamp, Versions
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier
from tests.providers.proving import believes, with_odd

WHSEC = SecretForm("base64", "whsec_")
STANDARD = Proof(
    scheme="hmac-sha256",
    header="webhook-signature",
    grammar=Versions("v1"),
    encoding="base64",
    signed="{id}.{timestamp}.{body}",
    id_header="webhook-id",
    timestamp=Timestamp("webhook-timestamp"),
    secret=WHSEC,
)
PREFIXED = Proof(scheme="hmac-sha256", header="x-hub-signature-256", grammar=Plain("sha256="))
SLACK = Proof(
    scheme="hmac-sha256",
    header="x-slack-signature",
    grammar=Plain("v0="),
    signed="v0:{timestamp}:{body}",
    timestamp=Timestamp("x-slack-request-timestamp"),
)
PAIRS = Proof(
    scheme="hmac-sha256",
    header="stripe-signature",
    grammar=Pairs("v1", "t"),
    signed="{timestamp}.{body}",
    timestamp=Timestamp(),
)
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&"
    b"user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14"
    b"d10d2c447fce8b6703c"
)


class Vector(NamedTuple):
    """What a sender's own documentation or library says is right."""

    proof: Proof
    secret: str
    headers: Mapping[str, str]
    body: bytes
    at: float = 0.0
    public_url: str | None = None
    path: bytes = b"/webhooks/x"
    query: bytes = b""


VECTORS = {
    "github": Vector(
        PREFIXED,
        "It's a Secret to Everybody",
        {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        b"Hello, World!",
    ),
    "standard-webhooks": Vector(
        STANDARD,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
        1614265330,
    ),
    "slack": Vector(
        SLACK,
        "8f742231b10e8888abcd99yyyzzz85a5",
        {
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "x-slack-request-timestamp": "1531420618",
        },
        SLACK_BODY,
        1531420618,
    ),
    "twilio": Vector(
        Proof(scheme="hmac-sha1", header="x-twilio-signature", encoding="base64", signed="{url}{form}"),
        "12345",
        {
            "x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
            "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
        },
        b"To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&Digits=1234&CallSid=CA1234567890ABCDE",
        public_url="https://mycompany.com/",
        path=b"/myapp.php",
        query=b"foo=1&bar=2",
    ),
    "twilio, JSON": Vector(
        Proof(scheme="hmac-sha1", header="x-twilio-signature", encoding="base64", signed="{url:bodySHA256}"),
        "12345",
        {"x-twilio-signature": "a9nBmqA0ju/hNViExpshrM61xv4="},
        b'{"property": "value", "boolean": true}',
        public_url="https://mycompany.com",
        path=b"/myapp.php",
        query=b"foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
    ),
    "waha": Vector(
        Proof(scheme="hmac-sha512", header="x-webhook-hmac"),
        "my-secret-key",
        {
            "x-webhook-hmac": "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8"
            "097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89"
        },
        b'{"event":"message","session":"default","engine":"WEBJS"}',
    ),
    "hubspot": Vector(
        Proof(
            scheme="hmac-sha256",
            header="x-hubspot-signature-v3",
            encoding="base64",
            signed="{method}{url}{body}{timestamp}",
            timestamp=Timestamp("x-hubspot-request-timestamp", "ms"),
        ),
        "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        {
            "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
            "x-hubspot-request-timestamp": "1693657560000",
        },
        b"{'example_field':'example_value'}",
        1693657560,
        public_url="https://www.example.com",
        path=b"/webhook_uri",
    ),
}


def verifier(vector: Vector, *, secrets: tuple[str, ...] | None = None, later_s: float = 0) -> Verifier:
    return Verifier(
        [vector.proof],
        [vector.secret] if secrets is None else secrets,
        public_url=vector.public_url,
        clock=lambda: vector.at + later_s,
    )


def request(vector: Vector, **changed: object) -> Request:
    headers = [(name.encode(), value.encode()) for name, value in vector.headers.items()]
    return Request("POST", vector.path, vector.query, headers, vector.body)._replace(**changed)


@pytest.fixture(params=VECTORS.values(), ids=VECTORS)
def vector(request: pytest.FixtureRequest) -> Vector:
    found: Vector = request.param
    return found


def test_what_the_sender_publishes_verifies(vector: Vector) -> None:
    assert believes(verifier(vector), request(vector))


def test_any_other_byte_of_the_body_does_not(vector: Vector) -> None:
    check = verifier(vector)
    for place in range(len(vector.body)):
        body = bytearray(vector.body)
        body[place] ^= 1
        assert not believes(check, request(vector, body=bytes(body))), place
    assert not believes(check, request(vector, body=vector.body[:-1]))
    assert not believes(check, request(vector, body=vector.body + b"\n"))


def test_any_other_byte_of_a_header_that_is_read_does_not(vector: Vector) -> None:
    check = verifier(vector, later_s=1)
    for name in vector.proof.headers:
        value = vector.headers[name].encode()
        for place in range(len(value)):
            for other in {value[place] ^ 1, value[place] ^ 0x80, ord("=")} - {value[place]}:
                changed = value[:place] + bytes([other]) + value[place + 1 :]
                headers = [(key, changed if key == name.encode() else old) for key, old in request(vector).headers]
                assert not believes(check, request(vector, headers=headers)), (name, changed)


SIGN_URLS = {name: vector for name, vector in VECTORS.items() if vector.proof.needs_url}


@pytest.mark.parametrize("name", SIGN_URLS)
def test_any_other_byte_of_the_url_does_not(name: str) -> None:
    vector = SIGN_URLS[name]
    check = verifier(vector)
    for part in ("path", "query"):
        value = getattr(vector, part)
        for place in range(len(value)):
            changed = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
            assert not believes(check, request(vector, **{part: changed})), changed
        assert not believes(check, request(vector, **{part: value + b"x"}))
    assert vector.public_url is not None
    for place in range(len("https://"), len(vector.public_url.rstrip("/"))):
        letter = "x" if vector.public_url[place] != "x" else "y"
        other = vector.public_url[:place] + letter + vector.public_url[place + 1 :]
        assert not believes(verifier(vector._replace(public_url=other)), request(vector)), other


@pytest.mark.parametrize(
    "query",
    [
        b"foo=1&bar=2",
        b"foo=1&bar=2&bodySHA256=",
        b"foo=1&bar=2&bodySHA256",
        b"foo=1&bar=2&bodysha256={}",
        b"foo=1&bar=2&bodySHA256={}&bodySHA256={}",
        b"foo=1&bar=2&bodySHA256=00&bodySHA256={}",
        b"foo=1&bar=2&bodySHA256={}0",
        b"foo=1&bar=2&bodySHA256={}%20",
    ],
)
def test_a_body_whose_hash_is_not_once_in_the_url_is_refused_though_the_url_is_signed(query: bytes) -> None:
    """Signed with the right secret whatever the query is."""
    vector = VECTORS["twilio, JSON"]
    query = query.replace(b"{}", vector.query[-64:])
    signature = b64encode(hmac.digest(b"12345", b"https://mycompany.com/myapp.php?" + query, "sha1"))
    headers = [(b"x-twilio-signature", signature)]
    assert not believes(verifier(vector), request(vector, headers=headers, query=query))
    right = vector.query
    signature = b64encode(hmac.digest(b"12345", b"https://mycompany.com/myapp.php?" + right, "sha1"))
    assert believes(verifier(vector), request(vector, headers=[(b"x-twilio-signature", signature)]))


def test_the_beginning_of_a_signed_body_is_no_part_of_the_url() -> None:
    """URL and body are signed as one text, which somebody could divide elsewhere."""
    proof = Proof(scheme="hmac-sha256", header="x-signature", signed="{method}{url}{body}")
    check = Verifier([proof], ["a-secret-of-the-sender"], public_url="https://hooks.example.com")
    start, end = b'{"note":"', b'{"type":"payment"}'
    signed = b"POSThttps://hooks.example.com/webhooks/g?a=1" + start + end
    signature = hmac.digest(b"a-secret-of-the-sender", signed, "sha256").hex().encode()
    headers = [(b"x-signature", signature)]
    assert believes(check, Request("POST", b"/webhooks/g", b"a=1", headers, start + end))
    assert not believes(check, Request("POST", b"/webhooks/g", b"a=1" + start, headers, end))


def test_any_other_secret_does_not(vector: Vector) -> None:
    place_of_key = len(vector.proof.secret.prefix)
    for place in range(place_of_key, len(vector.secret)):
        other = "B" if vector.secret[place] != "B" else "C"
        changed = vector.secret[:place] + other + vector.secret[place + 1 :]
        assert not believes(verifier(vector, secrets=(changed,)), request(vector))


def test_a_header_that_is_missing_doubled_empty_or_not_ascii_does_not(vector: Vector) -> None:
    check, headers = verifier(vector), list(request(vector).headers)
    for name in (name.encode() for name in vector.proof.headers):
        for odd in with_odd(headers, name):
            assert not believes(check, request(vector, headers=odd)), odd


@pytest.mark.parametrize(
    ("grammar", "form"),
    [(Plain("sha256="), "sha256=…"), (Pairs("v1", "t"), "t=…,v1=…"), (Versions("v1"), "v1,…")],
)
def test_a_header_of_another_form_is_told_which_it_should_have(grammar: Plain | Pairs | Versions, form: str) -> None:
    read = reader(Proof(scheme="hmac-sha256", header="x-sig", grammar=grammar))
    with pytest.raises(VerificationFailed, match=f"^the header x-sig is not of the form {form}$"):
        read(b"5d41402abc4b2a76")


def test_both_secrets_of_a_rotation_are_valid_until_one_is_taken_away(vector: Vector) -> None:
    newer = {"base64": "whsec_" + "QUJD" * 8, "text": "another-secret-of-tomorrow"}[vector.proof.secret.encoding]
    check = verifier(vector, secrets=(newer, vector.secret))
    assert believes(check, request(vector))
    with pytest.raises(ValueError, match="empty"):
        check.replace([""] if vector.proof.secret.encoding == "text" else ["whsec_"])
    assert believes(check, request(vector))
    check.replace([newer])
    assert not believes(check, request(vector))


TIMED = {name: vector for name, vector in VECTORS.items() if vector.proof.timestamp}


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize(("later_s", "fresh"), [(300, True), (300.1, False), (-300, True), (-300.1, False)])
def test_a_replay_is_believed_inside_the_tolerance_alone(name: str, later_s: float, *, fresh: bool) -> None:
    assert believes(verifier(TIMED[name], later_s=later_s), request(TIMED[name])) == fresh


def test_no_secret_or_an_empty_one_is_refused_at_the_start(vector: Vector) -> None:
    for secrets in ((), ("",), (vector.secret, "")):
        with pytest.raises(ValueError, match="secret"):
            verifier(vector, secrets=secrets)


@pytest.mark.parametrize(
    ("proof", "fault"),
    [
        (Proof(scheme="hmac-sha256", header="x-s", signed="{id}"), "the body is not signed"),
        (Proof(scheme="hmac-sha256", header="x-s", signed="{id}{body}"), "{id} and id_header"),
        (
            Proof(scheme="hmac-sha256", header="x-s", timestamp=Timestamp("x-t")),
            "one that is not signed proves nothing",
        ),
        (Proof(scheme="hmac-sha256", header="x-s", signed="{timestamp}{body}", timestamp=Timestamp()), "in Pairs"),
        (Proof(scheme="hmac-sha256", header="x-s", signed="{body}{hody}"), "{hody}"),
        (Proof(scheme="hmac-sha256", header="X-S"), "no name in lower case"),
        (Proof(scheme="hmac-sha256"), "names no header"),
        (Proof(scheme="equal"), "names no header"),
        (Proof(scheme="hmac-sha1", header="x-sig", signed="{url}"), "the body is not signed"),
        (Proof(scheme="hmac-sha1", header="x-sig", signed="{url:}"), "the body is not signed"),
        (Proof(scheme="hmac-sha1", header="x-sig", signed="{url:a&b}"), "{url:a&b} stands for nothing"),
        (Proof(scheme="hmac-sha1", header="x-sig", signed="{body!r}"), "{body!r} stands for nothing"),
        (Proof(scheme="hmac-sha1", header="x-sig", signed="{form:x}"), "{form:x} stands for nothing"),
    ],
)
def test_a_proof_that_would_believe_too_much_is_refused_at_the_start(proof: Proof, fault: str) -> None:
    with pytest.raises(ValueError, match="is none: ") as raised:
        Verifier([proof], ["a-secret"])
    assert fault in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"{}", b"&", b"a", b"=", b"=&="])
@pytest.mark.parametrize("kind", [b"application/x-www-form-urlencoded", b"application/json"])
def test_a_signature_over_the_url_alone_does_not_do_for_a_body_that_is_no_form(body: bytes, kind: bytes) -> None:
    """Else a signature that the sender made for another request would prove any body."""
    vector = VECTORS["twilio"]
    signature = b64encode(hmac.digest(vector.secret.encode(), b"https://mycompany.com/myapp.php?foo=1&bar=2", "sha1"))
    headers = [(b"x-twilio-signature", signature), (b"content-type", kind)]
    assert not believes(verifier(vector), request(vector, headers=headers, body=body))


SHOWN = {
    "equal": (Proof(scheme="equal", header="x-secret"), "s3cret", [(b"x-secret", b"s3cret")]),
    "bearer": (Proof(scheme="bearer"), "s3cret", [(b"authorization", b"Bearer s3cret")]),
    "basic": (Proof(scheme="basic"), "me:s3cret", [(b"authorization", b"basic bWU6czNjcmV0")]),
    "url-token": (URL_TOKEN, "s3cret", []),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_secret_that_is_shown_is_compared_whole(name: str) -> None:
    proof, secret, headers = SHOWN[name]
    check = Verifier([proof], [secret, "me:of-tomorrow"])
    shown = Request("POST", b"/webhooks/x" + (b"/s3cret" if name == "url-token" else b""), b"", headers)

    assert not check.needs_body
    assert believes(check, shown)
    assert not believes(check, shown._replace(path=b"/webhooks/x", headers=[]))
    if headers:
        ((key, value),) = headers
        for wrong in ([(key, value)] * 2, [(key, b"")], [(key, value + b"t")], [(key, value[:-1])], [(key, b"\xff")]):
            assert not believes(check, shown._replace(headers=wrong))
    else:
        for path in (
            b"/webhooks/x/",
            b"/webhooks/x/s3cre",
            b"/webhooks/x/s3crett",
            b"/webhooks/x/S3cret",
            b"/x/s3cret",
        ):
            assert not believes(check, shown._replace(path=path))
        assert believes(check, shown._replace(query=b"x=1&token=of-another"))
        assert believes(check, shown._replace(path=b"/webhooks/x", query=b"x=1&token=s3cret"))
        for query in (
            b"x=1&token=other&token=s3cret",
            b"token=%FF",
            b"token=%E2%98%83",
            b"token=\xff&access_token=s3cret",
        ):
            assert not believes(check, shown._replace(path=b"/webhooks/x", query=query))


def test_of_several_proofs_each_gets_what_it_needs() -> None:
    """Those that need the body or the URL, beside those that do not."""
    url = Proof(scheme="hmac-sha256", header="x-sig", signed="{url}{body}")
    for proofs in ([URL_TOKEN, url, PREFIXED], [url, PREFIXED, URL_TOKEN]):
        check = Verifier(proofs, ["a-secret-of-several"], public_url="https://hooks.example.com")
        assert check.needs_body
        assert not check.needs_peer
        for name, prefix, signed in (
            ("x-sig", "", "https://hooks.example.com/webhooks/x{}"),
            (PREFIXED.header, "sha256=", "{}"),
        ):
            signature = prefix + hmac.digest(b"a-secret-of-several", signed.encode(), "sha256").hex()
            assert believes(check, Request("POST", b"/webhooks/x", b"", [(name.encode(), signature.encode())], b"{}"))
        with pytest.raises(VerificationFailed, match="no signature is that of"):  # of the one that came nearest
            check.verify(Request("POST", b"/webhooks/x", b"", [(b"x-sig", b"00")], b"{}"))
    assert Verifier([URL_TOKEN, url], ["a-secret-of-several"], trusted_proxies=["10.0.0.7"]).needs_peer
    assert not Verifier([URL_TOKEN], ["a-secret-of-several"]).needs_body


@pytest.mark.parametrize("fitting", [0, 1, None])
def test_time_does_not_tell_which_secret_fits(fitting: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is compared with each, and by the one comparison that takes the same time for any bytes."""
    compared: list[bytes] = []
    real = hmac.compare_digest

    def compare(first: bytes, second: bytes) -> bool:
        compared.append(first)
        return real(first, second)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secrets = ["one-secret-51c9", "another-secret-51c9"]
    signatures = [hmac.digest(secret.encode(), b"{}", "sha256").hex() for secret in secrets]
    shown = "none" if fitting is None else signatures[fitting]
    pairs = Proof(scheme="hmac-sha256", header="x-sig", grammar=Versions("v1"))
    header = f"v1,{shown} v1,x"
    believed = believes(Verifier([pairs], secrets), Request("POST", b"/", b"", [(b"x-sig", header.encode())], b"{}"))
    assert believed == (fitting is not None)
    assert len(compared) >= 8, "twice four: once verified, once explained"
    assert compared == [expected.encode() for expected in signatures for _ in range(2)] * (len(compared) // 4)
    compared.clear()
    shown = "none" if fitting is None else secrets[fitting]
    equal = Request("POST", b"/", b"", [(b"x-sig", shown.encode())])
    assert believes(Verifier([Proof(scheme="equal", header="x-sig")], secrets), equal) == (fitting is not None)
    assert len(compared) == 4, "twice two: once verified, once explained"


def test_a_doubled_body_is_told_to_be_changed_and_no_secret_is_shown() -> None:
    vector = VECTORS["github"]
    steps = verifier(vector).explain(request(vector, body=vector.body + b"\n"))

    assert "without its last line end would" in steps[-1].found
    assert vector.secret not in str(steps)
    assert vector.secret not in repr(verifier(vector))
