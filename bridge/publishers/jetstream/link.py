"""One connection to one NATS server, from its birth to its end; never reused, never repaired.

nats-py can reconnect by itself, and each way of doing so has a hole: any `-ERR` closes the client for good
(`_process_err`), the reconnect task dies on unexpected errors, it waits without limit for a black hole to close
(issues 671, 461), and what it buffers meanwhile is sent after we answered 503. So its reconnecting is off: a link that
fails is thrown away and the publisher builds a new one.

The answers to publishes come to one inbox; a dict finds the waiting future. `js.publish` costs a timer and a task more
each and leaks its entry when it fails.
"""

import asyncio
import itertools
import secrets
import ssl
from contextlib import suppress
from typing import Any

from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, Error, OutboundBufferLimitError

from bridge.publishers.nats.settings import NatsSettings

__all__ = ["Link", "LinkLost", "NoResponders", "NotPermitted"]

CONNECT_TIMEOUT_S = 2.0
_CLOSE_TIMEOUT_S = 1.0
# Three unanswered pings of an idle link: half-open is noticed in 15 s instead of nats-py's six minutes.
_PING_INTERVAL_S = 5
_MAX_OUTSTANDING_PINGS = 2


class LinkLost(Exception):
    """The connection ended before the answer came."""


class NoResponders(Exception):
    """Nobody listens on the subject: no stream has it, or its leader is being elected."""


class NotPermitted(Exception):
    """The user may not publish there."""


class _WrongServer(Exception):
    """Somebody else listens where our own server should."""


class _Client(Client):
    """nats-py's client that never falls back to plain text."""

    def __init__(self, *, tls_required: bool) -> None:
        super().__init__()
        self._tls_required = tls_required

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 -- theirs
        # nats-py goes on in plain text, credentials and all, when a server (or somebody between) offers no TLS.
        if self._tls_required and not info.get("tls_required"):
            raise Error("nats: the server does not ask for TLS, and the URL says tls://")
        await super()._process_info(info, initial_connection)


