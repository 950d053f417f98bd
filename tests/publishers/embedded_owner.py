"""A program that owns an embedded server, to be killed by tests: `python embedded_owner.py DATA_DIR FD`.

Writes the server's process id to FD. On SIGINT it publishes one more record and writes `stored`, then stops
in good order.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bridge.publishers.base import Record
from bridge.publishers.embedded import EmbeddedServer
from bridge.publishers.nats import NatsPublisher, NatsSettings


async def main() -> None:
    server = EmbeddedServer(Path(sys.argv[1]), port=0)
    await server.start()
    publisher = NatsPublisher(NatsSettings(servers=(server.url,), subjects=("test.>",), provision="create"))
    await publisher.start()
    await publisher.wait_ready()
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    tell(f"{server.pid}")
    await interrupted.wait()
    await asyncio.sleep(0.2)  # as long as whoever gets the signal too would need to die of it
    await publisher.publish(Record("test.a", "k", b"last", {}, "last"))
    tell("stored")
    await publisher.close()
    await server.stop()


def tell(line: str) -> None:
    os.write(int(sys.argv[2]), f"{line}\n".encode())


asyncio.run(main())
