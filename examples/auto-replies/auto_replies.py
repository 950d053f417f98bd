"""Answers WhatsApp messages: takes message.received from NATS and sends a text by Chatlevel's API.

No message is answered twice, however often its event comes: each answer is noted in a SQLite file before the request,
by the event's source and id. The API takes no idempotency key, so where it may have sent the text and did not say so
(a lost answer, a crash in between), nothing is sent again: that one answer is at most once, and noted as `unknown`.
"""

import asyncio
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import nats
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy

from bridge.events import CloudEvent, NotAnEvent, messaging, parse

__all__ = ["Ledger", "address", "main", "reply_to"]

API = "https://api.chatlevel.io/v1"
TOPIC = "events.chatlevel.message.received"
ANSWER_WITHIN = timedelta(hours=1)  # a later answer would only surprise; Chatlevel's last retry comes after 67 minutes
KEY_REFUSED = (401, 403)
SURELY_NOT_SENT = (429, 503)  # what else failed with 408 or 5xx may have been sent


def reply_to(text: str) -> str | None:
    """What to answer, or None for silence. Yours to write; an answer must not be one that this answers again."""
    if re.match(r"(bom dia|hello|hi)\b", text, re.IGNORECASE):
        return "Thank you for your message! We are here from 9 to 17 h."
    return None


def address(contact: messaging.Contact) -> str | None:
    """The JID to write to. Groups get no answers."""
    if contact.phone_number:
        return contact.phone_number.removeprefix("+") + "@s.whatsapp.net"
    return f"{contact.lid}@lid" if contact.lid else None


