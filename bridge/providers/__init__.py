"""One file per sender's format; `PROVIDERS` has them by the name that BRIDGE_SOURCES uses."""

from bridge.providers.base import Provider
from bridge.providers.chatlevel import Chatlevel

__all__ = ["PROVIDERS"]

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (Chatlevel(),)}
