"""Our events, read by the official CloudEvents SDK."""

import json
from datetime import UTC, datetime

import cloudevents
import pytest

from bridge.events.cloudevents import CONTENT_TYPE, StructuredEncoder, record_headers
from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def event(name: str = "message.received") -> Event:
    provider = PROVIDERS["chatlevel"]
    (made,) = provider.decoder()(Delivery(provider.sample(name, now=NOW), {}, NOW))
    return made
