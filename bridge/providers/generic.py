"""A sender without a preset: how it signs, and where type, id, time and key are, the variables of its source say.

Payloads are published as they came. JSON objects, arrays of them, arrays inside, forms, and JSON in a form's field.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Fault, Provider
from bridge.providers.generic_settings import HEADER, Settings, faults_of, proof_of
from bridge.providers.passthrough import (
    Fields,
    fallback_type,
    form_fields,
    header,
    inner,
    is_form,
    items,
    json_object,
    make_event,
    text,
)
from bridge.providers.proof import Proof
from bridge.providers.values import utc_time

__all__ = ["Generic"]

_FALLBACK = fallback_type("generic")


class Generic(Provider):
    """The provider, as a source's settings make it."""

    name: str = "generic"
    event_types: tuple[EventType, ...] = (_FALLBACK,)
    open_types: bool = True
    settings: type[msgspec.Struct] | None = Settings
    sample_events: tuple[str, ...] = ("thing.created", "thing.changed")

    def __init__(self, chosen: Settings | None = None) -> None:
        self._chosen = chosen or Settings()
        fields = ("type_from", "id_from", "time_from", "key_from", "subject_from")
        places = [getattr(self._chosen, field) or "" for field in fields]
        names = {place.removeprefix(HEADER).lower() for place in places if place.startswith(HEADER)}
        self.headers = frozenset({"content-type", *names})
        self.proofs: tuple[Proof, ...] = (proof_of(self._chosen),)

    def configured(self, settings: msgspec.Struct | None) -> "Generic":
        """As the source's variables say."""
        return Generic(settings) if isinstance(settings, Settings) else self

    def faults(self, settings: msgspec.Struct | None) -> Iterator[Fault]:
        """What of the variables does not go together."""
        if isinstance(settings, Settings):
            yield from faults_of(settings)

    def decoder(self) -> Decoder:
        """A decoder for those settings."""
        return _Reading(self._chosen).decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A payload that the settings fit."""
        if event not in self.sample_events:
            raise KeyError(event)
        payload: dict[str, Any] = {"data": {"id": 1}}
        for place, value in self._sample_values(event, now):
            if not place.header:
                _put(payload, place.path, value)
        batch: dict[str, Any] = {}
        if path := self._chosen.batch:
            _put(batch, path.split("."), [payload])
        return msgspec.json.encode(batch or payload)

    def sample_headers(self, event: str, body: bytes) -> Mapping[str, str]:  # noqa: ARG002 -- new ones each time
        """What of it the settings look for in headers."""
        places = self._sample_values(event, datetime.now(UTC))
        return {place.header: value for place, value in places if place.header}

    def _sample_values(self, event: str, now: datetime) -> Iterator[tuple["_Place", str]]:
        chosen = self._chosen
        yield _place(chosen.type_from), event
        yield _place(chosen.id_from), str(uuid.uuid4())
        yield _place(chosen.time_from), now.isoformat()
        for setting in {chosen.key_from, chosen.subject_from} - {None, chosen.type_from, chosen.id_from}:
            yield _place(setting), "1"


class _Place(NamedTuple):
    """Where a text is: in a header, or in a payload."""

    header: str
    path: tuple[str, ...]

    def read(self, delivery: Delivery, fields: Fields) -> str:
        """The text; empty where there is none."""
        if self.header:
            return header(delivery, self.header)
        return text(inner(fields, *self.path[:-1]), self.path[-1]) if self.path else ""


def _put(fields: dict[str, Any], path: Sequence[str], value: object) -> None:
    inside: Any = fields
    for name in path[:-1]:
        inside = inside.setdefault(name, {})
        if not isinstance(inside, dict):  # no payload has both a text and something inside it
            return
    inside[path[-1]] = value


def _place(setting: str | None) -> _Place:
    if setting and setting.startswith(HEADER):
        return _Place(setting.removeprefix(HEADER).lower(), ())
    return _Place("", tuple(setting.split(".")) if setting else ())


class _Reading:
    """The settings, compiled."""

    def __init__(self, settings: Settings) -> None:
        self._type, self._id = _place(settings.type_from), _place(settings.id_from)
        self._time, self._key = _place(settings.time_from), _place(settings.key_from)
        self._subject = _place(settings.subject_from)
        self._batch = tuple(settings.batch.split(".")) if settings.batch else ()
        self._form_field = settings.form_field

    def decode(self, delivery: Delivery) -> tuple[Event, ...]:
        """One event a payload."""
        payloads = self._payloads(self._json(delivery))
        return tuple(self._event(delivery, payload, number, len(payloads)) for number, payload in enumerate(payloads))

    def _json(self, delivery: Delivery) -> bytes:
        if not is_form(delivery):
            return delivery.body
        form = form_fields(delivery.body)
        if not self._form_field:
            return msgspec.json.encode(form)
        found = form.get(self._form_field)
        if not isinstance(found, str):
            raise UndecodableBody(f"Expected one form field `{self._form_field}`")
        return found.encode()

    def _payloads(self, body: bytes) -> list[msgspec.Raw]:
        if body.lstrip()[:1] == b"[":
            return items(body)
        fields = json_object(body)
        if self._batch:
            found = bytes(inner(fields, *self._batch[:-1]).get(self._batch[-1], b""))
            if found[:1] == b"[" and found.strip(b"[] \t\r\n"):  # an empty one is no batch
                return items(found)
        return [msgspec.Raw(body)]

    def _event(self, delivery: Delivery, payload: msgspec.Raw, number: int, count: int) -> Event:
        fields = json_object(payload)
        identity = self._id.read(delivery, fields)
        if identity and self._id.header and count > 1:
            identity = f"{identity}:{number}"  # a header's id is the request's: else all but one were its duplicates
        when = self._time.read(delivery, fields)
        return make_event(
            delivery,
            _FALLBACK,
            payload,
            name=self._type.read(delivery, fields),
            identity=identity,
            key=self._key.read(delivery, fields),
            subject=self._subject.read(delivery, fields),
            time=utc_time(_number(when)),
        )


def _number(text: str) -> str | float:
    """A time written with a fraction of a second is a number, too."""
    try:
        return float(text)
    except ValueError:
        return text
