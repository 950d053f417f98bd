"""What is on the bridge's own topics, on either broker, read by the client libraries alone."""

from typing import NamedTuple

import pytest

from tests.brokers import stored
from tests.conftest import KafkaSpace, NatsSpace
from tests.kafka_operator import stored_in_kafka

__all__ = ["Found", "Space", "on", "space"]

Space = NatsSpace | KafkaSpace


class Found(NamedTuple):
    value: bytes
    headers: dict[str, str]

    def fact(self, name: str) -> str | None:
        """By either broker's name of the header."""
        by_name = {header.lower().replace("_", "-"): text for header, text in self.headers.items()}
        return by_name.get(f"bridge-{name}")


@pytest.fixture(params=["nats", "kafka"])
def space(request: pytest.FixtureRequest) -> Space:
    found: Space = request.getfixturevalue(f"{request.param}_space")
    return found


async def on(space: Space, name: str) -> list[Found]:
    """What is on a topic of the test, read by the client library alone."""
    topic = space.topic(name)
    if isinstance(space, KafkaSpace):
        records = await stored_in_kafka(space.bootstrap, topic)
        return [Found(one.value, {key: value.decode() for key, value in one.headers}) for one in records]
    messages = await stored(space.url, space.stream)
    return [Found(one.data, dict(one.headers or {})) for one in messages if one.subject == topic]
