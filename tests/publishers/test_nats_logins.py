"""Logins and TLS (N11): every way in works, every wrong one fails closed, nothing is sent in plain text."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from bridge.publishers.tls import make_context
from tests.brokers import NatsServer
from tests.nats_keys import NatsOperator, new_key
from tests.proxy import Proxy
from tests.publishers.conftest import Start, reasons
from tests.publishers.contract import ready, record, until

SECRET = "correct-horse"


# ---- logins


async def test_user_and_password(server: NatsServer, start: Start) -> None:
    await asyncio.to_thread(server.restart, f'authorization {{ user: bridge, password: "{SECRET}" }}')
    await (await start(server.url, user="bridge", password=lambda: SECRET)).publish(record("test.a", b"1"))
    wrong = await start(server.url, user="bridge", password=lambda: "wrong", wait=False)
    assert "BRIDGE_NATS_USER" in await reasons(wrong, "refused the login")
    without = await start(server.url, wait=False)
    await reasons(without, "refused the login")


async def test_a_login_in_the_url_with_escapes(server: NatsServer, start: Start) -> None:
    await asyncio.to_thread(server.restart, 'authorization { user: "b@r", password: "p/w:%" }')
    await start(server.url.replace("//", "//b%40r:p%2Fw%3A%25@"))


async def test_token(server: NatsServer, start: Start) -> None:
    await asyncio.to_thread(server.restart, f'authorization {{ token: "{SECRET}" }}')
    await start(server.url, token=lambda: SECRET)
    await start(server.url.replace("//", f"//{SECRET}@"))
    await reasons(await start(server.url, token=lambda: "wrong", wait=False), "refused the login")


async def test_nkey(server: NatsServer, start: Start) -> None:
    key, other = new_key(b"U"), new_key(b"U")
    await asyncio.to_thread(server.restart, f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}")
    await start(server.url, nkey=lambda: key.seed)
    await reasons(await start(server.url, nkey=lambda: other.seed, wait=False), "refused the login")
    await reasons(await start(server.url, nkey=lambda: "SUNONSENSE", wait=False), "BRIDGE_NATS_NKEY")


async def test_creds_of_an_operator(server: NatsServer, start: Start) -> None:
    operator = NatsOperator()
    await asyncio.to_thread(server.restart, operator.config)
    user = new_key(b"U")
    creds = operator.creds(user)
    publisher = await start(server.url, creds=lambda: creds)
    await publisher.publish(record("test.a", b"1"))
    other = creds.replace(user.seed, new_key(b"U").seed)
    await reasons(await start(server.url, creds=lambda: other, wait=False), "refused the login")
    # The library looks for the JWT in a loop that does not end with the file.
    await reasons(await start(server.url, creds=lambda: "no creds at all", wait=False), "BRIDGE_NATS_CREDS")


async def test_a_secret_that_cannot_be_read_is_tried_again(server: NatsServer, start: Start, tmp_path: Path) -> None:
    await asyncio.to_thread(server.restart, f'authorization {{ token: "{SECRET}" }}')
    file = tmp_path / "token"
    publisher = await start(server.url, token=file.read_text, wait=False)
    await reasons(publisher, "BRIDGE_NATS_TOKEN cannot be read")
    file.write_text(SECRET)
    await ready(publisher)


# ---- TLS


class Certificates(NamedTuple):
    """Files of one throw-away authority."""

    ca: Path
    config: str
    config_mtls: str
    config_first: str
    other_ca: Path
    client: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificates]:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    server = authority.issue_cert("nats.internal", "127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    client = authority.issue_cert("bridge@clients.internal")
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    files = f'cert_file: "{folder}/server.pem", key_file: "{folder}/server.pem"'
    yield Certificates(
        ca=folder / "ca.pem",
        config=f"tls {{ {files} }}",
        config_mtls=f'tls {{ {files}, ca_file: "{folder}/ca.pem", verify: true }}',
        config_first=f"tls {{ {files}, handshake_first: true }}",
        other_ca=folder / "other.pem",
        client=folder / "client.pem",
    )


def tls_url(server: NatsServer | Proxy) -> str:
    return server.url.replace("nats://", "tls://")


async def test_n11_tls_with_the_right_authority(server: NatsServer, start: Start, certificates: Certificates) -> None:
    await asyncio.to_thread(server.restart, certificates.config)
    publisher = await start(tls_url(server), tls_ca_file=certificates.ca)
    await publisher.publish(record("test.a", b"1"))
    assert publisher.health().details["tls"] is True


async def test_n11_a_name_that_is_not_the_urls(server: NatsServer, start: Start, certificates: Certificates) -> None:
    await asyncio.to_thread(server.restart, certificates.config)
    await start(tls_url(server), tls_ca_file=certificates.ca, tls_hostname="nats.internal")


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"tls_hostname": "other.internal"}, "BRIDGE_NATS_TLS_HOSTNAME"),
        ({"tls_ca_file": None}, "BRIDGE_NATS_TLS_CA_FILE"),
        ({"tls_ca_file": "other"}, "BRIDGE_NATS_TLS_CA_FILE"),
        ({"tls_ca_file": Path("/nowhere.pem")}, "BRIDGE_NATS_TLS_CA_FILE"),
        ({"tls_cert_file": Path("/nowhere.pem")}, "BRIDGE_NATS_TLS_CERT_FILE"),
    ],
)
async def test_n11_the_wrong_authority_or_name_fails_closed(
    server: NatsServer, start: Start, certificates: Certificates, settings: dict[str, Any], remedy: str
) -> None:
    await asyncio.to_thread(server.restart, certificates.config + f'\nauthorization {{ token: "{SECRET}" }}')
    settings = {"tls_ca_file": certificates.ca, **settings}
    if settings["tls_ca_file"] == "other":
        settings["tls_ca_file"] = certificates.other_ca
    async with Proxy(server.port) as proxy:
        sent = watch(proxy)
        publisher = await start(tls_url(proxy), token=lambda: SECRET, wait=False, **settings)
        await reasons(publisher, remedy)
        assert b"CONNECT" not in sent


async def test_n11_a_server_that_offers_no_tls_gets_nothing_from_us(server: NatsServer, start: Start) -> None:
    await asyncio.to_thread(server.restart, f'authorization {{ token: "{SECRET}" }}')
    async with Proxy(server.port) as proxy:
        sent = watch(proxy)
        publisher = await start(tls_url(proxy), token=lambda: SECRET, wait=False)
        assert "does not offer TLS" in await reasons(publisher, "TLS")
        await asyncio.sleep(0.3)  # and the next attempts neither
        assert proxy.connections > 1
        assert sent == b""


async def test_n11_a_middleman_who_takes_tls_out_of_the_greeting_gets_nothing_from_us(
    server: NatsServer, start: Start, certificates: Certificates
) -> None:
    await asyncio.to_thread(server.restart, certificates.config + f'\nauthorization {{ token: "{SECRET}" }}')
    async with Proxy(server.port) as proxy:
        proxy.down.edit = lambda chunk: chunk.replace(b'"tls_required":true', b'"tls_required":false')
        sent = watch(proxy)
        publisher = await start(tls_url(proxy), token=lambda: SECRET, tls_ca_file=certificates.ca, wait=False)
        await reasons(publisher, "does not offer TLS")
        assert sent == b""


async def test_n11_any_tls_setting_makes_tls_required(
    server: NatsServer, start: Start, certificates: Certificates
) -> None:
    publisher = await start(server.url, tls_ca_file=certificates.ca, wait=False)
    await reasons(publisher, "does not offer TLS")


async def test_n11_tls_where_the_server_merely_allows_it(
    server: NatsServer, start: Start, certificates: Certificates
) -> None:
    await asyncio.to_thread(server.restart, certificates.config + "\nallow_non_tls: true")
    async with Proxy(server.port) as proxy:
        sent = watch(proxy)
        publisher = await start(tls_url(proxy), tls_ca_file=certificates.ca)
        await publisher.publish(record("test.a", b"1"))
        assert b"CONNECT" not in sent


async def test_n11_mutual_tls(server: NatsServer, start: Start, certificates: Certificates) -> None:
    await asyncio.to_thread(server.restart, certificates.config_mtls)
    client = certificates.client
    publisher = await start(tls_url(server), tls_ca_file=certificates.ca, tls_cert_file=client, tls_key_file=client)
    await publisher.publish(record("test.a", b"1"))
    without = await start(tls_url(server), tls_ca_file=certificates.ca, wait=False)
    await reasons(without, "BRIDGE_NATS_TLS_CERT_FILE")


async def test_n11_a_changed_client_certificate_is_used_at_once_and_a_bad_one_never(
    server: NatsServer, start: Start, certificates: Certificates, tmp_path: Path
) -> None:
    await asyncio.to_thread(server.restart, certificates.config_mtls)
    client = tmp_path / "client.pem"
    client.write_bytes(certificates.client.read_bytes())
    files = {"tls_cert_file": client, "tls_key_file": client}
    publisher = await start(tls_url(server), tls_ca_file=certificates.ca, **files)
    first = publisher._outbox.link
    client.write_text("nonsense")
    await asyncio.to_thread(server.restart)
    await until(lambda: publisher._outbox.link not in (None, first), within_s=15)
    await ready(publisher)
    second = publisher._outbox.link
    client.write_bytes(certificates.client.read_bytes() + b"\n")
    await until(lambda: publisher._outbox.link not in (None, second), within_s=10)
    await publisher.publish(record("test.a", b"1"))


async def test_n11_tls_before_the_first_word(server: NatsServer, start: Start, certificates: Certificates) -> None:
    await asyncio.to_thread(server.restart, certificates.config_first)
    publisher = await start(tls_url(server), tls_ca_file=certificates.ca, tls_first=True)
    await publisher.publish(record("test.a", b"1"))


def test_n11_less_than_tls_1_2_is_not_spoken(certificates: Certificates) -> None:
    context = make_context(certificates.ca, None, None, prefix="BRIDGE_NATS_TLS")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def watch(proxy: Proxy) -> bytearray:
    """What we send in clear."""
    sent = bytearray()

    def note(chunk: bytes) -> bytes:
        sent.extend(chunk)
        return chunk

    proxy.up.edit = note
    return sent