class Link:
    """A live connection.

    Attributes:
        lost: set when the connection has ended, for whatever reason.
        last_error: the last thing the server complained about, without subjects.
    """

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._inbox = f"_INBOX.{secrets.token_hex(11)}."
        self._tokens = map(str, itertools.count())
        self._pending: dict[str, asyncio.Future[bytes]] = {}
        self._unanswered_since: float | None = None
        self.lost = asyncio.Event()
        self.last_error: str | None = None

    @classmethod
    async def connect(cls, settings: NatsSettings, server: str) -> "Link":
        """Connect within CONNECT_TIMEOUT_S.

        Raises:
            ConnectionError: whatever went wrong, in words without secrets.
        """
        client = _Client(tls_required=server.startswith("tls:"))
        link = cls(client)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.connect(
                    servers=[server],
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    connect_timeout=int(CONNECT_TIMEOUT_S),
                    ping_interval=_PING_INTERVAL_S,
                    max_outstanding_pings=_MAX_OUTSTANDING_PINGS,
                    pending_size=-1,
                    name=settings.name,
                    error_cb=link._on_error,
                    closed_cb=link._on_closed,
                    disconnected_cb=link._on_closed,
                    **_credentials(settings),
                    **_tls(settings, server),
                )
                link._check_server(settings)
                await client.subscribe(link._inbox + "*", cb=link._on_answer)
        except BaseException as error:
            await link.close()
            if isinstance(error, Exception):
                raise ConnectionError(_reason(error, link.last_error)) from None
            raise
        return link

    @property
    def server_version(self) -> str:
        """As the server says."""
        return str(self._client._server_info.get("version", "unknown"))  # noqa: SLF001

    @property
    def max_payload(self) -> int:
        """The largest message in bytes, headers included."""
        return self._client.max_payload

    @property
    def discovered(self) -> list[str]:
        """Other servers of the cluster, as host:port."""
        return [uri.netloc for uri in self._client.discovered_servers]

    @property
    def pending(self) -> int:
        """Publishes that wait for their answer."""
        return len(self._pending)

    def silent_for(self) -> float:
        """Seconds since the first publish that nothing at all was heard after; 0 if nothing is awaited."""
        return 0.0 if self._unanswered_since is None else self._loop.time() - self._unanswered_since

    async def request(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> bytes:
        """Publish and wait for the answer. The caller owns the timeout; nothing is kept after it.

        Raises:
            LinkLost: the connection ended first.
            NoResponders: no stream takes the subject now.
            NotPermitted: the server complained about permissions meanwhile.
            MaxPayloadError: over the server's limit.
        """
        token = next(self._tokens)
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._pending[token] = future
        if self._unanswered_since is None:
            self._unanswered_since = self._loop.time()
        try:
            await self._client.publish(subject, payload, reply=self._inbox + token, headers=headers)
            return await future
        except (ConnectionClosedError, OutboundBufferLimitError, OSError) as error:
            raise LinkLost from error
        finally:
            self._pending.pop(token, None)

    def _check_server(self, settings: NatsSettings) -> None:
        found = self._client._server_info.get("server_name")  # noqa: SLF001 -- no public name; pinned minor
        if settings.expected_server_name not in (None, found):
            raise _WrongServer("another server answers on this address, not the one we started")

    async def close(self) -> None:
        """End it, within a bounded time, whatever state it is in."""
        self._end()
        client = self._client
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await client.close()
                return
        transport = getattr(client, "_transport", None)  # a black hole never finishes its close: cut it
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    def subscribe_client(self) -> Client:
        """The client itself, for the reader."""
        return self._client

    async def _on_answer(self, message: Msg) -> None:
        self._unanswered_since = None if len(self._pending) <= 1 else self._loop.time()
        future = self._pending.get(message.subject.rpartition(".")[2])
        if future is None or future.done():
            return  # too late; its caller has answered already
        if message.headers and message.headers.get("Status") == "503":
            future.set_exception(NoResponders())
        else:
            future.set_result(message.data)

    async def _on_error(self, error: Exception) -> None:
        text = str(error).lower()
        if "permissions violation" in text:
            # not told which publish it was; all that wait are told, and those that were stored are deduplicated
            self.last_error = "the user lacks a permission (publish on the events' subjects, JetStream API, inbox)"
            self._unanswered_since = None
            self._fail(NotPermitted())
        elif text:
            self.last_error = _reason(error, None)

    async def _on_closed(self) -> None:
        self._end()

    def _end(self) -> None:
        self.lost.set()
        self._fail(LinkLost())

    def _fail(self, error: Exception) -> None:
        for future in list(self._pending.values()):
            if not future.done():
                future.set_exception(error)


def _credentials(settings: NatsSettings) -> dict[str, Any]:
    if settings.creds is not None:
        return {"user_credentials": RawCredentials(settings.creds())}
    if settings.nkey is not None:
        return {"nkeys_seed_str": settings.nkey()}
    if settings.token is not None:
        return {"token": settings.token()}
    if settings.user is not None:
        return {"user": settings.user, "password": settings.password() if settings.password else None}
    return {}


def _tls(settings: NatsSettings, server: str) -> dict[str, Any]:
    if not server.startswith("tls:"):
        return {}
    context = ssl.create_default_context(cafile=settings.tls_ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_cert_file:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    options: dict[str, Any] = {"tls": context, "tls_handshake_first": settings.tls_first}
    if settings.tls_hostname:
        options["tls_hostname"] = settings.tls_hostname
    return options


def _reason(error: Exception, server_error: str | None) -> str:
    """In words, and without the address or anything the server quoted."""
    text = str(error).lower()
    if isinstance(error, _WrongServer):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return error.strerror or "network error"
    for word, reason in _REASONS.items():
        if word in text:
            return reason
    return server_error or "no answer in time"


_REASONS = {
    "authorization": "the server refuses the credentials",
    "authentication": "the server refuses the credentials",
    "revoked": "the server refuses the credentials",
    "does not ask for tls": "the server does not ask for TLS, and the URL says tls://",
    "maximum connections": "the server takes no more connections",
    "stale connection": "the connection went stale",
}
