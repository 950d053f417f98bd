"""nats-py's client for one link: it connects, pings and parses, but never retries, buffers or waits.

The library's own recovery closes for good on most errors, can hang and can die silently, so all of it is replaced by
one report: `Listener.lost`. Private names of the library are overridden here and nowhere else; its minor version is
pinned, and a contract test fails when one of them is gone.
"""

import asyncio
import re
from typing import Any, Protocol

from nats import errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

__all__ = ["Listener", "NatsClient", "NotOurServer", "TlsNotOffered"]

_LINE_END_BYTES = 2
_NO_RESPONDERS = b"NATS/1.0 503"
# No answer and no control line of a sane server is longer; without a cap a peer that talks nonsense fills memory.
_MAX_UNPARSED_BYTES = 1_048_576


class TlsNotOffered(errors.Error):
    """The server does not do TLS, and we were told to."""


class NotOurServer(errors.Error):
    """Another server answers where ours should."""


class Listener(Protocol):
    """Who is told what comes over the link. Called synchronously from the read loop; must not raise."""

    heard: bool  # set to True at each sign of life

    def answered(self, token: int, data: bytes) -> None:
        """The answer to a request."""
        ...

    def unanswerable(self, token: int) -> None:
        """Nobody takes this request: no stream, or no leader just now."""
        ...

    def complained(self, text: str) -> None:
        """An error of the server's (lower case) that leaves the link up: permissions."""
        ...

    def lost(self, cause: BaseException | str) -> None:
        """The link is of no more use. May come several times."""
        ...

    def informed(self, info: dict[str, Any]) -> None:
        """The server told about itself."""
        ...


class _ReplyParser(Parser):
    """Takes the answers to our requests off the stream in one scan; all else goes the library's way.

    The library's way costs a header parse, a message object, a queue and a task switch an answer.
    """

    def __init__(self, client: "NatsClient", listener: Listener) -> None:
        super().__init__(client)
        self._listener = listener
        self._tail = b""
        self._prefix = b"MSG \0"  # matches nothing until `expect`
        self._match = re.compile(rb"(?!)").match

    def expect(self, inbox: str, sid: int) -> None:
        """From now on answers come to `<inbox><token>` on this subscription."""
        self._prefix = b"MSG " + inbox.encode()
        self._match = re.compile(rb"%b(\d{1,18}) %d (\d{1,9})\r\n" % (re.escape(self._prefix), sid)).match

    async def parse(self, data: bytes = b"") -> None:
        if not self.buf and self.state == AWAITING_CONTROL_LINE:
            data = self._scan(self._tail + data if self._tail else data)
            if not data:
                return
        await super().parse(data)
        if self.state == AWAITING_CONTROL_LINE and len(self.buf) > _MAX_UNPARSED_BYTES:
            raise errors.ProtocolError

    def _scan(self, data: bytes) -> bytes:
        """Deliver the answers that `data` begins with. Gives back what is none; keeps what may become one."""
        position, size = 0, len(data)
        match, answered = self._match, self._listener.answered
        while (found := match(data, position)) is not None:
            begin = found.end()
            end = begin + int(found[2])
            if end + _LINE_END_BYTES > size:
                break
            answered(int(found[1]), data[begin:end])
            position = end + _LINE_END_BYTES
        if position:
            self._listener.heard = True
        self._tail = b""
        rest = data[position:] if position else data
        if rest and self._may_become_answer(rest, begun=found is not None):
            if len(rest) > _MAX_UNPARSED_BYTES:
                raise errors.ProtocolError
            self._tail, rest = rest, b""
        return rest

    def _may_become_answer(self, rest: bytes, *, begun: bool) -> bool:
        if begun:
            return True
        prefix = self._prefix
        if len(rest) < len(prefix):
            return prefix.startswith(rest)
        return rest.startswith(prefix) and b"\r\n" not in rest


