"""The topics of deliveries themselves, dead letters and the raw ones, as consumers see them.

What is on them is no event: the value is the body as it came, and all that is known of it is in headers. Which those
are is found out as for events (`headers`): by making some.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bridge.broker import as_sent, dialect_of
from bridge.config import Config
from bridge.contract.headers import compared, described
from bridge.ingest.letters import REASONS, Letter, record_of
from bridge.providers.base import Delivery
from bridge.publishers.base import Record

__all__ = ["LETTERS_KEY", "letter_messages"]

LETTERS_KEY = "The record's key: the source's name, so letters of one source keep their order."
_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_HEADER = b"content-type"  # stands for all those of a request
_DESCRIPTIONS = {
    "id": "The letter's id, the same on each of the provider's retries: drop what you have seen.",
    "source": "The source's name.",
    "received": "When the bridge received it.",
    "reason": "Why it became no event.",
    "detail": "The same in words, without anything of the body.",
    "topic": "Where the record was to go that the broker refused.",
    "dedupid": "That record's id.",
    "key": "The key of a record that was refused after it had waited in the spool: the value is that record's.",
    "header": "Of the request, where it is known to hold no credential.",
    "record": "Of the record that `key` is of.",
}


def letter_messages(config: Config) -> dict[str, dict[str, Any]]:
    """Topic -> the message on it. Empty where neither topic is configured."""
    found: dict[str, dict[str, Any]] = {}
    if config.dead_letter_topic is not None:
        found[config.dead_letter_topic] = {
            "name": "bridge.dead-letter",
            "summary": "A delivery that could become no event, as it came; `webhook-bridge replay` tries it again.",
            **_message(config, dead=True),
        }
    if config.raw_topic is not None:
        found[config.raw_topic] = {
            "name": "bridge.raw",
            "summary": "A delivery that was answered with success, as it came.",
            **_message(config, dead=False),
        }
    return found


def _message(config: Config, *, dead: bool) -> dict[str, Any]:
    headers = _headers_schema(config, dead=dead)
    return {
        "x-sensitive": True,
        "description": "Holds whatever the webhooks do, credentials among it.",
        "contentType": headers["properties"][dialect_of(config).content_type]["const"],
        "headers": headers,
        "payload": {"type": "string", "format": "binary", "description": "The body as it came, whatever it is."},
    }


def _headers_schema(config: Config, *, dead: bool) -> dict[str, Any]:
    separator = dialect_of(config).prefix[-1]
    patterns = {kind: f"bridge{separator}{kind}{separator}" for kind in ("header", "record")}

    def describe(name: str) -> dict[str, Any]:
        fact = name.removeprefix(f"bridge{separator}")
        if fact == name:
            return described(name)
        listed = {"enum": [*REASONS]} if fact == "reason" else {"format": "date-time"} if fact == "received" else {}
        return {"description": _DESCRIPTIONS[fact]} | listed

    full, bare = (_sent(config, text, full=full, dead=dead) for text, full in (("a", True), ("b", False)))
    open_ended = {
        f"^{prefix}": {"type": "string", "description": _DESCRIPTIONS[kind]}
        for kind, prefix in patterns.items()
        if any(name.startswith(prefix) for name in full)
    }
    fixed = {name: text for name, text in full.items() if not name.startswith(tuple(patterns.values()))}
    return compared(fixed, bare, describe) | {"patternProperties": open_ended}


def _sent(config: Config, text: str, *, full: bool, dead: bool) -> dict[str, str]:
    """The headers of a letter that has all it can have, or no more than it must have."""
    letter = Letter(
        id=text,
        source=text,
        delivery=Delivery(b"", {_HEADER: b"a"} if full else {}, _TIME if full else _TIME + timedelta(1)),
    )
    if dead:
        letter = msgspec.structs.replace(letter, reason=REASONS[0] if full else REASONS[1])
    if dead and full:
        refused = Record("a", "a", b"", {_HEADER.decode(): "a"}, "a")
        letter = msgspec.structs.replace(letter, detail="a", topic="a", dedup_id="a", record=refused)
    return as_sent(config, record_of(letter, topic=text, wanted=[_HEADER], dialect=dialect_of(config)))[0]
