"""The bridge as a process."""

from tests.e2e.kept import space
from tests.processes import bridge, nats_process

__all__ = ["bridge", "nats_process", "space"]
