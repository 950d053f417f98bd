"""The private names of nats-py that we override or use, and the parser that takes the answers off the wire."""

import asyncio
import inspect
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from bridge.publishers.nats import NatsPublisher, NatsSettings
from bridge.publishers.nats.client import NatsClient, _ReplyParser
from tests.brokers import NatsServer, stored
from tests.publishers.contract import READY_S, ready, record

INBOX = "_INBOX.0123456789abcdef012345."


class Ears:
    """A listener that notes."""

    def __init__(self) -> None:
        self.heard = False
        self.said: list[Any] = []

    def answered(self, token: int, data: bytes) -> None:
        self.said.append((token, data))

    def unanswerable(self, token: int) -> None:
        self.said.append((token, None))

    def complained(self, text: str) -> None:
        self.said.append(text)

    def lost(self, cause: BaseException | str) -> None:
        self.said.append(cause)

    def informed(self, info: dict[str, Any]) -> None:
        self.said.append(info)


# ---- the library


@pytest.mark.parametrize("name", [name for name in vars(NatsClient) if name.startswith("_") and hasattr(Client, name)])
def test_what_we_override_has_the_librarys_signature(name: str) -> None:
    ours, theirs = getattr(NatsClient, name), getattr(Client, name)
    if name == "__init__" or not callable(theirs):
        return
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


def test_the_library_still_has_what_we_override() -> None:
    overridden = [
        "_select_next_server",
        "_process_info",
        "_process_err",
        "_process_op_err",
        "_process_pong",
        "_process_msg",
    ]
    assert [name for name in overridden if not (hasattr(Client, name) and name in vars(NatsClient))] == []
    assert inspect.iscoroutinefunction(Parser.parse)
    assert [name for name in ("_io_reader", "_io_writer", "_bare_io_writer") if not hasattr(TcpTransport(), name)] == []  # type: ignore[no-untyped-call]


async def test_the_library_still_has_what_we_use(server: NatsServer) -> None:
    ears = Ears()
    client = NatsClient(ears, tls_required=False, server_name=None)
    await client.dial({"servers": [server.url]}, INBOX)
    try:
        assert client._reading_task is not None
        assert client._ping_interval_task is not None
        assert client._flusher_task is not None
        assert client.info["server_name"] == server.name
        assert client._reply_sid in client._subs
        assert client._subs[client._reply_sid]._wait_for_msgs_task is None, "no task for answers"
        assert client.unsent_bytes == 0
    finally:
        client.abandon()
        await client.ended()
    assert client.is_closed
    client.abandon()


async def test_a_read_loop_that_ends_by_itself_is_reported(server: NatsServer) -> None:
    ears = Ears()
    client = NatsClient(ears, tls_required=False, server_name=None)
    await client.dial({"servers": [server.url]}, INBOX)
    ears.said.clear()
    assert client._reading_task is not None
    client._reading_task.cancel()
    await asyncio.wait([client._reading_task])
    await asyncio.sleep(0)
    assert ears.said
    client.abandon()
    await client.ended()


async def test_no_message_of_the_server_reaches_the_librarys_own_recovery(server: NatsServer) -> None:
    """Whatever `_process_err` and `_process_op_err` do there, here they only report."""
    ears = Ears()
    client = NatsClient(ears, tls_required=False, server_name=None)
    await client.dial({"servers": [server.url]}, INBOX)
    before = asyncio.all_tasks()
    ears.said.clear()
    for text in ("'authorization violation'", "'stale connection'", "'anything'"):
        await client._process_err(text)
    await client._process_op_err(ProtocolError())
    assert len(ears.said) == 4
    assert asyncio.all_tasks() == before
    assert client.is_connected
    client.abandon()
    await client.ended()


# ---- the parser

answers = st.lists(st.tuples(st.integers(0, 10**18 - 1), st.binary(max_size=40)), max_size=8)


def wire_of(expected: list[tuple[int, bytes]], others: list[bytes]) -> bytes:
    parts = []
    for number, (token, data) in enumerate(expected):
        if number < len(others):
            parts.append(others[number])
        parts.append(b"MSG %b%d 1 %d\r\n%b\r\n" % (INBOX.encode(), token, len(data), data))
    return b"".join(parts)


class Quiet(Client):
    """Takes what is no answer."""

    async def _process_ping(self) -> None:
        pass

    async def _process_pong(self) -> None:
        pass

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if sid == 1:
            self.slow.append((int(subject.rpartition(b".")[2]), data))  # type: ignore[attr-defined]


@given(
    expected=answers,
    others=st.lists(
        st.sampled_from([b"PING\r\n", b"+OK\r\n", b"PONG\r\n", b"MSG other 2 3\r\nabc\r\n", b""]), max_size=8
    ),
    cuts=st.lists(st.integers(0, 700), max_size=12),
)
def test_answers_are_found_however_the_bytes_arrive(
    expected: list[tuple[int, bytes]], others: list[bytes], cuts: list[int]
) -> None:
    ears = Ears()
    client = Quiet()
    client.slow = ears.said  # type: ignore[attr-defined]
    parser = _ReplyParser(client, ears)  # type: ignore[arg-type]
    parser.expect(INBOX, 1)
    wire = wire_of(expected, others)

    async def feed() -> None:
        places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
        for begin, end in zip(places, places[1:], strict=False):
            await parser.parse(wire[begin:end])

    asyncio.run(feed())
    assert ears.said == expected
    assert not parser.buf
    assert not parser._tail
    assert parser.state == AWAITING_CONTROL_LINE


@pytest.mark.parametrize(
    "flood", [b"x", b"INFO {", b"MSG " + INBOX.encode(), b"MSG " + INBOX.encode() + b"1 1 999999999\r\n"]
)
async def test_a_flood_without_sense_does_not_fill_memory(flood: bytes) -> None:
    parser = _ReplyParser(Quiet(), Ears())  # type: ignore[arg-type]
    parser.expect(INBOX, 1)
    with pytest.raises(ProtocolError):
        for _ in range(100):
            await parser.parse(flood + b"9" * 65_536)


# ---- the loop that serves in production


def test_all_of_it_works_on_uvloop(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.publishers.supervision._GRACE_S", READY_S)  # how quick a restart is, is the machine's

    async def run() -> None:
        settings = NatsSettings(servers=(server.url,), subjects=("test.>",), provision="create")
        publisher = NatsPublisher(settings)
        await publisher.start()
        await ready(publisher)
        await asyncio.gather(*(publisher.publish(record("test.a", b"%d" % number)) for number in range(200)))
        await asyncio.to_thread(server.kill)
        starting = asyncio.ensure_future(asyncio.to_thread(server.start))
        await publisher.publish(record("test.a", b"after"))
        await starting
        await publisher.close()
        assert len(await stored(server.url, "EVENTS")) == 201

    uvloop.run(run())
