"""The pairing monitor and webhooks for it, for the tests of its answers and of its page."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tests.examples.conftest import EXAMPLES, Example
from tests.examples.modules import load
from tests.processes import BridgeProcess, wait_until
from tests.servers import free_ports

__all__ = ["PNG", "Monitor", "auth"]

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def auth(device: int, *, event: str = "connection.auth", age_s: float = 0, **data: str) -> bytes:
    """A webhook; of `connection.auth` unless said otherwise."""
    time = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"event": event, "deviceId": device, "data": data, "timestamp": time}).encode()


class Monitor:
    """The example beside a bridge, with viewers of its own.

    Attributes:
        url: of the page.
        viewers: its file.
        running: the bridge.
    """

    def __init__(self, running: BridgeProcess, example: Callable[..., Example], folder: Path) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.viewers = folder / "viewers.json"
        self.running = running
        self._example = lambda: example(
            "pairing-monitor", running, LISTEN=f"127.0.0.1:{port}", VIEWERS=str(self.viewers)
        )

    def add_viewer(self, name: str, *devices: str) -> str:
        """Their token."""
        program = load(EXAMPLES / "pairing-monitor" / "pairing_monitor.py")
        return str(program.Viewers(self.viewers).add(name, list(devices)))

    def start(self) -> Example:
        """Until the page is there."""
        started = self._example()
        started.says("the page: ")
        wait_until(self._answers)  # it listens a moment later
        return started

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url).is_success
        except httpx.TransportError:
            return False

    def post(self, body: bytes) -> None:
        """To the bridge."""
        assert self.running.post(body).status_code == 200

    def ask(self, device: str, token: str) -> httpx.Response:
        """As the page does."""
        return httpx.get(f"{self.url}/codes/{device}", headers={"authorization": f"Bearer {token}"})
