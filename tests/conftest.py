"""Fixtures that more than one folder of tests needs."""

import secrets
from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.js.errors import NotFoundError

from tests.brokers import NatsAddress, shared_nats


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsAddress]:
    """A NATS server with JetStream that the whole run shares."""
    with shared_nats(tmp_path_factory.mktemp("shared-nats")) as server:
        yield server


class NatsSpace:
    """Names on the shared server that belong to one test.

    Attributes:
        url: of the server.
        stream: a stream's name; whoever needs it creates it.
        prefix: of subjects.
    """

    def __init__(self, url: str) -> None:
        token = secrets.token_hex(6)
        self.url = url
        self.stream = f"TEST_{token}"
        self.prefix = f"test.{token}"

    def topic(self, name: str = "a") -> str:
        """A subject of this test."""
        return f"{self.prefix}.{name}"


@pytest.fixture
async def nats_space(nats_server: NatsAddress) -> AsyncIterator[NatsSpace]:
    """Names of this test's own; its stream is deleted afterwards."""
    space = NatsSpace(nats_server.url)
    yield space
    client = await nats.connect(space.url, allow_reconnect=False)
    try:
        await client.jetstream().delete_stream(space.stream)
    except NotFoundError:
        pass
    finally:
        await client.close()
