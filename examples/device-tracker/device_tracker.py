"""Tracks devices: connection events from Kafka or NATS into SQLite, from which `status` tells state and uptime.

The database has one row per event, by the event's own source and id, so a copy changes nothing; and what is read from
it goes by the events' time, so one that comes late changes the past alone. It can be made again from the topics.

`connection.auth` is left alone on purpose: it holds pairing codes, and a tracker needs no credentials.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from nats.js.api import ConsumerConfig

from bridge.events import NotAnEvent, parse
from bridge.events.parsing import Headers

__all__ = ["Database", "main"]

STATES = {"open": "online", "closed": "offline", "timeout": "not paired", "logout": "logged out"}
PREFIX = os.environ.get("TOPIC_PREFIX", "events.chatlevel.connection.")
TOPICS = [PREFIX + kind for kind in STATES]

SCHEMA = """create table if not exists changes (
    source text, id text, device text, state text, at real, primary key (source, id)
)"""
# A state lasts until the device's next event. Uptime: the part of the window, or of the time known, that was online.
STATUS = """with states as (
    select *, lead(at) over (partition by source, device order by at) as until from changes where at <= :now
)
select device,
    max(case when until is null then state end) as state,
    max(at) as since,
    sum(case when state = 'online' then max(0, coalesce(until, :now) - max(at, :begin)) else 0 end)
        / max(1, :now - max(min(at), :begin)) as uptime
from states group by source, device order by device"""

Record = tuple[bytes | None, Headers | None, Callable[[], Awaitable[Any]]]


class Database:
    """What is known of the devices."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)  # each insert is committed, and synced, by itself
        self._db.execute(SCHEMA)

    def save(self, value: bytes | None, headers: Headers | None) -> str:
        """Keep the event of a record; says what it was."""
        try:
            event = parse(value, headers)
        except NotAnEvent as error:
            return f"put aside: {error}"
        state = STATES.get(event.type.split(".")[-2])
        device = getattr(event.data, "device_id", None)
        if state is None or device is None:
            return f"not a connection: {event.type}"
        row = (event.source, event.id, device, state, event.time.timestamp())
        saved = self._db.execute("insert or ignore into changes values (?, ?, ?, ?, ?)", row)
        return f"{device} {state}" if saved.rowcount else f"{device} {state}: came again"

    def status(self, hours: float, now: float) -> list[dict[str, Any]]:
        """One line a device: its state, since when, and which part of these hours it was online."""
        found = self._db.execute(STATUS, {"now": now, "begin": now - hours * 3600})
        names = [column for column, *_rest in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def close(self) -> None:
        """No more of it."""
        self._db.close()


async def from_kafka(servers: str) -> AsyncIterator[Record]:
    """Records of the topics; a record's third part says that it is saved."""
    consumer = AIOKafkaConsumer(
        *TOPICS,
        bootstrap_servers=servers,
        group_id="device-tracker",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        async for record in consumer:
            yield record.value, record.headers, consumer.commit


async def from_nats(url: str) -> AsyncIterator[Record]:
    """The same from JetStream."""
    client = await nats.connect(url, error_cb=say, max_reconnect_attempts=-1)
    config = ConsumerConfig(filter_subjects=TOPICS)
    messages = await client.jetstream().pull_subscribe("", durable="device-tracker", stream="EVENTS", config=config)
    while True:
        with suppress(nats.errors.TimeoutError):
            for message in await messages.fetch(1):
                yield message.data, message.headers, message.ack


async def say(error: Exception) -> None:
    """What the connection to the broker suffers; it is made again by itself."""
    print("the broker:", str(error) or type(error).__name__)


async def follow(database: Database) -> None:
    """Save what comes, until ended: first saved, then acknowledged."""
    broker = os.environ.get("BROKER") or os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    if "://" not in broker:
        sys.exit(f"BROKER={broker}: expected kafka://host:port or nats://host:port")
    kafka = broker.removeprefix("kafka://")
    records = from_nats(broker) if kafka == broker else from_kafka(kafka)
    print("tracking from", broker)
    async for value, headers, acknowledge in records:
        print(database.save(value, headers))
        await acknowledge()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Tracks when devices connect and disconnect.")
    parser.add_argument("command", choices=["follow", "status"])
    parser.add_argument("--hours", type=float, default=24, help="uptime is of these last hours; 24 if not given")
    parser.add_argument("--json", action="store_true", help="one JSON object a device")
    arguments = parser.parse_args()
    path = os.environ.get("DATABASE", str(Path(__file__).with_name("devices.sqlite")))
    with closing(Database(path)) as database:
        if arguments.command == "follow":
            try:
                asyncio.run(follow(database))
            except KafkaConnectionError as error:
                sys.exit(f"the broker: {error}")
            except KeyboardInterrupt:
                pass
            return
        devices = database.status(arguments.hours, time.time())
        if not devices:
            print(f"no device has been heard of yet: {path}", file=sys.stderr)
        for device in devices:
            since = datetime.fromtimestamp(device["since"], UTC).isoformat(timespec="seconds")
            if arguments.json:
                print(json.dumps(device | {"since": since}))
            else:
                print(f"{device['device']:12} {device['state']:10} since {since}  up {device['uptime']:6.1%}")


if __name__ == "__main__":
    main()
