"""Twilio beyond what every provider must do: two facts are never taken for one, and a large form costs once."""

import hmac
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from bridge.errors import VerificationFailed
from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier
from tests.providers.goldens import RECEIVED_AT
from tests.providers.proving import believes


def event_of(fields: dict[str, str], attempt: bytes) -> Event:
    headers = {b"content-type": b"application/x-www-form-urlencoded", b"i-twilio-idempotency-token": attempt}
    (event,) = PROVIDERS["twilio"].decoder()(Delivery(urlencode(fields).encode(), headers, RECEIVED_AT))
    return event


@pytest.mark.parametrize(
    "fields",
    [
        {"EventType": "message.new", "MessageSid": "SM1"},
        {"EventType": "message.new", "ChannelPrefix": "whatsapp"},
        {"StatusCallbackEvent": "stream-started", "SequenceNumber": "1"},
    ],
    ids=["a message in no state", "a channel alone", "a number of nobody"],
)
def test_what_names_no_fact_that_happens_once_is_told_apart_by_its_delivery(fields: dict[str, str]) -> None:
    first, second = (event_of(fields, token) for token in (b"one", b"two"))
    assert first.id != second.id
    assert first.id == event_of(fields, b"one").id, "another attempt"


def is_believed(form: bytes, signed: str, kind: bytes = b"application/x-www-form-urlencoded") -> bool:
    """Of a form for which the right secret signed this text."""
    signature = b64encode(hmac.digest(b"one-secret-51c9", f"https://h.example.com/webhooks/x{signed}".encode(), "sha1"))
    check = Verifier(PROVIDERS["twilio"].proofs, ["one-secret-51c9"], public_url="https://h.example.com")
    headers = [(b"x-twilio-signature", signature), (b"content-type", kind)]
    return believes(check, Request("POST", b"/webhooks/x", b"", headers, form))


@pytest.mark.parametrize(
    "kind", [b"application/x-www-form-urlencoded", b"Application/X-WWW-Form-URLencoded ; charset=UTF-8"]
)
def test_a_form_is_one_however_its_kind_is_written(kind: bytes) -> None:
    assert is_believed(b"B=2&A=1&A=0", "A0A1B2", kind)
    assert is_believed(
        b"&".join(b"A=%d" % number for number in range(1000)), "".join(sorted(f"A{n}" for n in range(1000)))
    )


@pytest.mark.parametrize(
    ("form", "signed"),
    [
        (b"a", "a"),
        (b"a=1&b", "a1b"),
        (b"a=%FF", "a\ufffd"),
        (b"a=\xff", "a\ufffd"),
        (b"&".join([b"a=1"] * 1001), "a1"),
    ],
    ids=["no pair", "half a pair", "no UTF-8, escaped", "no UTF-8", "too many fields"],
)
def test_what_is_no_form_is_refused_though_it_is_signed(form: bytes, signed: str) -> None:
    assert not is_believed(form, signed)


def test_a_form_is_read_once_whatever_it_may_be_signed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one takes tens of milliseconds, of whoever knows the URL and has no secret."""
    read = 0

    def counted(*arguments: Any, **options: Any) -> list[tuple[str, str]]:
        nonlocal read
        read += 1
        return parse_qsl(*arguments, **options)

    monkeypatch.setattr("bridge.providers.signed.parse_qsl", counted)
    check = Verifier(
        PROVIDERS["twilio"].proofs, ["one-secret-51c9", "another-51c9"], public_url="https://h.example.com"
    )
    headers = [(b"x-twilio-signature", b"AAAA"), (b"content-type", b"application/x-www-form-urlencoded")]
    with pytest.raises(VerificationFailed, match="no signature"):
        check.verify(Request("POST", b"/webhooks/x", b"", headers, b"A=read-once&B=2"))
    assert read == 1
