"""What a registrar is: the code that sets the webhook by one provider's API. A new one is one file with a subclass.

Its provider names it (`Provider.registrar`), as does one of another package. It decides nothing about what to change
and asks nobody: `bridge.cli.register` compares, shows and asks.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from bridge.errors import RegistrationFailed
from bridge.providers.base import Fault
from bridge.registration.api import Api
from bridge.secret import Secret

__all__ = ["BadPlace", "Hook", "Registrar", "Wanted"]

_T = TypeVar("_T")


class BadPlace(ValueError):
    """The user names no places, or none that there could be; the message says what would be right."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be registered.

    Attributes:
        url: that the provider shall call; where a token is in it, a secret.
        secret: that the provider shall sign with, or show.
        events: its own names of them, empty: all; None: as they are.
    """

    url: str
    secret: Secret | None = None
    events: tuple[str, ...] | None = None

    def events_at(self, hook: "Hook") -> tuple[str, ...]:
        """Those that this webhook shall get."""
        return hook.events if self.events is None else tuple(sorted(self.events))


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook at the provider, as it is or as it would be after a change.

    Attributes:
        place: what it is of, in words: `device 480213 (shop)`.
        id: by which the API knows it, or its place; empty: there is none yet.
        url: empty if none is set.
        events: the provider's own names of them, sorted; empty: all.
        details: what else a change touches, in words: name -> value.
        kept: what a change must leave as it is: the API's name -> value.
    """

    place: str
    id: str = ""
    url: str = ""
    events: tuple[str, ...] = ()
    details: Mapping[str, str] = {}
    kept: Mapping[str, Any] = {}


class Registrar(ABC):
    """One provider's API. An instance is for one run of the command; every method may raise `RegistrationFailed`.

    Attributes:
        api_url: where the API is; `--api` is another place that speaks it.
        credential: what API_TOKEN is, in words.
        places: what the places are called that a webhook is set at, as in `--help`; empty: there is only one.
        at_devices: whether these are what BRIDGE_SOURCE_<NAME>_DEVICES lists.
        several: whether a place has any number of webhooks. If not, a new one takes the place of another's.
        known_events: all that there are, where that is documented and few.
        all_events: what "all" means, in words.
        per_minute: how many requests the API takes in a minute, where it says so.
    """

    api_url: ClassVar[str]
    credential: ClassVar[str]
    places: ClassVar[str] = ""
    at_devices: ClassVar[bool] = False
    several: ClassVar[bool] = False
    known_events: ClassVar[tuple[str, ...]] = ()
    all_events: ClassVar[str] = "all"
    per_minute: ClassVar[int | None] = None

    def __init__(self, api: Api, token: Secret) -> None:
        self.api = api
        self.token = token

    @classmethod
    def headers(cls, token: Secret) -> Mapping[str, str]:
        """Of each request: who we are."""
        return {"authorization": f"Bearer {token.reveal()}"}

    def read(self, answer: object, form: type[_T], *, does: str = "answers") -> _T:
        """The API's JSON, as documented.

        Args:
            answer: what it said.
            form: what that should be.
            does: what it does by that, in words.

        Raises:
            RegistrationFailed: it is anything else.
        """
        try:
            return msgspec.convert(answer, form)
        except msgspec.ValidationError as error:
            raise RegistrationFailed(f"{self.api.host} {does} in another form than documented: {error}") from None

    def faults(self, wanted: Wanted) -> Iterator[Fault]:  # noqa: ARG002 -- most take anything
        """What of it the provider would not take, by the source's field; asked before any request."""
        yield from ()

    @abstractmethod
    def find(self, where: tuple[str, ...]) -> Mapping[str, tuple[Hook, ...]]:
        """What is registered now: place, in words -> its webhooks.

        Args:
            where: as the user names the places; none: all there are, where the API lists them.

        Raises:
            BadPlace: before any request.
        """

    @abstractmethod
    def changed(self, hook: Hook, wanted: Wanted) -> Hook:
        """What `write` would make of it; no request."""

    @abstractmethod
    def write(self, before: Hook, after: Hook, secret: Secret | None) -> None:
        """Change it, or make it where `before` has no id, and lose nothing else."""

    @abstractmethod
    def remove(self, hook: Hook) -> None:
        """So that nothing is sent to its URL any more."""
