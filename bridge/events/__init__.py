"""The normalised event, its CloudEvents encodings, and the data of the published schemas.

For services that consume the topics, too: `parse`, `Deduplicator` and the structs of `messaging` need msgspec alone.
"""

from bridge.events import messaging
from bridge.events.cloudevents import CloudEvent
from bridge.events.deduplicator import Deduplicator
from bridge.events.parsing import parse
from bridge.events.reading import NotAnEvent

__all__ = ["CloudEvent", "Deduplicator", "NotAnEvent", "messaging", "parse"]
