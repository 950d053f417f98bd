"""Twilio beyond what every provider must do: two facts are never taken for one, and a large form costs once."""

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
