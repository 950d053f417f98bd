"""The bridge as a process."""

from tests.processes import bridge, nats_process

__all__ = ["bridge", "nats_process"]
