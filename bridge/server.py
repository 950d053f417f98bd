"""One HTTP listener inside our own event loop: uvicorn without its signal handlers and its own main function."""

import asyncio
import math
import socket
import ssl

import uvicorn
from litestar import Litestar
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HttpServer"]

# Longer than the idle time of the usual proxies in front (nginx 60 s), so that they close first and never
# send a request into a connection that we are closing.
_KEEP_ALIVE_S = 75


class HttpServer:
    """Serves an application on a bound socket until stopped."""

    def __init__(
        self,
        app: Litestar,
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
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )
        config.load()
        if config.ssl is not None:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self._listener = listener
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        await self._server.startup(sockets=[self._listener])
        self._ticking = asyncio.create_task(self._server.main_loop())

    async def stop(self) -> None:
        """Accept no more, let requests under way finish within the timeout, close."""
        if self._ticking is None:
            self._listener.close()
            return
        self._server.should_exit = True
        await self._ticking
        self._ticking = None
        await self._server.shutdown(sockets=[self._listener])