class NotSentError(Exception):
    """The API took nothing and may do so later: after `pause_s`, if it said so."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class Ledger:
    """What became of each answer, and when requests were made; both outlive the process."""

    def __init__(self, path: str, per_minute: int = 100, clock: Callable[[], float] = time.time) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)  # each statement is committed, and synced, by itself
        self._db.execute("create table if not exists answers (source, id, outcome, primary key (source, id))")
        self._db.execute("create table if not exists requests (at real)")
        self._per_minute, self._clock = per_minute, clock

    def claim(self, event: CloudEvent) -> str | None:
        """None if the answer is ours to send, now or never; else what became of it before."""
        row = (event.source, event.id)
        with suppress(sqlite3.IntegrityError):
            self._db.execute("insert into answers values (?, ?, 'sending')", row)
            return None
        self._db.execute("update answers set outcome = 'unknown' where (source, id, outcome) = (?, ?, 'sending')", row)
        return str(self._db.execute("select outcome from answers where (source, id) = (?, ?)", row).fetchone()[0])

    def note(self, event: CloudEvent, outcome: str) -> None:
        """What became of it."""
        self._db.execute(
            "update answers set outcome = ? where (source, id) = (?, ?)", (outcome, event.source, event.id)
        )

    def release(self, event: CloudEvent) -> None:
        """Nothing was sent: it may be claimed again."""
        self._db.execute("delete from answers where (source, id) = (?, ?)", (event.source, event.id))

    def wait_s(self) -> float:
        """How long until another request keeps the limit."""
        newest = self._db.execute("select at from requests order by at desc limit ?", (self._per_minute,)).fetchall()
        return min(60.0, max(0.0, newest[-1][0] + 60 - self._clock())) if len(newest) == self._per_minute else 0.0

    def began(self) -> int:
        """Count a request that is about to be made."""
        self._db.execute("delete from requests where at < ?", (self._clock() - 60,))
        return self._db.execute("insert into requests values (?)", (self._clock(),)).lastrowid or 0

    def ended(self, request: int) -> None:
        """Count it from now on: the API got it at some time before."""
        self._db.execute("update requests set at = ? where rowid = ?", (self._clock(), request))


async def post(api: httpx.AsyncClient, device: str, to: str, text: str) -> str:
    """The outcome of sending it; NotSentError if it can be tried again."""
    if not (device.isascii() and device.isdecimal()):  # it becomes part of the URL
        return "refused: not a device of Chatlevel"
    try:
        answer = await api.post(f"/devices/{device}/messages/text", json={"to": to, "message": text})
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotSentError(f"no connection: {error}") from error
    except httpx.HTTPError as error:
        return f"unknown: {type(error).__name__}"
    if answer.is_success:
        return "sent"
    if answer.status_code in SURELY_NOT_SENT:
        pause = answer.headers.get("retry-after", "")
        raise NotSentError(f"answer {answer.status_code}", min(3600, int(pause)) if pause.isdecimal() else None)
    if answer.status_code in KEY_REFUSED:
        raise NotSentError(f"answer {answer.status_code}: Chatlevel refuses the key or its rights", 60)
    maybe = answer.status_code == httpx.codes.REQUEST_TIMEOUT or not answer.is_client_error
    return f"{'unknown' if maybe else 'refused'}: {answer.status_code}"


async def handle(message: Msg, ledger: Ledger, api: httpx.AsyncClient) -> float:
    """Answer one message if it is to be answered. Returns how long the API wants to be left alone, in seconds."""
    try:
        event = parse(message.data, message.headers)
    except NotAnEvent as error:
        print("put aside:", error)
        await message.term()
        return 0
    data = event.data
    text = reply_to(str(data.content.get("text", ""))) if isinstance(data, messaging.MessageReceived) else None
    to = address(data.contact) if text else None
    if text is None or to is None or datetime.now(UTC) - event.time > ANSWER_WITHIN:
        await message.ack()
        return 0
    if earlier := ledger.claim(event):
        print(event.id, "came again:", earlier)
    else:
        request = ledger.began()
        try:
            outcome = await post(api, data.device_id, to, text)
        except NotSentError as error:
            ledger.release(event)
            pause_s = error.pause_s or min(60.0, 2.0 ** (message.metadata.num_delivered - 1))
            print(event.id, f"again in {pause_s:.0f} s:", error)
            await message.nak(delay=pause_s)
            return pause_s
        finally:
            ledger.ended(request)
        ledger.note(event, outcome)
        print(event.id, outcome)
    await message.ack()
    return 0


async def say(error: Exception) -> None:
    """What the connection to the broker suffers; it is made again by itself."""
    print("the broker:", str(error) or type(error).__name__)


async def main() -> None:
    """Answer until ended."""
    base = os.environ.get("CHATLEVEL_API", API)
    if not base.startswith(("https://", "http://127.0.0.1:")):
        sys.exit(f"CHATLEVEL_API={base}: the key goes by https only")
    if not (key := os.environ.get("CHATLEVEL_API_KEY")):
        sys.exit("CHATLEVEL_API_KEY is not set: expected the key from Chatlevel's app, sk_…")
    ledger = Ledger(os.environ.get("LEDGER", str(Path(__file__).with_name("ledger.sqlite"))))
    api = httpx.AsyncClient(
        base_url=base,
        headers={"authorization": f"Bearer {key}"},
        timeout=10,
        follow_redirects=False,  # the key goes to this address and to no other
        limits=httpx.Limits(max_keepalive_connections=0),  # a connection closed while idle would be one more `unknown`
    )
    client = await nats.connect(
        os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), error_cb=say, max_reconnect_attempts=-1
    )
    config = ConsumerConfig(ack_wait=30, deliver_policy=DeliverPolicy.NEW)  # the first start answers no old messages
    messages = await client.jetstream().pull_subscribe(TOPIC, durable="auto-replies", stream="EVENTS", config=config)
    print("answering", TOPIC, "by", base, flush=True)
    async with api:
        while True:
            await asyncio.sleep(ledger.wait_s())
            with suppress(nats.errors.TimeoutError):
                for message in await messages.fetch(1):
                    await asyncio.sleep(await handle(message, ledger, api))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
