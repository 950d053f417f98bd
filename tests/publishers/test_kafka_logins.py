"""Who may come in, and how: SASL, TLS, mTLS, ACLs. What is wrong is told with its remedy; what is mended heals."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from bridge.errors import BrokerUnavailable, RecordTooLarge
from bridge.publishers.kafka import KafkaPublisher
from tests.kafka import KafkaServer
from tests.kafka_operator import KafkaOperator
from tests.kafka_security import Security, oauth_token, stranger_token
from tests.publishers.conftest import reasons
from tests.publishers.contract import publish_until_taken, ready, record, until
from tests.publishers.kafka_fixtures import StartKafka, start_kafka, topic, values_in

__all__ = ["start_kafka", "topic"]

USERS = {"bridge": "correct-horse"}


@pytest.fixture(scope="module")
def sasl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Asks for a login; nobody may do anything but by an ACL."""
    security = Security(sasl=True, plain_users=USERS, acls=True)
    with KafkaServer(tmp_path_factory.mktemp("sasl"), security=security) as server:
        yield server


@pytest.fixture
async def operator(sasl: KafkaServer) -> AsyncIterator[KafkaOperator]:
    async with KafkaOperator(sasl.operator) as operator:
        yield operator


@pytest.fixture
async def allowed(operator: KafkaOperator, topic: str) -> str:
    """The test's topic, to which the user `bridge` may write."""
    await operator.create_topic(topic)
    await operator.allow("bridge", "write", "describe", name=topic)
    return topic


def plain(password: str = "correct-horse") -> dict[str, Any]:
    return {"sasl": "PLAIN", "user": "bridge", "password": lambda: password, "provision": "check"}


def scram(mechanism: str, password: str) -> dict[str, Any]:
    return {**plain(password), "sasl": mechanism}


# ---- SASL


async def test_plain(sasl: KafkaServer, start_kafka: StartKafka, allowed: str) -> None:
    publisher = await start_kafka(sasl.bootstrap, allowed, **plain())
    await publisher.publish(record(allowed, b"1"))
    assert "plain text" in " ".join(publisher.health().warnings)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_scram(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str, operator: KafkaOperator, mechanism: str
) -> None:
    await operator.set_password("bridge", "pässword", mechanism)
    publisher = await start_kafka(sasl.bootstrap, allowed, **scram(mechanism, "pässword"))
    await publisher.publish(record(allowed, b"1"))


