"""Fixtures that more than one folder of tests needs."""

import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from functools import cache

import httpx
import hypothesis
import nats
import pytest
import trustme
from nats.js.errors import NotFoundError
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.brokers import NatsAddress, shared_nats
from tests.canary.watch import judged, watching
from tests.kafka import KafkaAddress, prepare, shared_kafka
from tests.kafka_operator import KafkaOperator

# what a busy machine takes says nothing of the code, nor of what is generated
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background; what a test starts would ignore it as well
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where Kafka will be needed, have it ready before the first test's time runs: fetching it takes a minute, once."""
    if not session.config.option.collectonly and any("kafka" in item.nodeid for item in session.items):
        with contextlib.suppress(pytest.fail.Exception):  # then the tests that need it fail by themselves
            prepare()


@pytest.fixture(scope="session", autouse=True)
def trust_store_read_once() -> Iterator[None]:
    """For each client httpx would read all authorities of the machine: 30 ms of CPU time, thousands of times a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_given_away() -> Iterator[None]:
    """See `tests.canary.watch`."""
    with watching():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that gave a secret away has failed."""
    return judged((yield))


class KafkaApart(LoadScopeScheduling):
    """All tests that need Kafka in one process, as soon as the run begins; the others one by one where there is time.

    So that no two nodes of Kafka work at once for two tests, and the shared one is started once.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "kafka" if "kafka" in nodeid else nodeid


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist's plugin nobody asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How the processes of `make test` share the tests out."""
    return KafkaApart(config, log)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsAddress]:
    """A NATS server with JetStream that the whole run shares."""
    with shared_nats(tmp_path_factory.mktemp("shared-nats")) as server:
        yield server


class Space:
    """Names on a shared broker that belong to one test.

    Attributes:
        token: in all of them.
        prefix: of topics, and of Kafka's groups.
    """

    def __init__(self) -> None:
        self.token = secrets.token_hex(6)
        self.prefix = f"test.{self.token}"

    def topic(self, name: str = "a") -> str:
        """A topic of this test; on Kafka whoever needs it creates it."""
        return f"{self.prefix}.{name}"


class NatsSpace(Space):
    """On the shared NATS.

    Attributes:
        url: of the server.
        stream: a stream's name; whoever needs it creates it.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.stream = f"TEST_{self.token}"


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


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaAddress]:
    """A Kafka that the whole run shares."""
    with shared_kafka(tmp_path_factory.mktemp("shared-kafka")) as server:
        yield server


class KafkaSpace(Space):
    """On the shared Kafka.

    Attributes:
        bootstrap: of the broker.
    """

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self.bootstrap = bootstrap


@pytest.fixture
async def kafka_space(kafka_server: KafkaAddress) -> AsyncIterator[KafkaSpace]:
    """Names of this test's own; its topics are deleted afterwards."""
    space = KafkaSpace(kafka_server.bootstrap)
    yield space
    async with KafkaOperator(space.bootstrap) as operator:
        if own := [topic for topic in await operator.topics() if topic.startswith(f"{space.prefix}.")]:
            await operator.delete_topics(*own)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Paths of an authority, a certificate for localhost signed by it, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    for index, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(folder / "chain.pem"), append=index > 0)
    return str(folder / "ca.pem"), str(folder / "chain.pem"), str(folder / "key.pem")
