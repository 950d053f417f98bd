"""Nothing a client sends makes a 500, a hang or a growing process."""

import asyncio
import json
import socket
import ssl
import time
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.providers import PROVIDERS
from bridge.providers.request import Reply, Request
from tests.server.conftest import TOKEN, Serve, Served

BODY = PROVIDERS["chatlevel"].sample("message.received", now=datetime(2026, 3, 2, 8, tzinfo=UTC))
HEAD = f"POST /webhooks/shop/{TOKEN} HTTP/1.1\r\nhost: x\r\n".encode()


def request(body: bytes, *, head: bytes = HEAD, extra: bytes = b"") -> bytes:
    return head + extra + b"content-length: %d\r\n\r\n" % len(body) + body


HOSTILE_BODIES = {
    "empty": b"",
    "blank": b"  \n",
    "bad utf-8 in a known field": BODY.replace(b"pushName", b"push\xff"),
    "bad utf-8 in an unknown field": BODY[:-1] + b',"x":"\xff\xfe"}',
    "utf-16": BODY.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + BODY,
    "deep array": b"[" * 100_000,
    "deep object in data": b'{"event":"x","deviceId":1,"data":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}",
    "deep unknown field": BODY[:-1] + b',"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "huge number": b'{"event":"call","deviceId":' + b"9" * 10_000 + b"}",
    "number over 64 bits": b'{"event":"call","deviceId":9223372036854775808,"data":{}}',
    "negative device": b'{"event":"connection.open","deviceId":-1,"data":{}}',
    "device zero": b'{"event":"connection.open","deviceId":0,"data":{}}',
    "device with NUL": b'{"event":"connection.open","instanceId":"a\\u0000b","data":{}}',
    "device with line end": b'{"event":"connection.open","instanceId":"a\\r\\nb","data":{}}',
    "NaN": b'{"event":"x","deviceId":NaN}',
    "infinite": b'{"event":"connection.open","deviceId":1e999}',
    "array": b"[]",
    "string": b'"x"',
    "null": b"null",
    "truncated": BODY[:-5],
    "trailing": BODY + b"x",
    "no event": b'{"deviceId":1,"data":{}}',
    "no device": b'{"event":"connection.open","data":{}}',
    "lone surrogate device": b'{"event":"x","instanceId":"\\ud800"}',
    "batch of scalars": b'{"event":"message.received","deviceId":1,"data":{"messages":[1,"x",null]}}',
}


@pytest.mark.parametrize("name", HOSTILE_BODIES)
async def test_hostile_bodies_are_400_and_the_connection_lives_on(serve: Serve, name: str) -> None:
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request(HOSTILE_BODIES[name]))
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.write(request(BODY))
    await asyncio.wait_for(reader.readuntil(b"HTTP/1.1 200 "), 5)
    writer.close()


async def test_duplicate_keys_take_the_last_one_and_are_no_error(serve: Serve) -> None:
    served = await serve()
    body = b'{"event":"x","event":"connection.closed","deviceId":1,"deviceId":2,"data":{}}'
    assert (await served.post(body)).status_code == 200
    (record,) = served.publisher.records
    assert (record.key, json.loads(record.value)["type"]) == ("2", "messaging.connection.closed.v1")


async def test_text_with_nul_is_only_text(serve: Serve) -> None:
    served = await serve()
    assert (await served.post(BODY.replace(b"Bom dia", b"Bom\\u0000dia"))).status_code == 200
    assert json.loads(served.publisher.records[0].value)["data"]["content"]["text"].startswith("Bom\0dia")


async def test_a_truncated_body_publishes_nothing(serve: Serve) -> None:
    served = await serve()
    answer = await served.raw(request(BODY)[:-10], half_close=True)
    assert b" 200 " not in answer
    async with asyncio.timeout(5):
        while "disconnected" not in served.outcomes():  # noqa: ASYNC110 -- nothing to wait for but the counter
            await asyncio.sleep(0)
    assert served.publisher.records == []


async def test_a_half_closed_connection_still_gets_its_answer(serve: Serve) -> None:
    served = await serve()
    entered, release = served.hold()
    answering = asyncio.create_task(served.raw(request(BODY), half_close=True))
    await entered.acquire()
    release.set()
    assert (await answering).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_after_its_body_does_not_undo_the_event(serve: Serve) -> None:
    served = await serve()
    entered, release = served.hold()
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request(BODY))
    await entered.acquire()
    writer.transport.abort()
    release.set()
    async with asyncio.timeout(5):
        while not served.publisher.records:  # noqa: ASYNC110 -- nothing to wait for but the record
            await asyncio.sleep(0)
    assert served.outcomes() == {"accepted": 1}


async def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    served = await serve()
    closing = request(BODY, extra=b"connection: close\r\n")
    answer = await served.raw(request(BODY) + request(b"{") + closing)
    assert [line.split()[1] for line in answer.split(b"\n") if line.startswith(b"HTTP/1.1")][:1] == [b"200"]
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.count(b"HTTP/1.1 400") == 1


