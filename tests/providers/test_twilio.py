"""Twilio beyond what every provider must do: two facts are never taken for one."""

from urllib.parse import urlencode

import pytest

from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
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
