"""HTTP itself, written by somebody who knows its dark corners: one answer that is true, or a closed connection.

And behind it the bridge lives on: nothing is under way any more, and the next good delivery is accepted.
"""

import asyncio
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.conftest import TOKEN, Serve, Served
from tests.server.test_hostile import BODY, HEAD, request

GOOD = request(BODY, extra=b"connection: close\r\n")
PATH = f"/webhooks/shop/{TOKEN}".encode()
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

SMUGGLED = {
    "length and chunks": HEAD + b"content-length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + GOOD,
    "chunks and length": HEAD + CHUNKED + b"content-length: 6\r\n\r\n0\r\n\r\n" + GOOD,
    "chunks before the last coding": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + GOOD,
    "another coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + GOOD,
    "a space before the colon": HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + GOOD,
    "a vertical tab": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + GOOD,
    "folded": HEAD + b"transfer-encoding:\r\n chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + GOOD,
    "lengths in a list": HEAD + b"content-length: 0, 0\r\n\r\n" + GOOD,
    "a length with a sign": HEAD + b"content-length: +0\r\n\r\n" + GOOD,
    "a length in hexadecimal": HEAD + b"content-length: 0x0\r\n\r\n" + GOOD,
    "a length beyond numbers": HEAD + b"content-length: " + b"9" * 5_000 + b"\r\n\r\n" + GOOD,
    "NUL in a name": HEAD + b"content-\x00length: 0\r\n\r\n" + GOOD,
    "NUL in a value": HEAD + b"x: \x00\r\ncontent-length: 0\r\n\r\n" + GOOD,
    "CR alone": HEAD + b"x: y\rcontent-length: 0\r\n\r\n" + GOOD,
    "a chunk that is larger than numbers": HEAD + CHUNKED + b"\r\nfffffffffffffffff\r\n" + GOOD,
    "a chunk with a sign": HEAD + CHUNKED + b"\r\n-1\r\n" + GOOD,
    "a chunk in hexadecimal": HEAD + CHUNKED + b"\r\n0x0\r\n\r\n" + GOOD,
    "a chunk without its end": HEAD + CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n" + GOOD,
    "a name without a value": HEAD + b"content-length\r\n\r\n" + GOOD,
    "a space in the path": b"POST /web hooks HTTP/1.1\r\n\r\n" + GOOD,
    "NUL in the path": b"POST /webhooks/\x00 HTTP/1.1\r\n\r\n" + GOOD,
    "another protocol": b"POST " + PATH + b" FTP/1.1\r\n\r\n" + GOOD,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + GOOD,
    "a tunnel": b"CONNECT x:80 HTTP/1.1\r\n\r\n" + GOOD,
    "no path": b"OPTIONS * HTTP/1.1\r\n\r\n" + GOOD,
    "no method": b" " + PATH + b" HTTP/1.1\r\n\r\n" + GOOD,
}

HONEST = {
    "HTTP/1.0": GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.0 that would go on": request(BODY, extra=b"connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a whole URL": GOOD.replace(b"POST /", b"POST http://x/"),
    "chunks": HEAD + CHUNKED + b"connection: close\r\n\r\n" + CHUNKS,
    "chunks with extensions and trailers": HEAD
    + CHUNKED
    + b"connection: close\r\n\r\n"
    + CHUNKS.replace(b"\r\n{", b";a=b\r\n{").replace(b"0\r\n\r\n", b"0\r\nt: v\r\n\r\n"),
    "an upgrade that is not taken": request(BODY, extra=b"connection: upgrade, close\r\nupgrade: websocket\r\n"),
    "an upgrade to HTTP/2": request(BODY, extra=b"connection: upgrade, http2-settings, close\r\nupgrade: h2c\r\n"),
    "expecting to be asked": request(BODY, extra=b"connection: close\r\nexpect: 100-continue\r\n"),
    "expecting something else": request(BODY, extra=b"connection: close\r\nexpect: the best\r\n"),
    "no host": GOOD.replace(b"host: x\r\n", b""),
    "two hosts": GOOD.replace(b"host: x\r\n", b"host: x\r\nhost: y\r\n"),
    "a host that is none": GOOD.replace(b"host: x", b"host: \xff/@:99999999"),
}


OFFERS = {
    "websocket": b"connection: upgrade\r\nupgrade: websocket\r\n",
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
}


