"""What a provider is: the code for one sender's format. A new provider is one file with a subclass of `Provider`.

Providers know no broker, no topic and no HTTP server. They get raw bytes that are already proven genuine
and answer with normalised events. What most senders have in common is in `passthrough`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Self

import msgspec

from bridge.events.model import Event, EventType
from bridge.providers.proof import URL_TOKEN, Proof
from bridge.providers.request import Handshake

__all__ = ["Decoder", "Delivery", "Fault", "Provider"]


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
"""Turns a delivery into its events, most often one, never none: of a batch one for each item.

Synchronous and pure. Raises `UndecodableBody` for anything that is not the provider's format, and nothing else,
whatever the bytes are.
"""


class Fault(NamedTuple):
    """What is wrong with one of a provider's own settings.

    Attributes:
        field: its name in the struct.
        found: what it holds, in words; never a secret's value.
        expected: what would be right.
    """

    field: str
    found: str
    expected: str


class Provider(ABC):
    """One sender's format. Everything here is read at start, once per source.

    Attributes:
        name: as in BRIDGE_SOURCES, and the domain of the types of senders whose payloads are published as they are.
        event_types: every type it can make, the fallback type (`unknown`) last.
        open_types: whether it makes further ones that its payloads name, by `events.open_types.open_type`.
        proofs: how its requests are proven, any of them; the secrets are BRIDGE_SOURCE_<NAME>_SECRET.
        headers: that its decoder reads, in lower case: they are kept with dead letters, for without them a
            delivery cannot be decoded again later; none may hold a credential.
        success_status: of an answer that says success.
        any_2xx: whether the provider counts every 2xx as success, and not that one alone.
        deadline_ms: the latest answer, below the provider's own timeout.
        retry_plan_s: seconds between its attempts; empty if it never retries.
        settings: further variables of a source of this provider, a struct such as
            `config.source_settings.SourceConfig`: each field is BRIDGE_SOURCE_<NAME>_<FIELD>, with a default.
        registrar: where `register` finds the `bridge.registration.Registrar` that sets the webhook by the provider's
            API, `package.module:Class`; its credential is `api_token` of `settings`. Empty: there is no such API.
        sample_events: the provider's own event names that `sample` knows; the first is the usual one.
    """

    name: str
    event_types: tuple[EventType, ...]
    open_types: bool = False
    proofs: tuple[Proof, ...] = (URL_TOKEN,)
    headers: frozenset[str] = frozenset()
    success_status: int = 200
    any_2xx: bool = True
    deadline_ms: int = 3000
    retry_plan_s: tuple[int, ...] = ()
    settings: type[msgspec.Struct] | None = None
    registrar: str = ""
    sample_events: tuple[str, ...]

    @property
    def signs(self) -> bool:
        """Whether its requests are proven by a secret of the source, rather than by a token in the URL."""
        return URL_TOKEN not in self.proofs

    def configured(self, settings: msgspec.Struct | None) -> Self:  # noqa: ARG002 -- for those that have settings
        """The provider as a source's settings make it; one without settings is what it is.

        Args:
            settings: an instance of `settings`, None where there is none.
        """
        return self

    def faults(self, settings: msgspec.Struct | None) -> Iterator[Fault]:  # noqa: ARG002 -- as above
        """What is wrong with settings that are each of the right type."""
        yield from ()

    @abstractmethod
    def decoder(self) -> Decoder:
        """A decoder with everything derivable derived; called once per source at start."""

    def handshakes(self) -> Mapping[str, Handshake]:
        """By method, what answers requests that carry no event; only that of POST is asked after the proof."""
        return {}

    @abstractmethod
    def sample(self, event: str, *, now: datetime) -> bytes:
        """A realistic body of the provider's own event name, new ids and `now` as its time, for `send`.

        Raises:
            KeyError: the provider has no such event.
        """

    def sample_headers(self, event: str, body: bytes) -> Mapping[str, str]:  # noqa: ARG002 -- most need none
        """What the provider sends along with a body, but for the proof."""
        return {"content-type": "application/json"}
