"""The `messaging` vocabulary: what WhatsApp gateways have in common, whichever sent the webhook.

Data is snake_case. What is not known is null, never absent. A field the schema does not know is kept under `extra`.
Within a major only optional fields are added (`schemas/README.md`).
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bridge.events.model import EventType

__all__ = [
    "TYPES",
    "Call",
    "ConnectionAuth",
    "ConnectionClosed",
    "ConnectionLogout",
    "ConnectionOpen",
    "ConnectionTimeout",
    "Contact",
    "MessageDeleted",
    "MessageReceived",
    "MessageSent",
    "MessageStatus",
    "MessageUpdated",
    "Unknown",
]

DeviceId = Annotated[
    str, Meta(description="The gateway's id of the connected device, as text.", examples=["480213"], min_length=1)
]
MessageId = Annotated[
    str, Meta(description="The message's id in WhatsApp.", examples=["3EB0A1B2C3D4E5F60718"], min_length=1)
]
Content = Annotated[
    dict[str, Any],
    Meta(
        description="What was written, an open object: `text` for text messages; other kinds have other fields.",
        examples=[{"text": "Bom dia!"}],
    ),
]
MessageType = Annotated[str, Meta(description="The kind of content; new kinds may come.", examples=["text", "image"])]
Extra = Annotated[
    dict[str, Any],
    Meta(
        description=(
            "What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data "
            "(`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data."
        )
    ),
]
PhoneNumber = Annotated[
    Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}$")] | None,
    Meta(description="In E.164: plus, country code, number.", examples=["+5511912340000"]),
]


class Contact(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The other party of a message or call."""

    id: Annotated[str, Meta(description="The best identifier there is: the phone number's digits, else the LID.")]
    kind: Annotated[
        str,
        Meta(description="What `id` is: `phone`, `lid`, `group`, or `other`; new kinds may come.", examples=["phone"]),
    ]
    phone_number: PhoneNumber = None
    lid: Annotated[str | None, Meta(description="WhatsApp's privacy id of the person.")] = None
    display_name: Annotated[str | None, Meta(description="The name the person shows.")] = None


Other = Annotated[Contact, Meta(description="The other party.")]


class _Message(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a message is in either direction."""

    device_id: DeviceId
    message_id: MessageId
    contact: Other
    message_type: MessageType
    content: Content
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class MessageReceived(_Message, frozen=True, gc=False, kw_only=True):
    """Somebody wrote to the device."""


class MessageSent(_Message, frozen=True, gc=False, kw_only=True):
    """The device wrote to somebody."""


class MessageUpdated(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A message was edited."""

    device_id: DeviceId
    message_id: MessageId
    contact: Other
    from_me: Annotated[bool | None, Meta(description="Whether the device's own message was edited.")] = None
    message_type: Annotated[str | None, Meta(description="The kind of the new content.")] = None
    content: Annotated[dict[str, Any] | None, Meta(description="The new content, an open object.")] = None
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class MessageStatus(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A message got further on its way."""

    device_id: DeviceId
    message_id: MessageId
    contact: Other
    status: Annotated[
        str, Meta(description="How far it got; new states may come.", examples=["sent", "delivered", "read", "failed"])
    ]
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class MessageDeleted(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A message was deleted for everybody."""

    device_id: DeviceId
    message_id: MessageId
    contact: Other
    from_me: Annotated[bool | None, Meta(description="Whether the device's own message was deleted.")] = None
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class Call(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Somebody calls the device, or that call changed its state."""

    device_id: DeviceId
    call_id: Annotated[str, Meta(description="The call's id; the same in each of its states.", min_length=1)]
    contact: Other
    status: Annotated[
        str, Meta(description="`offer`, `accept`, `timeout` or `reject`; new states may come.", examples=["offer"])
    ]
    is_video: Annotated[bool | None, Meta(description="Whether it is a video call.")] = None
    is_group: Annotated[bool | None, Meta(description="Whether a group is called.")] = None
    called_at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None, Meta(description="When the gateway says the call was, UTC.")
    ] = None
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class ConnectionOpen(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The device is connected to WhatsApp."""

    device_id: DeviceId
    display_name: Annotated[str | None, Meta(description="The account's own name.")] = None
    phone_number: PhoneNumber = None
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class ConnectionClosed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The device lost its connection to WhatsApp."""

    device_id: DeviceId
    reason: Annotated[str | None, Meta(description="Why, in the gateway's words.")] = None
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class ConnectionAuth(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The device waits for pairing. The codes are credentials: whoever has one can take the account over.

    The event expires after the life of a code (`expirytime`); where the gateway does not state it, 60 s are assumed.
    """

    device_id: DeviceId
    qr_code: Annotated[str | None, Meta(description="To be scanned, a data URL of a PNG. A credential.")] = None
    pairing_code: Annotated[str | None, Meta(description="To be typed on the phone. A credential.")] = None
    extra: Extra | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return f"ConnectionAuth(device_id={self.device_id!r}, <credentials hidden>)"


class ConnectionTimeout(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Nobody paired the device in time."""

    device_id: DeviceId
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class ConnectionLogout(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The device was logged out of its account and must be paired again."""

    device_id: DeviceId
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


class Unknown(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An event of a kind this version does not know, kept whole."""

    provider: Annotated[str, Meta(description="Whose event it is.", examples=["chatlevel"])]
    event: Annotated[
        str,
        Meta(
            description="The provider's own name of the event, cut after 128 characters.", examples=["presence.update"]
        ),
    ]
    device_id: Annotated[str | None, Meta(description="The device's id; null where the event is of none.")] = None
    payload: Annotated[Any, Meta(description="The event's data as the provider sent it.")]
    extra: Extra | msgspec.UnsetType = msgspec.UNSET


def _type(name: str, data: type[msgspec.Struct], *, sensitive: bool = False) -> EventType:
    return EventType(domain="messaging", name=name, data=data, sensitive=sensitive)


MESSAGE_RECEIVED = _type("message.received", MessageReceived)
MESSAGE_SENT = _type("message.sent", MessageSent)
MESSAGE_UPDATED = _type("message.updated", MessageUpdated)
MESSAGE_STATUS = _type("message.status", MessageStatus)
MESSAGE_DELETED = _type("message.deleted", MessageDeleted)
CALL = _type("call", Call)
CONNECTION_OPEN = _type("connection.open", ConnectionOpen)
CONNECTION_CLOSED = _type("connection.closed", ConnectionClosed)
CONNECTION_AUTH = _type("connection.auth", ConnectionAuth, sensitive=True)
CONNECTION_TIMEOUT = _type("connection.timeout", ConnectionTimeout)
CONNECTION_LOGOUT = _type("connection.logout", ConnectionLogout)
UNKNOWN = _type("unknown", Unknown)

TYPES = (
    MESSAGE_RECEIVED,
    MESSAGE_SENT,
    MESSAGE_UPDATED,
    MESSAGE_STATUS,
    MESSAGE_DELETED,
    CALL,
    CONNECTION_OPEN,
    CONNECTION_CLOSED,
    CONNECTION_AUTH,
    CONNECTION_TIMEOUT,
    CONNECTION_LOGOUT,
    UNKNOWN,
)
"""Every type of the vocabulary, the fallback last."""
