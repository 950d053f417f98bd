"""One file per sender's format; `PROVIDERS` has them by the name that BRIDGE_SOURCES uses."""

from bridge.providers.registry import BUILT_IN, PROVIDERS, BrokenProvider

__all__ = ["BUILT_IN", "PROVIDERS", "BrokenProvider"]
