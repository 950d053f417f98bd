"""One HTTP listener inside our own event loop: uvicorn without its signal handlers and its own main function."""

import asyncio
import math
import socket
import ssl

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HttpServer"]

# Longer than the idle time of the usual proxies in front (nginx 60 s), so that they close first and never
# send a request into a connection that we are closing.
_KEEP_ALIVE_S = 75


class HttpServer:
    """Serves an application on a bound socket until stopped."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        shutdown_timeout_s: float,
        protocol: type[HttpToolsProtocol] = HttpToolsProtocol,
        tls: tuple[str, str] | None = None,
    ) -> None:
        """Prepare.

        Args:
            app: the application.
            listener: a bound socket, not yet listening; owned by the server from now on.
            shutdown_timeout_s: how long requests under way may take to finish at the stop.
            protocol: the HTTP protocol class.
            tls: paths of certificate chain and key; TLS 1.2 or newer.
        """
        self._tls = tls
        config = uvicorn.Config(
            app,
            http=protocol,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(shutdown_timeout_s),
        )
        config.load()
        if tls is not None:
            self._context = _context(*tls)
            config.ssl = _context(*tls)
            # Asked at each handshake, also of a client that names no host: the way to another certificate for a
            # listener that is open.
            config.ssl.sni_callback = self._show_newest
        self._listener = listener
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._ticking: asyncio.Task[None] | None = None

    def reread_certificate(self) -> None:
        """Show new connections what the files hold now; from any thread.

        Raises:
            OSError: they cannot be read or are no pair (`ssl.SSLError`), and the certificate of before stays.
        """
        if self._tls is not None:
            self._context = _context(*self._tls)

    def _show_newest(self, connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        connection.context = self._context

    async def start(self) -> None:
        """Accept connections from now on."""
        await self._server.startup(sockets=[self._listener])
        self._ticking = asyncio.create_task(self._server.main_loop())

    async def stop(self) -> None:
        """Accept no more, let requests under way finish within the timeout, close."""
        if self._ticking is None:
            self._listener.close()
            return
        ticking, self._ticking = self._ticking, None
        ticking.cancel()  # it only waits for its next look at the clock
        await asyncio.wait([ticking])
        await self._server.shutdown(sockets=[self._listener])


def _context(cert_file: str, key_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An empty pass phrase: without one OpenSSL would ask the terminal for it, and block.
    context.load_cert_chain(cert_file, key_file, password="")
    return context