class NatsClient(Client):
    """One connection to one server."""

    def __init__(self, listener: Listener, *, tls_required: bool, server_name: str | None) -> None:
        super().__init__()
        self._listener = listener
        self._tls_required = tls_required
        self._server_name = server_name
        self._ps = self._replies = _ReplyParser(self, listener)
        self._reply_sid = -1

    async def dial(self, options: dict[str, Any], inbox: str) -> None:
        """Connect, log in and subscribe to `<inbox>*`, for `Listener.answered` to hear.

        Raises:
            OSError, nats.errors.Error, TimeoutError: it did not work; call `abandon` all the same.
        """
        try:
            await self.connect(**options, allow_reconnect=False, error_cb=_ignore)
        except OSError as error:
            if last_words := self._last_words():
                raise errors.Error(last_words) from error
            raise
        if not self.is_connected or self._reading_task is None:
            # The library takes anything but PONG and -ERR for "still connecting", and goes on.
            raise errors.UnexpectedEOF
        self._reading_task.add_done_callback(self._on_read_end)
        # A future instead of a callback: no task, no queue. Nothing gets there, `_process_msg` takes it all.
        subscription = await self.subscribe(f"{inbox}*", future=asyncio.get_running_loop().create_future())
        self._reply_sid = subscription._id  # noqa: SLF001 -- the library has no public name for it
        self._replies.expect(inbox, self._reply_sid)
        await self.flush()  # an error about the subscription comes before the answer to this

    def send(self, data: bytes) -> None:
        """Hand whole protocol messages to the socket."""
        self._tcp.write(data)  # type: ignore[no-untyped-call]

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet."""
        writer = self._tcp._io_writer  # noqa: SLF001 -- as above
        return 0 if writer is None else writer.transport.get_write_buffer_size()

    @property
    def info(self) -> dict[str, Any]:
        """What the server said of itself last."""
        return self._server_info

    @property
    def _tcp(self) -> TcpTransport:
        assert isinstance(self._transport, TcpTransport)  # noqa: S101 -- no other scheme gets here
        return self._transport

    def abandon(self) -> None:
        """Drop the link at once, unsent bytes and all. Idempotent, works in any state.

        Not `close()`: that flushes and then waits for the peer, on a dead link without end.
        """
        self._status = Client.CLOSED
        for task in self._own_tasks():
            task.cancel()
        if isinstance(self._transport, TcpTransport):
            for writer in (self._transport._io_writer, self._transport._bare_io_writer):  # noqa: SLF001 -- as above
                if writer is not None:
                    writer.transport.abort()

    async def ended(self) -> None:
        """Wait for the library's tasks after `abandon`."""
        await asyncio.gather(*self._own_tasks(), return_exceptions=True)

    def _last_words(self) -> str:
        """What the server said before it hung up on us: with the connection reset, the library never reads it."""
        reader = self._transport._io_reader if isinstance(self._transport, TcpTransport) else None  # noqa: SLF001 -- as above
        unread = bytes(getattr(reader, "_buffer", b""))
        return unread.decode(errors="replace") if unread.startswith(b"-ERR") else ""

    def _own_tasks(self) -> list[asyncio.Task[Any]]:
        tasks = [self._reading_task, self._ping_interval_task, self._flusher_task]
        tasks += [subscription._wait_for_msgs_task for subscription in self._subs.values()]  # noqa: SLF001 -- as above
        return [task for task in tasks if task is not None]

    def _on_read_end(self, _task: asyncio.Task[None]) -> None:
        """The library's read loop ends silently on whatever it does not expect."""
        if self._status != Client.CLOSED:
            self._listener.lost(errors.UnexpectedEOF())

    async def _select_next_server(self) -> None:
        """One attempt at one server. The library's own loop has no end with `allow_reconnect=False` either."""
        server = self._server_pool[0]
        await self._connect_to_server(server)
        self._current_server = server

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 -- the library's signature
        """Refuse before CONNECT is sent: after it the peer has our login."""
        if initial_connection:
            if self._server_name is not None and info.get("server_name") != self._server_name:
                raise NotOurServer
            if self._tls_required and not info.get("tls_required"):
                if not (info.get("tls_available") or self.options["tls_handshake_first"]):
                    raise TlsNotOffered
                info["tls_required"] = True  # the library goes without where TLS is merely offered
        else:
            self._server_info.update(info)
            self._listener.heard = True
        self._listener.informed(info)

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg:
            self._listener.complained(err_msg)
        else:
            self._listener.lost(err_msg)

    async def _process_op_err(self, e: BaseException) -> None:
        self._listener.lost(e)

    async def _process_pong(self) -> None:
        self._listener.heard = True
        await super()._process_pong()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self._listener.heard = True
        if sid != self._reply_sid:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        token = subject.rpartition(b".")[2]
        if not token.isdigit():
            return
        if headers and headers.startswith(_NO_RESPONDERS):
            self._listener.unanswerable(int(token))
        else:
            self._listener.answered(int(token), data)


async def _ignore(_error: Exception) -> None:
    """The library reports here what it raises or reports elsewhere as well."""
