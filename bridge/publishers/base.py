"""The contract of a publisher: it takes records to one broker, and decides nothing.

A publisher knows no provider, no event type and no route; it gets bytes that are already addressed.
It owns its connection: connecting, noticing that it is dead, building a new one. Nobody above it retries a
connection, and the client library below it does not either (one owner per retry).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, Protocol

import msgspec

__all__ = ["BrokerHealth", "HeaderDialect", "Publisher", "ReadSecret", "Received", "Record", "Since"]

ReadSecret = Callable[[], str]
"""Gives a secret's value of today. Called at each connect, and now and then to see whether it has changed.

May raise OSError or ValueError: the connect then fails with a reason and is tried again.
"""

Since = Literal["new", "all"] | datetime
"""Where a reader begins: with what is stored from now on, with the oldest record kept, or with a time's."""


class HeaderDialect(msgspec.Struct, frozen=True):
    """How CloudEvents names its record headers on this broker (CloudEvents protocol bindings 1.0.2).

    Attributes:
        prefix: of attribute headers: `ce-` on NATS, `ce_` on Kafka.
        content_type: the name of the content type header.
        percent_encode: whether values are percent-encoded (NATS, as HTTP) or plain UTF-8 (Kafka).
        data_content_type: in binary mode, the header of `datacontenttype`: `ce-datacontenttype` on NATS.
    """

    prefix: str
    content_type: str
    percent_encode: bool
    data_content_type: str = "content-type"


class Record(msgspec.Struct, frozen=True, gc=False):
    """What a broker takes.

    Attributes:
        topic: Kafka topic or NATS subject.
        key: records of one key keep their order.
        value: the encoded event.
        headers: names and values in the publisher's dialect. The publisher may add to this dict.
        dedup_id: `<event id>@<topic>`, with `@<source>` where several sources publish to the topic; one id per stored
            copy, equal on each retry.
        ttl_s: the broker may forget the record after this many seconds; None: the topic's retention.
    """

    topic: str
    key: str
    value: bytes
    headers: dict[str, str]
    dedup_id: str
    ttl_s: int | None = None


class Received(msgspec.Struct, frozen=True):
    """A record as a reader sees it.

    Attributes:
        topic: Kafka topic or NATS subject.
        key: None on NATS, which has no keys; the event's `partitionkey` is it.
        value: the encoded event.
        headers: as sent.
        time: when the broker stored it, UTC.
        seq: its place in the stream, or in its partition.
        partition: on Kafka; NATS has none.
        left: how many were stored after it when reading began, where reading ends with those; else 0.
    """

    topic: str
    key: str | None
    value: bytes
    headers: dict[str, str]
    time: datetime
    seq: int
    partition: int = 0
    left: int = 0


class BrokerHealth(msgspec.Struct, frozen=True):
    """What a publisher says of itself, for readiness and logs. No secrets, no host names of the network.

    Attributes:
        ready: records can be taken, as far as the last publish and the last probe know.
        looked: the broker was reached and looked at: reasons, warnings and plans are complete.
        reasons: why not ready, each with its remedy.
        warnings: weak durability and other settings that will hurt; ready all the same.
        plans: what provisioning would make, where the settings say that it shall only be told (`dry_run`).
        details: small facts (`server_version`, `stream`, `replicas`), text or numbers only. `max_record_bytes`, on
            every broker, is its limit on a record with its headers, once it was looked at.
    """

    ready: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    looked: bool = False
    details: dict[str, str | int | bool] = {}


class Publisher(Protocol):
    """Takes records to one broker.

    Life: constructed, `start`, any number of concurrent `publish`, `close`. All calls on one event loop.
    """

    dialect: HeaderDialect

    async def start(self) -> None:
        """Begin connecting in the background and return at once.

        Never fails because the broker is away: a bridge that starts before its broker becomes ready by itself.
        Calling it twice is an error of ours (RuntimeError).
        """
        ...

    async def publish(self, record: Record) -> None:
        """Return when the broker has the record at full strength, and not before.

        The caller owns the deadline and cancels at it; the publisher stops at once when cancelled, keeps nothing
        of the record, and the record counts as unknown: it may be stored. Called concurrently; records handed over
        in order on one key are stored in that order.

        Raises:
            BrokerUnavailable: not taken now; with `maybe_stored` where the record was sent and its fate is unknown. At
                once when an outage is already known, so that callers do not queue.
            RecordTooLarge: over the broker's limit, headers included. The connection stays usable.
            RecordRefused: never will be taken.
        """
        ...

    def health(self) -> BrokerHealth:
        """The state now; cheap, no I/O."""
        ...

    async def wait_ready(self) -> None:
        """Return when `health().ready` holds. The caller owns the timeout."""
        ...

    async def close(self) -> None:
        """Stop, within about two seconds even when the broker is gone; idempotent.

        Publishing after it raises BrokerUnavailable.
        """
        ...
