"""The normalised event: what every provider makes and every publisher's record is encoded from.

Not here: how an event looks on the wire (`cloudevents`) and what the data of a type holds
(one module per domain, such as `messaging`).
"""

from datetime import datetime
from functools import cached_property

import msgspec

__all__ = ["Event", "EventType"]


class EventType(msgspec.Struct, frozen=True, dict=True):
    """One kind of fact, with the schema of its data.

    Attributes:
        domain: the vocabulary, `messaging`; for pass-through providers their own name.
        name: the type inside the domain, dotted: `message.received`. Topics are named by it.
        data: the struct of the event's `data`; its JSON Schema is generated from it.
        version: `major.minor` of the schema. Within a major only optional additions.
        sensitive: the data holds credentials: never shown, matched by no glob route, expires.
        schema: the schema's name where several types share one; empty: the type's own.
    """

    domain: str
    name: str
    data: type[msgspec.Struct]
    version: str = "1.0"
    sensitive: bool = False
    schema: str = ""

    @cached_property
    def ce_type(self) -> str:
        """The CloudEvents `type`: domain, name and the schema's major."""
        return f"{self.domain}.{self.name}.v{self.version.partition('.')[0]}"

    @cached_property
    def dataschema(self) -> str:
        """The CloudEvents `dataschema` and the schema's `$id`: the same on every deployment."""
        return f"urn:webhook-bridge:schema:{self.domain}:{self.schema or self.name}:v{self.version}"

    @property
    def schema_path(self) -> str:
        """Where the schema lies below `schemas/`."""
        return f"{self.domain}/{self.schema or self.name}/v{self.version}.json"


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One normalised fact.

    Whatever the payload says, `id`, `device`, `subject` and `contact` are printable ASCII of at most 256 characters.

    Attributes:
        id: stable event id: the same on each of the provider's retries, different for different facts.
        type: which kind of fact.
        device: the natural key, as text (`480213`), never empty; becomes the record's key and part of `source`.
        subject: the object the event is about (a message or call id); no personal data.
        contact: the other party's identifier where there is one; for opt-in keys only.
        time: when it happened, by the provider's clock, UTC.
        recordedtime: when the bridge received it, UTC.
        expirytime: when the content stops being of use (pairing codes), else None.
        data: an instance of `type.data`; where a provider's payload is published as it is, that payload's JSON.
        drift: paths of fields that the schema does not know (kept under `data.extra`): few, short, printable ASCII.
    """

    id: str
    type: EventType
    device: str
    time: datetime
    recordedtime: datetime
    data: msgspec.Struct | msgspec.Raw
    subject: str | None = None
    contact: str | None = None
    expirytime: datetime | None = None
    drift: tuple[str, ...] = ()
