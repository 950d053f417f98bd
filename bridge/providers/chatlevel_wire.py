"""Chatlevel's JSON as it comes over the wire, all generations in one: what one of them lacks is optional.

`null` is the same as absent. Times and device ids stay raw here: an odd one must not refuse the whole body.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = [
    "ABSENT",
    "Auth",
    "Batch",
    "CallData",
    "Closed",
    "Deleted",
    "Empty",
    "Envelope",
    "Open",
    "Party",
    "Received",
    "Sent",
    "Update",
    "Updated",
]

ABSENT = msgspec.Raw(b"null")
"""msgspec has no optional raw fields: what is absent is this, and counts as `null`."""

_Id = Annotated[str, Meta(min_length=1)]
_Content = dict[str, msgspec.Raw] | str


class Envelope(msgspec.Struct, frozen=True):
    """The whole body."""

    event: str
    deviceId: msgspec.Raw = ABSENT  # noqa: N815 -- theirs
    instanceId: msgspec.Raw = ABSENT  # noqa: N815 -- the first generation's
    data: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT


class Party(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The other party of message and call data: whom it is from, unless `Sent` says to whom it goes."""

    party: str | None = msgspec.field(default=None, name="from")
    party_type: str | None = msgspec.field(default=None, name="fromType")
    lid: str | None = None
    phone_number: str | None = None
    timestamp: msgspec.Raw = ABSENT  # the first generation's messages carry their own


class Received(Party, frozen=True, rename="camel", kw_only=True):
    """data of message.received."""

    id: _Id
    push_name: str | None = None
    content: _Content | None = None
    type: str | None = None


class Sent(Party, frozen=True, rename="camel", kw_only=True):
    """data of message.sent."""

    party: str | None = msgspec.field(default=None, name="to")
    party_type: str | None = msgspec.field(default=None, name="toType")
    id: _Id
    content: _Content | None = None
    type: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """data of both in the first two generations: several at once."""

    messages: list[msgspec.Raw]


class Update(msgspec.Struct, frozen=True, rename="camel"):
    """What changed: an edit, or in the first generations a status."""

    edited_content: _Content | None = None
    message_type: str | None = None
    status: str | Annotated[int, Meta(ge=0, le=2**31)] | None = None


class Updated(Party, frozen=True, rename="camel", kw_only=True):
    """data of message.updated."""

    message_id: _Id
    from_me: bool | None = None
    update: msgspec.Raw = ABSENT


class Deleted(Party, frozen=True, rename="camel", kw_only=True):
    """data of message.deleted."""

    message_id: _Id
    from_me: bool | None = None


class CallData(Party, frozen=True, rename="camel", kw_only=True):
    """data of call."""

    id: _Id
    status: str
    is_video: bool | None = None
    is_group: bool | None = None
    date: msgspec.Raw = ABSENT


class Open(msgspec.Struct, frozen=True, rename="camel"):
    """data of connection.open."""

    display_name: str | None = None
    phone_number: str | None = None


class Closed(msgspec.Struct, frozen=True):
    """data of connection.closed; the reason came with the first generation's device.disconnected."""

    reason: str | None = None


class Empty(msgspec.Struct, frozen=True):
    """data of connection.timeout and connection.logout."""


class Auth(msgspec.Struct, frozen=True, rename="camel"):
    """data of connection.auth: credentials."""

    qr_code: str | None = None
    pairing_code: str | None = None

    def __repr__(self) -> str:
        return "Auth(<credentials hidden>)"
