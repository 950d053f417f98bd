"""A network of its own for a bridge, so that its ways out can be cut one by one. Needs root and `ip`."""

import contextlib
import secrets
import subprocess
from collections.abc import Iterator

__all__ = ["Network"]


class Network:
    """Two cables from this machine into a namespace: by one the provider comes in, by the other the broker is reached.

    Attributes:
        within: runs a command inside.
        own: the bridge's address on the first cable.
        broker: this machine's address on the second.
    """

    def __init__(self) -> None:
        name = secrets.token_hex(3)
        self.name = f"faults-{name}"
        self._ends = [f"f{name}a", f"f{name}b"]
        third = secrets.randbelow(250) + 1
        self.within = ("ip", "netns", "exec", self.name)
        self.own = f"10.203.{third}.2"
        self.broker = f"10.204.{third}.1"
        self._addresses = [(f"10.203.{third}.1", self.own), (self.broker, f"10.204.{third}.2")]

    @contextlib.contextmanager
    def up(self) -> Iterator["Network"]:
        """Made, and gone afterwards."""
        _ip("netns", "add", self.name)
        try:
            _ip("-n", self.name, "link", "set", "lo", "up")
            for end, (here, there) in zip(self._ends, self._addresses, strict=True):
                _ip("link", "add", end, "type", "veth", "peer", "name", f"{end}n", "netns", self.name)
                _ip("addr", "add", f"{here}/30", "dev", end)
                _ip("-n", self.name, "addr", "add", f"{there}/30", "dev", f"{end}n")
                _ip("-n", self.name, "link", "set", f"{end}n", "up")
                _ip("link", "set", end, "up")
            yield self
        finally:
            _ip("netns", "del", self.name)  # and with it both cables

    def cut(self) -> None:
        """From now on nothing passes between bridge and broker; neither is told."""
        _ip("link", "set", self._ends[1], "down")

    def mend(self) -> None:
        """The end of `cut`."""
        _ip("link", "set", self._ends[1], "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
