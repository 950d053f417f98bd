"""A provider that is nothing but its attributes: for tests of what reads them."""

from datetime import datetime
from typing import Any

from bridge.events.messaging import TYPES
from bridge.providers.base import Decoder, Provider

__all__ = ["StubProvider"]


class StubProvider(Provider):
    event_types = TYPES
    sample_events = ()

    def __init__(self, name: str, **attributes: Any) -> None:
        self.name = name
        vars(self).update(attributes)

    def decoder(self) -> Decoder:
        raise NotImplementedError

    def sample(self, event: str, *, now: datetime) -> bytes:
        raise KeyError(event)
