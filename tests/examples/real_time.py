"""The real-time example, for the tests of its feed and of its page."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bridge.providers import PROVIDERS
from tests.examples.conftest import Example
from tests.processes import BridgeProcess
from tests.servers import free_ports

__all__ = ["RealTime", "real_time"]


class RealTime:
    """The example beside a bridge.

    Attributes:
        url: of the page.
    """

    def __init__(self, running: BridgeProcess, example: Callable[..., Example]) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._running, self._example, self._listen = running, example, f"127.0.0.1:{port}"

    def start(self, **env: str) -> Example:
        started = self._example("real-time", self._running, LISTEN=self._listen, **env)
        started.says("the page: ")
        return started

    def send(self, event: str = "message.received") -> str:
        """Post a webhook; the event's id."""
        answer = self._running.post(PROVIDERS["chatlevel"].sample(event, now=datetime.now(UTC)))
        (identity,) = answer.json()["ids"]
        return str(identity)

    def post_text(self, text: str) -> None:
        """Post a message that somebody wrote like this."""
        body = json.loads(PROVIDERS["chatlevel"].sample("message.received", now=datetime.now(UTC)))
        body["data"]["content"]["text"] = text
        assert self._running.post(json.dumps(body).encode()).status_code == 200


@pytest.fixture
def real_time(running: BridgeProcess, example: Callable[..., Example]) -> RealTime:
    """Not started yet."""
    if shutil.which("node") is None:
        pytest.fail("node is missing: run `make system`, which installs it")
    return RealTime(running, example)