@pytest.fixture
async def impatient(serve: Serve) -> Served:
    return await serve(header_timeout_s=0.2, deadline_s=0.4)


async def survived(served: Served, data: bytes, *, half_close: bool = False) -> list[bytes]:
    """The statuses of the answers to it, the bridge being as good as before."""
    try:
        answer = await asyncio.wait_for(served.raw(data, half_close=half_close), 10)
    except ConnectionError:
        answer = b""
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert not [status for status in statuses if status >= b"500"], answer
    assert len(served.publisher.records) <= statuses.count(b"200")
    assert (await served.raw(GOOD)).startswith(b"HTTP/1.1 200 ")
    served.publisher.records.clear()
    assert served.ingest.in_flight == 0
    return statuses


@pytest.mark.parametrize("name", SMUGGLED)
async def test_what_one_server_reads_so_and_another_so_is_refused_and_what_it_hides_is_not_read(
    impatient: Served, name: str
) -> None:
    statuses = await survived(impatient, SMUGGLED[name])
    assert len(statuses) <= 1, "none: what is wrong inside a body ends the connection"
    assert set(statuses) <= {b"400", b"404", b"405", b"408", b"413", b"431"}


@pytest.mark.parametrize("name", HONEST)
async def test_what_is_only_unusual_is_taken(impatient: Served, name: str) -> None:
    statuses = await survived(impatient, HONEST[name])
    assert [status for status in statuses if status != b"100"] == [b"200"]


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("cut", [1, 40, len(HEAD) + 60, -20, -1])
async def test_an_offer_of_another_protocol_is_not_taken_and_costs_no_event(
    serve: Serve, offer: bytes, cut: int
) -> None:
    """Some clients make it with every request: what is in the body must not be lost, least of all with success."""
    served = await serve(dead_letter_topic="bridge.dead-letter")
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for number in range(2):
        sent = request(BODY.replace(b"Bom dia", b"%d" % number), extra=offer) + request(b"{}")
        writer.write(sent[:cut])
        await writer.drain()
        await asyncio.sleep(0.01)  # a packet of its own
        writer.write(sent[cut:])
        assert (await asyncio.wait_for(reader.readuntil(b"}"), 5)).startswith(b"HTTP/1.1 200 ")
        assert (await asyncio.wait_for(reader.readuntil(b"}"), 5)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    topics = [record.topic for record in served.publisher.records]
    assert topics == ["events.shop.message.received", "bridge.dead-letter", "events.shop.message.received"]


async def test_who_expects_to_be_asked_for_the_body_is_not_where_it_is_not_wanted(impatient: Served) -> None:
    head = HEAD.replace(TOKEN.encode(), b"wrong") + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    assert await survived(impatient, head) == [b"401"]
    assert await survived(impatient, HEAD + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n") == [b"100", b"408"]


async def test_hundreds_of_requests_at_once_on_one_connection_are_each_answered(impatient: Served) -> None:
    statuses = await survived(impatient, request(b"{") * 300 + GOOD)
    assert statuses == [b"400"] * 300 + [b"200"]


PIECES = st.sampled_from(
    [
        HEAD,
        GOOD,
        b"POST " + PATH + b" HTTP/1.0\r\n",
        b"GET / HTTP/1.1\r\n",
        b"HEAD " + PATH + b" HTTP/1.1\r\n",
        b"OPTIONS " + PATH + b" HTTP/1.1\r\n",
        CHUNKED,
        CHUNKS,
        b"content-length: 3\r\n",
        b"content-length: 0\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: websocket\r\n",
        b"expect: 100-continue\r\n",
        b"content-encoding: gzip\r\n",
        b"authorization: Bearer \xff\r\n",
        b"traceparent: 00-0\r\n",
        b"accept: text/html\r\n",
        b"x: " + b"y" * 9_000 + b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b"\r\n\r\n",
        b"{}",
        b"0\r\n\r\n",
        b"5;" + b"e" * 3_000 + b"\r\nhello\r\n",
        json.dumps({"event": "x", "deviceId": 1}).encode(),
    ]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(pieces=st.lists(PIECES | st.binary(max_size=5), max_size=10), half_close=st.booleans())
async def test_however_its_pieces_are_put_together(impatient: Served, pieces: list[bytes], half_close: bool) -> None:
    await survived(impatient, b"".join(pieces), half_close=half_close)