async def test_oauthbearer_by_a_token_file_that_is_renewed(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(stranger_token("bridge"))
    settings = {"sasl": "OAUTHBEARER", "token": file.read_text, "provision": "check"}
    publisher = await start_kafka(sasl.bootstrap, allowed, wait=False, **settings)
    assert "_TOKEN" in await reasons(publisher, "refused the login")
    file.write_text(oauth_token("bridge") + "\n")
    await ready(publisher)
    await publisher.publish(record(allowed, b"1"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (plain("wrong"), "refused the login"),
        (scram("SCRAM-SHA-256", "wrong"), "refused the login"),
        ({"provision": "check"}, "BRIDGE_KAFKA_SASL"),
        ({"provision": "check", "tls": True}, "BRIDGE_KAFKA_TLS"),
    ],
    ids=["plain", "scram", "no login", "tls"],
)
async def test_a_wrong_login_is_told_with_what_to_check(
    sasl: KafkaServer, start_kafka: StartKafka, topic: str, settings: dict[str, Any], reason: str
) -> None:
    publisher = await start_kafka(sasl.bootstrap, topic, wait=False, **settings)
    told = await reasons(publisher, reason)
    assert "correct-horse" not in told
    assert "127.0.0.1" not in told


async def test_a_secret_that_cannot_be_read_is_told_by_its_variable(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    publisher = await start_kafka(sasl.bootstrap, allowed, wait=False, **{**plain(), "password": file.read_text})
    await reasons(publisher, "BRIDGE_KAFKA_PASSWORD cannot be read")
    file.write_text("correct-horse")
    await ready(publisher)


async def test_k10_a_password_rotated_under_load_is_taken_up_without_a_restart(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str, operator: KafkaOperator
) -> None:
    """The library keeps the old one for as long as it lives, and a failed login is an endless quiet retry to it."""
    password = "secret-1"
    await operator.set_password("bridge", password)
    publisher = await start_kafka(
        sasl.bootstrap, allowed, **{**scram("SCRAM-SHA-256", ""), "password": lambda: password}
    )
    failed: list[BaseException] = []
    done, enough = 0, asyncio.Event()

    async def load() -> None:
        nonlocal done
        while not enough.is_set():
            try:
                async with asyncio.timeout(3):
                    await publisher.publish(record(allowed, b"%d" % done))
                done += 1
            except (BrokerUnavailable, TimeoutError) as error:
                failed.append(error)
            await asyncio.sleep(0.01)

    loading = asyncio.ensure_future(load())
    first = publisher._outbox.link
    await until(lambda: done > 5, within_s=5)
    await operator.set_password("bridge", "secret-2")
    password = "secret-2"
    await until(lambda: publisher._outbox.link not in (None, first), within_s=10)
    seen = done
    await until(lambda: done > seen + 5, within_s=5)
    enough.set()  # not cancelled: the last record would be stored and not counted
    await loading
    assert not failed, "an old login that still works is not thrown away before the new one is up"
    assert len(await values_in(sasl, allowed)) == done


async def test_k10_a_changed_login_that_is_refused_is_a_warning_while_the_old_link_works(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str
) -> None:
    password = "correct-horse"
    publisher = await start_kafka(sasl.bootstrap, allowed, **{**plain(), "password": lambda: password})
    first = publisher._outbox.link
    password = "wrong"

    def warned() -> bool:
        return any("refused the login" in warning for warning in publisher.health().warnings)

    await until(warned, within_s=10)
    await publisher.publish(record(allowed, b"1"))
    assert publisher.health().ready
    assert publisher._outbox.link is first
    password = "correct-horse"
    await until(lambda: not warned(), within_s=10)


async def test_k10_a_login_that_is_refused_later_is_not_ready_and_heals(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str, operator: KafkaOperator
) -> None:
    await operator.set_password("bridge", "secret-1")
    publisher = await start_kafka(sasl.bootstrap, allowed, **scram("SCRAM-SHA-256", "secret-1"))
    await operator.drop_password("bridge")
    for connection in publisher._outbox.link.producer.client._conns.values():
        connection.close()  # as the broker does when a session has expired
    assert "_PASSWORD" in await reasons(publisher, "refused the login", within_s=30)
    await operator.set_password("bridge", "secret-1")
    await ready(publisher)
    await publish_until_taken(publisher, record(allowed, b"1"))


# ---- ACLs


async def test_k3_a_topic_denied_and_allowed_again_heals_and_harms_no_other(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str, operator: KafkaOperator
) -> None:
    """A denied batch takes its sequence numbers with it; the library's producer never gets over that."""
    other = f"{allowed}.other"
    await operator.create_topic(other)
    await operator.allow("bridge", "write", "describe", name=other)
    publisher = await start_kafka(sasl.bootstrap, allowed, other, **plain())
    await publisher.publish(record(allowed, b"before"))
    await operator.forbid("bridge", "write", name=allowed)
    links = {publisher._outbox.link}
    for number in range(100):
        async with asyncio.timeout(3):  # the deadline of a source
            with pytest.raises(BrokerUnavailable, match="allow Write"):
                await publisher.publish(record(allowed, b"denied"))
            await publisher.publish(record(other, b"%d" % number))
        links.add(publisher._outbox.link)
    assert len(links - {None}) < 6, "a denied topic does not cost a producer per record"
    assert "allow Write" in await reasons(publisher, allowed)
    await operator.allow("bridge", "write", name=allowed)
    await publish_until_taken(publisher, record(allowed, b"after"))
    await ready(publisher)
    assert await values_in(sasl, allowed) == [b"before", b"after"]
    assert await values_in(sasl, other) == [b"%d" % number for number in range(100)]


async def test_k3_one_too_large_is_found_where_the_topics_settings_may_not_be_read(
    sasl: KafkaServer, start_kafka: StartKafka, allowed: str, operator: KafkaOperator
) -> None:
    publisher = await start_kafka(sasl.bootstrap, allowed, **plain())
    await operator.alter_topic(allowed, {"max.message.bytes": "2000"})
    items = [record(allowed, b"%d" % number * size) for number, size in enumerate([100, 100, 3000, 100, 100])]
    async with asyncio.timeout(8):
        outcomes = await asyncio.gather(*map(publisher.publish, items), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), RecordTooLarge, type(None), type(None)]
    assert [value[:1] for value in await values_in(sasl, allowed)] == [b"0", b"1", b"3", b"4"]


async def test_a_topic_that_may_not_be_seen_and_one_that_may_not_be_made(
    sasl: KafkaServer, start_kafka: StartKafka, topic: str, operator: KafkaOperator
) -> None:
    await operator.create_topic(topic)
    await operator.allow("bridge", "write", name=f"{topic}.other")  # of some topic, for a producer id
    hidden = await start_kafka(sasl.bootstrap, topic, wait=False, **plain())
    assert "Describe and Write" in await reasons(hidden, topic)
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(3):
            await hidden.publish(record(topic, b"1"))
    await operator.allow("bridge", "describe", name=f"{topic}.new")
    settings = {**plain(), "provision": "create"}
    unmade = await start_kafka(sasl.bootstrap, f"{topic}.new", wait=False, **settings)
    assert "allow Create" in await reasons(unmade, f"{topic}.new")


# ---- TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str, str]) -> Iterator[KafkaServer]:
    """Speaks TLS and asks for a client certificate."""
    security = Security(certificate=certificate, client_certificates=True)
    with KafkaServer(tmp_path_factory.mktemp("tls"), security=security) as server:
        yield server


def mutual(certificate: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    authority, chain, key = map(Path, certificate)
    return {"tls": True, "tls_ca_file": authority, "tls_cert_file": chain, "tls_key_file": key, **more}


async def test_tls_and_mtls(
    tls: KafkaServer, start_kafka: StartKafka, topic: str, certificate: tuple[str, str, str]
) -> None:
    publisher = await start_kafka(tls.bootstrap, topic, **mutual(certificate))
    await publisher.publish(record(topic, b"1"))
    assert publisher.health().details["tls"] is True


async def test_a_changed_client_certificate_is_used_at_once_and_a_bad_one_never(
    tls: KafkaServer, start_kafka: StartKafka, topic: str, certificate: tuple[str, str, str], tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(Path(certificate[2]).read_bytes())
    publisher = await start_kafka(tls.bootstrap, topic, **mutual(certificate, tls_key_file=key))
    first = publisher._outbox.link
    key.write_text("nonsense")
    first.end("for the test")
    await until(lambda: publisher._outbox.link not in (None, first), within_s=10)
    await ready(publisher)
    second = publisher._outbox.link
    key.write_bytes(Path(certificate[2]).read_bytes() + b"\n")
    await until(lambda: publisher._outbox.link not in (None, second), within_s=10)
    await publisher.publish(record(topic, b"1"))


async def test_tls_that_is_wrong_fails_closed_and_says_why(
    tls: KafkaServer, start_kafka: StartKafka, topic: str, certificate: tuple[str, str, str], tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    cases = (
        (mutual(certificate, tls_ca_file=stranger), "BRIDGE_KAFKA_TLS_CA_FILE"),
        (mutual(certificate, tls_cert_file=None, tls_key_file=None), "client certificate"),
        ({}, "BRIDGE_KAFKA_TLS"),
        (mutual(certificate, tls_ca_file=tmp_path / "missing.pem"), "BRIDGE_KAFKA_TLS_CA_FILE cannot be used"),
    )
    for settings, reason in cases:
        publisher = await start_kafka(tls.bootstrap, topic, wait=False, **settings)
        await reasons(publisher, reason)
        with pytest.raises(BrokerUnavailable):
            async with asyncio.timeout(3):
                await publisher.publish(record(topic, b"1"))
        await publisher.close()


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path, start_kafka: StartKafka, topic: str) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("kafka.example.com")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))
    files = tuple(str(tmp_path / name) for name in ("ca.pem", "chain.pem", "key.pem"))
    with KafkaServer(tmp_path / "kafka", security=Security(certificate=files)) as server:  # type: ignore[arg-type]
        publisher = await start_kafka(server.bootstrap, topic, tls=True, tls_ca_file=tmp_path / "ca.pem", wait=False)
        await reasons(publisher, "another name")


async def test_secrets_are_in_no_repr(sasl: KafkaServer, start_kafka: StartKafka, allowed: str) -> None:
    publisher: KafkaPublisher = await start_kafka(sasl.bootstrap, allowed, **plain())
    assert "correct-horse" not in repr(publisher._supervisor._settings) + repr(publisher.health())
