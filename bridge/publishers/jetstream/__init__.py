"""NATS JetStream, by nats-py."""

from bridge.publishers.jetstream.publisher import NatsPublisher
from bridge.publishers.jetstream.reader import Received, follow

__all__ = ["NatsPublisher", "Received", "follow"]
