"""Shows a device's QR or pairing code to whom has the right, for as long as it is of use.

Codes come from `connection.auth` on NATS, are kept in memory alone, and shown until they expire or the device's next
event comes. A viewer has a token of their own and the devices they may see; of the token only a hash is kept.
"""

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from pathlib import Path
from typing import Any

import nats
import uvicorn
from litestar import Litestar, Request, get
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy

from bridge.events import CloudEvent, NotAnEvent, messaging, parse

__all__ = ["Codes", "Viewers", "main"]

HERE = Path(__file__).parent
TOPICS = "events.chatlevel.connection.*"
LIFE = timedelta(seconds=60)  # of a code, at most, whatever its event says
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Codes:
    """The latest event of each device, and so its code if there is one."""

    def __init__(self) -> None:
        self._latest: dict[str, CloudEvent] = {}

    def take(self, event: CloudEvent) -> None:
        """Learn from an event; one that comes late changes nothing."""
        device = getattr(event.data, "device_id", None)
        if device is not None and (device not in self._latest or event.time >= self._latest[device].time):
            self._latest[device] = event

    def current(self, device: str, now: datetime) -> dict[str, object]:
        """What to show now, and for how long."""
        event = self._latest.get(device)
        if event is None or not isinstance(event.data, messaging.ConnectionAuth):
            return {}
        expires = min(event.expirytime or event.recordedtime + LIFE, event.recordedtime + LIFE)
        if expires <= now:
            del self._latest[device]
            return {}
        qr = event.data.qr_code if (event.data.qr_code or "").startswith("data:image/png;base64,") else None
        left_ms = (expires - now) // timedelta(milliseconds=1)
        return {"qr": qr, "pairing": event.data.pairing_code, "expires_in_ms": left_ms}


class Viewers:
    """Who may see which devices; the file is read each time, so whom is taken out of it is out at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, devices: list[str]) -> str:
        """Their token, which is shown this once; a new one if they have one already."""
        token = secrets.token_urlsafe(32)
        viewers = json.loads(self.path.read_text()) if self.path.exists() else {}
        viewers[name] = {"devices": devices, "token_sha256": _digest(token)}
        self.path.touch(mode=0o600)
        self.path.write_text(json.dumps(viewers, indent=2) + "\n")
        return token

    def devices_of(self, token: str) -> list[str] | None:
        """What the owner of this token may see. Compared with all, and in constant time: time tells nothing."""
        given, found = _digest(token), None
        for viewer in json.loads(self.path.read_text()).values():
            if compare_digest(viewer["token_sha256"], given):
                found = viewer["devices"]
        return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()  # of a random token; passwords would need a slow hash


def make_app(codes: Codes, viewers: Viewers) -> Litestar:
    """The page, and what it asks for."""

    @get("/codes/{device:str}")
    async def code(request: Request[Any, Any, Any], device: str) -> dict[str, object]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        allowed = viewers.devices_of(token) if scheme == "Bearer" else None
        if allowed is None:
            raise NotAuthorizedException
        if device not in allowed and "*" not in allowed:
            raise PermissionDeniedException
        return codes.current(device, datetime.now(UTC))

    async def harden(message: Message, _scope: Scope) -> None:
        if message["type"] == "http.response.start":
            MutableScopeHeaders.from_message(message).update(HEADERS)

    page = create_static_files_router("/", directories=[HERE / "page"], html_mode=True)
    return Litestar([code, page], before_send=[harden], openapi_config=None)


async def listening(codes: Codes) -> Client:
    """Take the events that are stored, of which the latest count, and those to come, until the connection is closed."""

    async def take(message: Msg) -> None:
        with suppress(NotAnEvent):
            codes.take(parse(message.data, message.headers))

    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    client = await nats.connect(url, error_cb=say, max_reconnect_attempts=-1)
    # It is made again by the client when the broker lost it, from the last event that came: for that a start by
    # time is in the way. By the heartbeat it finds out; a code lives for a minute.
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, idle_heartbeat=1)
    await client.jetstream().subscribe(TOPICS, stream="EVENTS", cb=take, ordered_consumer=True, config=config)
    return client


async def say(error: Exception) -> None:
    """What the connection to the broker suffers; it is made again by itself."""
    print("the broker:", str(error) or type(error).__name__)


async def serve(viewers: Viewers, listen: str) -> None:
    """Show the page until ended, as can be done while the broker is waited for."""
    host, _, port = listen.rpartition(":")
    if not (host and port.isdecimal()):
        sys.exit(f"LISTEN={listen}: expected host:port, such as 127.0.0.1:8090")
    codes = Codes()
    client = await listening(codes)
    print(f"the page: http://{listen}")
    await uvicorn.Server(
        uvicorn.Config(make_app(codes, viewers), host=host, port=int(port), log_level="warning")
    ).serve()
    await client.close()


def main() -> None:
    """The command line."""
    viewers = Viewers(Path(os.environ.get("VIEWERS", HERE / "viewers.json")))
    parser = argparse.ArgumentParser(description="Shows pairing codes to whom has the right.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve")
    add = commands.add_parser("add-viewer", help="prints the new viewer's token, this once")
    add.add_argument("name")
    add.add_argument("devices", nargs="+", help="ids, or '*' for all")
    arguments = parser.parse_args()
    if arguments.command == "add-viewer":
        print(f"token of {arguments.name}: {viewers.add(arguments.name, arguments.devices)}")
        return
    if not viewers.path.exists():
        sys.exit(f"VIEWERS={viewers.path}: there is no such file; make it by: add-viewer NAME DEVICE…")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(viewers, os.environ.get("LISTEN", "127.0.0.1:8090")))


if __name__ == "__main__":
    main()
