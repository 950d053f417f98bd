"""Chatlevel's JSON as it comes over the wire, all generations in one: what one of them lacks is optional."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = [
    "Auth",
    "Batch",
    "CallData",
    "Connection",
    "Deleted",
    "Envelope",
    "Message",
    "Party",
    "Time",
    "Update",
    "Updated",
]

_MAX_EVENT_NAME_CHARS = 128
_Id = Annotated[str, Meta(min_length=1, max_length=1024)]
_Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float
Time = str | _Number


class Envelope(msgspec.Struct, frozen=True):
    """The whole body."""

    event: Annotated[str, Meta(min_length=1, max_length=_MAX_EVENT_NAME_CHARS)]
    deviceId: Annotated[int, Meta(ge=1, le=2**63 - 1)] | str | None = None  # noqa: N815 -- theirs
    instanceId: str | None = None  # noqa: N815 -- the first generation's
    data: msgspec.Raw = msgspec.Raw(b"{}")
    timestamp: Time | None = None


class Party(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What message and call data have in common."""

    from_: _Id | None = msgspec.field(default=None, name="from")
    to: _Id | None = None
    from_type: str | None = None
    to_type: str | None = None
    lid: str | None = None
    phone_number: str | None = None
    push_name: str | None = None
    timestamp: Time | None = None  # the first generation's messages carry their own


class Message(Party, frozen=True, rename="camel", kw_only=True):
    """data of message.received and message.sent."""

    id: _Id
    content: dict[str, msgspec.Raw] | str
    type: str = "text"


class Batch(msgspec.Struct, frozen=True):
    """The same in the first two generations: several at once."""

    messages: list[msgspec.Raw]


class Update(msgspec.Struct, frozen=True, rename="camel"):
    """What changed: an edit, or in the first generations a status."""

    edited_content: dict[str, msgspec.Raw] | str | None = None
    message_type: str | None = None
    status: str | Annotated[int, Meta(ge=0, le=2**31)] | None = None


class Updated(Party, frozen=True, rename="camel", kw_only=True):
    """data of message.updated."""

    message_id: _Id
    from_me: bool | None = None
    update: msgspec.Raw


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
    date: Time | None = None


class Connection(msgspec.Struct, frozen=True, rename="camel"):
    """data of connection.open, .closed, .timeout and .logout, and of what came before them."""

    display_name: str | None = None
    phone_number: str | None = None
    reason: str | None = None


class Auth(msgspec.Struct, frozen=True, rename="camel"):
    """data of connection.auth: credentials."""

    qr_code: str | None = None
    pairing_code: str | None = None

    def __repr__(self) -> str:
        return "Auth(<credentials hidden>)"
