"""The least an event could cost: a bare ASGI handler that litestar mounts, and the client library's own publish.

No check, no decoding, no id, no CloudEvent, no deadline: the raw body goes to one topic, and 200 is said when the
broker has acknowledged it. Without a broker it only answers.
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats
import uvicorn
import uvloop
from aiokafka import AIOKafkaProducer
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send

from tests.bench.load import DEVICES

__all__ = ["TOPIC"]

TOPIC = "bench.floor"
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"11")]

Publish = Callable[[bytes], Awaitable[object]]


def make_app(publish: Publish) -> Litestar:
    """The application: body in, publish, 200."""

    @asgi("/webhooks", is_mount=True, copy_scope=False)
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        body = message["body"]  # type: ignore[typeddict-item]
        while message["more_body"]:  # type: ignore[typeddict-item]
            message = await receive()
            body += message["body"]  # type: ignore[typeddict-item]
        await publish(body)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b'{"ok":true}', "more_body": False})

    return Litestar([echo], openapi_config=None, logging_config=None)


@asynccontextmanager
async def _nothing(_address: str) -> AsyncIterator[Publish]:
    async def publish(_body: bytes) -> None:
        return

    yield publish


@asynccontextmanager
async def _nats(address: str) -> AsyncIterator[Publish]:
    client = await nats.connect(address, allow_reconnect=False)
    context, numbers = client.jetstream(), itertools.count()

    def publish(body: bytes) -> Awaitable[object]:
        return context.publish(TOPIC, body, headers={"Nats-Msg-Id": f"floor-{next(numbers)}"})

    yield publish
    await client.close()


@asynccontextmanager
async def _kafka(address: str) -> AsyncIterator[Publish]:
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True) as producer:
        numbers = itertools.count()
        yield lambda body: producer.send_and_wait(TOPIC, body, key=b"%d" % (next(numbers) % DEVICES))


PUBLISHERS = {"none": _nothing, "nats": _nats, "kafka": _kafka}


async def _serve(kind: str, address: str, port: int) -> None:
    async with PUBLISHERS[kind](address) as publish:
        config = uvicorn.Config(
            make_app(publish), port=port, http="httptools", lifespan="off", log_config=None, access_log=False
        )
        await uvicorn.Server(config).serve()


def main() -> None:
    """`python -m tests.bench.floor none|nats|kafka ADDRESS PORT`, until SIGTERM."""
    kind, address, port = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(kind, address, int(port)))


if __name__ == "__main__":
    main()
