"""Which broker to try next, with which login and which TLS. One attempt at a time; the pace is the supervisor's."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, cast

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import AuthenticationFailedError, KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from bridge.publishers.base import ReadSecret
from bridge.publishers.kafka.faults import CannotConnect
from bridge.publishers.kafka.link import Link
from bridge.publishers.kafka.records import MAX_BATCH_BYTES
from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.tls import ClientTls

__all__ = ["Dialer", "client_options", "client_tls", "knock"]

_DIAL_TIMEOUT_S = 4.0
# Also the brokers' own limit for replicas to follow. When it is over the library sends the batch again with the same
# sequence numbers, which costs nothing but the attempt.
_REQUEST_TIMEOUT_MS = 5000
_BACKOFF_MS = 100
_MAX_DISCOVERED = 16
_ADVERTISED = (
    "the broker answers, but not at the addresses that it and its cluster advertise, or not for a producer: check "
    "advertised.listeners of the brokers"
)


class Dialer:
    """Opens links to one cluster, by each broker in turn: the configured ones, then those they told of."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._tls = client_tls(settings)
        self._discovered: tuple[str, ...] = ()
        self._next = 0

    @property
    def servers(self) -> int:
        """How many attempts try each server once."""
        return len(self._settings.servers) + len(self._discovered)

    def learn(self, brokers: Iterable[tuple[str, int]]) -> None:
        """Take over the brokers that the cluster told of: the configured ones may be down when they are needed."""
        servers = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in brokers)
        fresh = [server for server in servers if server not in self._settings.servers]
        self._discovered = tuple(fresh[:_MAX_DISCOVERED])

    def login(self) -> tuple[str | ssl.SSLContext, ...]:
        """What a link is made with today, to see whether it has changed; without tokens, which change all the time.

        Raises:
            CannotConnect, UnusableFile: a secret or a PEM file cannot be read.
        """
        password = self._settings.password
        context = () if self._tls is None else (self._tls.context(),)
        return context if password is None else (_read(password, "PASSWORD"), *context)

    async def dial(self) -> Link:
        """Try the next server.

        Raises:
            Exception: for `faults.connect_reason`. Nothing is left open.
        """
        settings = self._settings
        # In turn one that was configured and one that was told of: after a move only the configured names are right.
        kinds = [servers for servers in (settings.servers, self._discovered) if servers]
        kind = kinds[self._next % len(kinds)]
        server = kind[self._next // len(kinds) % len(kind)]
        self._next += 1
        options = client_options(settings, self._tls)
        async with asyncio.timeout(_DIAL_TIMEOUT_S):
            metadata = await knock(server, options)
        link = Link(
            {
                **options,
                "compression_type": settings.compression,
                "max_batch_size": MAX_BATCH_BYTES,
                "retry_backoff_ms": _BACKOFF_MS,
            }
        )
        try:
            async with asyncio.timeout(_DIAL_TIMEOUT_S):
                await link.producer.start_with(metadata)
        except TimeoutError:
            await link.close()
            raise CannotConnect(_ADVERTISED) from None
        except BaseException:
            await link.close()
            raise
        return link


async def knock(server: str, options: dict[str, Any]) -> Any:  # noqa: ANN401 -- the library's
    """Connect, log in and ask who is in the cluster; here the library raises what is wrong, later it only logs it.

    Raises:
        Exception: why not.
    """
    host, _, port = server.rpartition(":")
    by_token = options.get("sasl_mechanism") == "OAUTHBEARER"
    connection: AIOKafkaConnection | None = None
    try:
        connection = await create_conn(host.strip("[]"), int(port), **options)
        answer = await connection.send(MetadataRequest([]))
    except AssertionError as error:  # how the library takes answers that it does not expect
        raise KafkaError from error
    except KafkaConnectionError as error:
        if by_token and connection is not None:
            raise AuthenticationFailedError from error
        raise
    finally:
        if connection is not None:
            connection.close()
    if not answer.brokers:
        # The library takes a refused token for a good one, and the broker's answer to what follows for an empty one.
        raise AuthenticationFailedError if by_token else KafkaConnectionError
    return answer


def client_tls(settings: KafkaSettings) -> ClientTls | None:
    """The files for TLS; None: without."""
    files = (settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
    return ClientTls(*files, prefix="BRIDGE_KAFKA_TLS") if settings.tls else None


def client_options(settings: KafkaSettings, tls: ClientTls | None) -> dict[str, Any]:
    """What the library's clients all take: TLS and the login of today.

    Args:
        settings: which login.
        tls: of these settings; without it the library refuses to connect where they ask for TLS.

    Raises:
        CannotConnect, UnusableFile: a secret or a PEM file cannot be read.
    """
    protocol = ("SASL_" if settings.sasl else "") + ("SSL" if settings.tls else "PLAINTEXT")
    options: dict[str, Any] = {
        "client_id": settings.client_id,
        "request_timeout_ms": _REQUEST_TIMEOUT_MS,
        "security_protocol": protocol,
    }
    if tls is not None:
        options["ssl_context"] = tls.context()
    if settings.sasl is not None:
        options["sasl_mechanism"] = settings.sasl
    if settings.sasl == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = _Tokens(cast("ReadSecret", settings.token))
    elif settings.sasl is not None:
        options["sasl_plain_username"] = settings.user
        options["sasl_plain_password"] = _read(cast("ReadSecret", settings.password), "PASSWORD")
    return options


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]  # the library is not typed
    """The token of today, for each connection: tokens expire."""

    def __init__(self, read: ReadSecret) -> None:
        self._read = read

    async def token(self) -> str:
        """Read off the loop: the file may be on a slow mount (K10)."""
        return (await asyncio.to_thread(_read, self._read, "TOKEN")).strip()


def _read(secret: ReadSecret, name: str) -> str:
    try:
        return secret()
    except (OSError, ValueError) as error:
        raise CannotConnect(f"BRIDGE_KAFKA_{name} cannot be read ({type(error).__name__})") from error
