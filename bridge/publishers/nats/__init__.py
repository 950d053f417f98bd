"""NATS JetStream: the publisher, and the reader that `tail` needs. The only room that knows nats-py.

The way of a record: `records` makes its bytes, `outbox` keeps its place in the order, `link` sends it and finds its
answer, `answers` judges that. `supervisor` keeps a link, which `dialer` opens and `client` is; `stream` looks at the
stream, `weakness` at what is risky about it, `status` tells all that as health.
"""

from bridge.publishers.nats.publisher import NatsPublisher
from bridge.publishers.nats.reader import follow
from bridge.publishers.nats.settings import NatsSettings

__all__ = ["NatsPublisher", "NatsSettings", "follow"]
