"""Realistic Chatlevel bodies of the current generation, for `send`: new ids each time."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

__all__ = ["SAMPLES", "make_sample"]

_DEVICE = 480213
_ANA = "5511912340000"
_ANA_LID = "201987654321098"
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _message_id() -> str:
    return f"3EB0{secrets.token_hex(8).upper()}"


def _party() -> dict[str, Any]:
    return {"lid": _ANA_LID, "phoneNumber": _ANA}


def _received() -> dict[str, Any]:
    content = {"text": "Bom dia! Tem pão de queijo?"}
    return {"id": _message_id(), "from": _ANA, "fromType": "pn", **_party()} | {
        "pushName": "Ana Lúcia",
        "content": content,
        "type": "text",
    }


def _sent() -> dict[str, Any]:
    content = {"text": "Temos sim, saindo do forno."}
    return {"id": _message_id(), "to": _ANA, "toType": "pn", **_party(), "content": content, "type": "text"}


def _updated() -> dict[str, Any]:
    update = {"editedContent": {"text": "Temos sim, saindo do forno às 9h."}, "messageType": "text"}
    return {"messageId": _message_id(), "from": _ANA, "fromType": "pn", **_party(), "fromMe": True, "update": update}


def _deleted() -> dict[str, Any]:
    return {"messageId": _message_id(), "from": _ANA, "fromType": "pn", **_party(), "fromMe": False}


def _call() -> dict[str, Any]:
    caller = {"from": _ANA_LID, "fromType": "lid", "lid": _ANA_LID, "phoneNumber": None}
    call_id = secrets.token_hex(8).upper()
    return {"id": call_id, **caller, "status": "offer", "isVideo": False, "isGroup": False}


SAMPLES: dict[str, Callable[[], dict[str, Any]]] = {
    "message.received": _received,
    "message.sent": _sent,
    "message.updated": _updated,
    "message.deleted": _deleted,
    "call": _call,
    "connection.open": lambda: {"displayName": "Padaria do Zé", "phoneNumber": "+5511987650001"},
    "connection.closed": dict,
    "connection.auth": lambda: {"qrCode": _PIXEL},
    "connection.timeout": dict,
    "connection.logout": dict,
}
"""The provider's event names; the first is what `send` posts when nothing is named."""


def make_sample(event: str, now: datetime) -> bytes:
    """One body.

    Raises:
        KeyError: no such event.
    """
    data = SAMPLES[event]()
    if event == "call":
        data["date"] = int(now.timestamp())
    timestamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"event": event, "deviceId": _DEVICE, "data": data, "timestamp": timestamp})
