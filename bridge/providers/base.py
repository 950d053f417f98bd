"""What a provider is: the code for one sender's format. A new provider is one file that fulfils `Provider`.

Providers know no broker, no topic and no HTTP server. They get raw bytes that are already proven genuine
and answer with normalised events.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from bridge.events.model import Event, EventType

__all__ = ["Decoder", "Delivery", "Provider"]


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One webhook request after its checks, before its meaning.

    Attributes:
        body: the raw bytes as received.
        headers: lower-case name -> value as received, bytes; of a repeated header the last one.
        received_at: when the request came in, UTC.
    """

    body: bytes
    headers: Mapping[bytes, bytes]
    received_at: datetime


Decoder = Callable[[Delivery], tuple[Event, ...]]
"""Turns a delivery into its events, most often one, never none.

Synchronous and pure. Raises `UndecodableBody` for anything that is not the provider's format, and nothing else,
whatever the bytes are.
"""


class Provider(Protocol):
    """One sender's format.

    Attributes:
        name: as in BRIDGE_SOURCES.
        event_types: every type it can make, the fallback type (`unknown`) last.
        open_types: whether it makes further ones that its payloads name, by `events.open_types.open_type`.
        success_status: the one status the provider counts as success.
        retry_plan_s: seconds between its attempts; empty if it never retries.
        sample_events: the provider's own event names that `sample` knows; the first is the usual one.
    """

    name: str
    event_types: tuple[EventType, ...]
    open_types: bool
    success_status: int
    retry_plan_s: tuple[int, ...]
    sample_events: tuple[str, ...]

    def decoder(self) -> Decoder:
        """A decoder with everything derivable derived; called once per source at start."""
        ...

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A realistic body of the provider's own event name, new ids and `now` as its time, for `send`.

        Raises:
            KeyError: the provider has no such event.
        """
        ...
