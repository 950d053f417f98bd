"""uvicorn's httptools protocol with the limits it lacks: deadlines for headers and unread answers, a cap on headers.

Tried without: a partial header stayed open for over 12 s, 96 MB of headers were taken into memory, and a client that
asked and did not read held its connection and a task for good.
It also answers what is not HTTP in our error format, lets a client that has closed its sending half still read the
answer, and takes no offer of another protocol, which some clients make with every request: httptools would take the
body for that protocol's, and an event would come in as nothing.
Private names of uvicorn are used (`_unset_keepalive_if_required`), so its minor version is pinned.
"""

import asyncio
from typing import Any, ClassVar

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from bridge.ingest import outcomes
from bridge.ingest.answers import error_body
from bridge.ingest.outcomes import Outcome
from bridge.telemetry.facts import Facts

__all__ = ["HttpLimits", "make_protocol"]

# Bytes of a request beyond its headers and its body: chunk framing. Small chunks are honest, one-byte ones are not.
_FRAMING_FACTOR = 4
_LINE_OVERHEAD_BYTES = 4  # ": " and CRLF


class HttpLimits:
    """What one request may cost before anybody has proven anything."""

    def __init__(self, *, header_timeout_s: float, max_header_bytes: int, max_body_bytes: int) -> None:
        """Limits.

        Args:
            header_timeout_s: from the connection's (or the next request's) first byte to the end of its headers; and
                for how long answers may wait for a client that does not read them.
            max_header_bytes: request line and headers together.
            max_body_bytes: the largest body any source takes.
        """
        self.header_timeout_s = header_timeout_s
        self.max_header_bytes = max_header_bytes
        self.max_message_bytes = max_header_bytes + _FRAMING_FACTOR * max_body_bytes


def make_protocol(limits: HttpLimits, facts: Facts) -> type[HttpToolsProtocol]:
    """The protocol class with these limits, to be passed to uvicorn as `http=`."""
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": limits, "facts": facts})


class _LimitedProtocol(HttpToolsProtocol):
    limits: ClassVar[HttpLimits]
    facts: ClassVar[Facts]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_head = True  # waiting for a request or inside its headers
        self._offers = False  # to go on in another protocol
        self._message_bytes = 0  # received of the current message, framing included
        self._chunk_bytes = 0  # received last
        self._shared_bytes = 0  # of the chunk that ended the last message: some may be of the current one
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._refusal: Outcome | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_header_timer()
        self._disarm_unread_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called when more is written than the client reads: it may let its answers wait only so long."""
        super().pause_writing()
        self._arm_unread_timer()

    def resume_writing(self) -> None:
        """Called when it has read on."""
        self._disarm_unread_timer()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._see_out()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep a half-closed connection for the answer, when a whole request is under way (never over TLS)."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body or self.scheme == "https":
            return None
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return  # answered and closing
        self._chunk_bytes = len(data)
        self._message_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._in_head:
            if self._message_bytes > self.limits.max_header_bytes:
                self._refuse(outcomes.HEADERS_TOO_LARGE)
            elif self._message_bytes and self._header_timer is None:
                self._arm_header_timer()
        elif self._message_bytes > self.limits.max_message_bytes:
            self.transport.close()  # endless framing; the body itself is counted by its reader

    def _feed(self, data: bytes) -> None:
        """Parse it; a request that offers another protocol as if it did not."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offered:
                head = self._head_without_offer()
                data = head + data[offered.args[0] :]
                self._offers = False
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
            else:
                return

    def _head_without_offer(self) -> bytes:
        line = b"%b %b HTTP/%b\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        headers = (b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade")
        return line + b"".join(headers) + b"\r\n"

    def on_headers_complete(self) -> None:
        # Counted only where there may be too many: of the usual request all that came is less than they may have.
        limit = self.limits.max_header_bytes
        if self._message_bytes + self._shared_bytes > limit and self._count_headers() > limit:
            self._refusal = outcomes.HEADERS_TOO_LARGE
            raise ValueError("headers too large")  # ends the parsing; send_400_response answers
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("no tunnel")
            self._offers = True
            return
        self._in_head = False
        self._disarm_header_timer()
        super().on_headers_complete()
        self.headers = []  # a body's trailers would join them else: a proof must not be in what nobody else reads

    def on_message_complete(self) -> None:
        if self._offers:
            return  # the head was complete, and comes again
        self._in_head = True
        self._message_bytes = 0
        self._shared_bytes = self._chunk_bytes
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for whatever the parser refuses."""
        del msg
        self._refuse(self._refusal or outcomes.BAD_REQUEST)

    def _count_headers(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + _LINE_OVERHEAD_BYTES for name, value in self.headers)

    def _arm_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(self.limits.header_timeout_s, self._header_timeout)

    def _disarm_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _see_out(self) -> None:
        """Closing: what the client has not read yet is kept for it, but not for good."""
        if self.transport.get_write_buffer_size():
            self._arm_unread_timer()

    def _arm_unread_timer(self) -> None:
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.limits.header_timeout_s, self.transport.abort)

    def _disarm_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _header_timeout(self) -> None:
        self._header_timer = None
        if not self._in_head or self.transport.is_closing():
            return
        if self._message_bytes:
            self._refuse(outcomes.HEADER_TIMEOUT)
        else:
            self.transport.close()  # never said a word

    def _refuse(self, outcome: Outcome) -> None:
        """Answer and close, once. Where an earlier request still waits for its answer, just close."""
        self._refusal = outcome
        self._disarm_header_timer()
        self.facts.rejected(
            "", outcome.code, outcome.status, detail=outcome.meaning, client=self.client[0] if self.client else None
        )
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            body = error_body(outcome.code, outcome.meaning)
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (STATUS_LINE[outcome.status], len(body), body)
            )
        self.transport.close()
        self._see_out()
