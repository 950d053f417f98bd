"""Which server to try next, with which login and which TLS. One attempt at a time; the pace is the supervisor's."""

import contextlib
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from nats.aio.client import RawCredentials

from bridge.publishers.base import ReadSecret
from bridge.publishers.creds import creds_of, seed_of
from bridge.publishers.nats.faults import CannotConnect
from bridge.publishers.nats.link import Link
from bridge.publishers.nats.settings import NatsSettings
from bridge.publishers.tls import ClientTls

__all__ = ["Dialer"]

_DEFAULT_PORT = 4222
_MAX_DISCOVERED = 16


class Dialer:
    """Opens links to the servers of one cluster, in turn: the configured ones, then those they told of."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        files = (settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
        self._client_tls = ClientTls(*files, prefix="BRIDGE_NATS_TLS")
        self._configured = [_split(server) for server in settings.servers]
        self._discovered: list[SplitResult] = []
        self._next = 0

    @property
    def servers(self) -> int:
        """How many attempts try each server once."""
        return len(self._configured) + len(self._discovered)

    def login(self) -> tuple[str | ssl.SSLContext, ...]:
        """What a link is made with today, to see whether it has changed.

        Raises:
            CannotConnect, UnusableFile: a secret or a PEM file cannot be read.
        """
        context = (self._client_tls.context(),) if self._requires_tls() else ()
        return (*map(str, self._login().values()), *context)

    async def dial(self, make_link: Callable[[bool], Link]) -> Link:
        """Try the next server.

        Args:
            make_link: makes an unopened link; is told whether TLS is required.

        Raises:
            Exception: for `faults.connect_reason`.
        """
        servers = self._configured + self._discovered
        self._next = (self._next + 1) % len(servers)
        server = servers[self._next - 1]
        tls_required = self._requires_tls()
        options = self._login() | self._tls(server, required=tls_required)
        host = f"[{server.hostname}]" if ":" in (server.hostname or "") else server.hostname
        link = make_link(tls_required)
        await link.open({**options, "servers": [f"nats://{host}:{server.port or _DEFAULT_PORT}"]})
        self.learn(link.client.info)
        return link

    def learn(self, info: dict[str, Any]) -> None:
        """Take over the servers that the cluster told of (`connect_urls`)."""
        known = {(server.hostname, server.port) for server in self._configured}
        with contextlib.suppress(ValueError, TypeError):  # not worth losing a link for
            urls = [urlsplit(f"nats://{url}") for url in info.get("connect_urls") or ()]
            fresh = [url for url in urls if url.hostname and (url.hostname, url.port) not in known]
            self._discovered = fresh[:_MAX_DISCOVERED]

    def _login(self) -> dict[str, Any]:
        settings = self._settings
        if settings.creds is not None:
            return {"user_credentials": RawCredentials(_clean_creds(_read(settings.creds, "CREDS")))}
        if settings.nkey is not None:
            return {"nkeys_seed_str": _clean_seed(_read(settings.nkey, "NKEY"))}
        if settings.token is not None:
            return {"token": _read(settings.token, "TOKEN")}
        if settings.user is not None:
            password = "" if settings.password is None else _read(settings.password, "PASSWORD")
            return {"user": settings.user, "password": password}
        return _login_of(self._configured[0])

    def _requires_tls(self) -> bool:
        settings = self._settings
        asked = settings.tls_ca_file or settings.tls_cert_file or settings.tls_hostname or settings.tls_first
        return bool(asked) or any(server.scheme == "tls" for server in self._configured)

    def _tls(self, server: SplitResult, *, required: bool) -> dict[str, Any]:
        if not required:
            return {}  # and if the server asks for it, the library verifies against the system's authorities
        settings = self._settings
        # Servers found by discovery are known by address alone; their certificates are for the name we were given.
        name = settings.tls_hostname or (server if server in self._configured else self._configured[0]).hostname
        return {"tls": self._client_tls.context(), "tls_hostname": name, "tls_handshake_first": settings.tls_first}


def _split(server: str) -> SplitResult:
    url = urlsplit(server)
    if url.scheme not in ("nats", "tls") or not url.hostname:
        raise ValueError("a NATS server is nats://host:port or tls://host:port")
    return url


def _login_of(url: SplitResult) -> dict[str, Any]:
    if url.username is None:
        return {}
    if url.password is None:
        return {"token": unquote(url.username)}
    return {"user": unquote(url.username), "password": unquote(url.password)}


def _read(secret: ReadSecret, name: str) -> str:
    try:
        return secret()
    except (OSError, ValueError) as error:
        raise CannotConnect(f"BRIDGE_NATS_{name} cannot be read ({type(error).__name__})") from error


def _clean_seed(text: str) -> str:
    if (seed := seed_of(text)) is None:
        raise CannotConnect("BRIDGE_NATS_NKEY is no seed of a user (58 characters that begin with SU)")
    return seed


def _clean_creds(text: str) -> str:
    if (creds := creds_of(text)) is None:
        raise CannotConnect("BRIDGE_NATS_CREDS holds no user JWT with its seed")
    return creds