async def test_headers_that_trickle_are_408_at_their_deadline(serve: Serve) -> None:
    served = await serve(header_timeout_s=0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    started = time.monotonic()

    async def trickle() -> None:
        for byte in HEAD * 10:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    # not to the end: a byte that comes after the server has closed ends the connection with an error
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    trickling.cancel()
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"header_timeout"' in answer
    assert time.monotonic() - started < 2


async def test_a_connection_that_says_nothing_is_closed(serve: Serve) -> None:
    served = await serve(header_timeout_s=0.2)
    assert await asyncio.wait_for(served.raw(b""), 5) == b""


async def test_the_second_request_of_a_connection_has_the_same_deadline(serve: Serve) -> None:
    served = await serve(header_timeout_s=0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request(BODY))
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"POST /web")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert b"HTTP/1.1 408 " in answer
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x-big: " + b"a" * 20_000 + b"\r\n",
        HEAD + b"".join(b"x-%d: y\r\n" % n for n in range(3000)),
        b"POST /webhooks/shop/" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n",
    ],
    ids=["one large", "many small", "long url"],
)
@pytest.mark.parametrize("complete", [True, False])
async def test_headers_over_the_cap_are_431(serve: Serve, head: bytes, complete: bool) -> None:
    served = await serve(max_header_bytes=16_384)
    answer = await asyncio.wait_for(served.raw(head + (b"content-length: 0\r\n\r\n" if complete else b"")), 5)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"headers_too_large"' in answer


async def test_headers_over_the_cap_are_431_also_behind_another_request(serve: Serve) -> None:
    served = await serve(max_header_bytes=16_384)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    first = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    writer.write(first + HEAD + b"x-big: " + b"a" * 10_000 + b"\r\n")
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"x-more: " + b"a" * 10_000 + b"\r\ncontent-length: 0\r\n\r\n")
    assert b"HTTP/1.1 431 " in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_endless_headers_are_not_taken_into_memory(serve: Serve) -> None:
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(HEAD + b"x: ")
    sent = 0
    try:
        while sent < 50_000_000:
            writer.write(b"a" * 65_536)
            sent += 65_536
            await writer.drain()
    except ConnectionError:
        pass
    assert sent < 10_000_000  # kernel buffers of both ends; tried without a cap: 96 MB were taken
    writer.transport.abort()
    del reader


async def test_endless_trailers_end_the_connection(serve: Serve) -> None:
    served = await serve()
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"".join(b"t%d: y\r\n" % n for n in range(5000))
    answer = await asyncio.wait_for(served.raw(chunked), 5)
    assert b" 500 " not in answer
    assert served.publisher.records == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"\x00" * 100,
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"bad header\r\n\r\n",
        HEAD.replace(b"/webhooks", b"http://[") + b"\r\n",
        HEAD.replace(b"/webhooks", "/wébhooks".encode()) + b"\r\n",
    ],
)
async def test_what_is_not_http_is_400_in_our_format_and_closed(serve: Serve, garbage: bytes) -> None:
    served = await serve()
    answer = await asyncio.wait_for(served.raw(garbage), 5)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"] in {"bad_request", "not_found"}


async def test_slow_sockets_do_not_slow_good_requests(serve: Serve) -> None:
    served = await serve()
    slow = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(200)]
    for _, writer in slow:
        writer.write(HEAD)
    started = time.monotonic()
    for _ in range(20):
        assert (await served.post(BODY)).status_code == 200
    assert (time.monotonic() - started) / 20 < 0.5
    for _, writer in slow:
        writer.transport.abort()


@pytest.fixture
async def impatient(serve: Serve) -> Served:
    return await serve(header_timeout_s=0.2, deadline_s=0.2)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.binary(max_size=600), cut=st.integers(0, 400))
async def test_any_bytes_never_make_a_500(impatient: Served, data: bytes, cut: int) -> None:
    answer = await asyncio.wait_for(impatient.raw(request(BODY)[:cut] + data, half_close=True), 5)
    assert b" 500 " not in answer[:20]


async def test_tls_at_the_listener_takes_1_2_and_newer(serve: Serve, certificate: tuple[str, str, str]) -> None:
    authority, chain, key = certificate
    served = await serve(tls=(chain, key))
    context = ssl.create_default_context(cafile=authority)
    _, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").version() in {"TLSv1.2", "TLSv1.3"}
    writer.close()
    async with httpx.AsyncClient(verify=context) as client:
        url = f"https://localhost:{served.port}/webhooks/shop/{TOKEN}"
        assert (await client.post(url, content=BODY)).status_code == 200


async def test_who_does_not_read_answers_is_cut_off_and_holds_nothing(serve: Serve) -> None:
    """Else each such connection would hold a task, a descriptor and what is written for it, for good."""

    def large(_request: Request) -> Reply:
        return Reply(200, b"x" * 500_000)

    served = await serve(header_timeout_s=0.3, handshakes={"GET": large})
    before, loop = asyncio.all_tasks(), asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", served.port))
        await loop.sock_sendall(client, b"GET /webhooks/shop HTTP/1.1\r\nhost: x\r\n\r\n" * 50)
        async with asyncio.timeout(10):
            while served.outcomes().get("handshake", 0) < 2 or asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)
            received = 0
            while chunk := await loop.sock_recv(client, 65_536):
                received += len(chunk)
    assert received < 50 * 500_000
