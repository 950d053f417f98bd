"""Kafka: the publisher, and the reader that `tail` needs. The only room that knows aiokafka.

The way of a record: `records` makes its bytes, `outbox` keeps its place in the order, a `lane` sends the batches of one
partition over the `link`, `faults` judges what fails. `supervisor` keeps a link, which `dialer` opens and `client` is;
`topics` looks at the topics, `weakness` at what is risky about them, `status` tells all that as health.
"""

from bridge.publishers.kafka.publisher import KafkaPublisher
from bridge.publishers.kafka.settings import KafkaSettings, Sasl, Topic

__all__ = ["KafkaPublisher", "KafkaSettings", "Sasl", "Topic"]
