"""Values that every messaging gateway writes in its own way: phone numbers, JIDs, times; and the stable event id."""

import hashlib
import re
from datetime import UTC, datetime

from bridge.events.messaging import Contact

__all__ = ["contact", "e164", "event_id", "utc_time"]

_NOT_DIGITS = re.compile(r"[\s().-]")
_E164 = re.compile(r"\+?([1-9][0-9]{6,14})")  # ITU-T E.164: at most 15 digits, no country code begins with 0
_JID = re.compile(r"(?P<user>[^@:/]+)(?:[:/][^@]*)?@(?P<server>[^@]+)")  # user[:device]@server
_KIND_OF_SERVER = {"s.whatsapp.net": "phone", "c.us": "phone", "lid": "lid", "g.us": "group"}
_KIND_OF_TYPE = {"pn": "phone", "lid": "lid"}
_MS_FROM = 100_000_000_000  # as seconds the year 5138: a number at or above it counts milliseconds

_UNIX_DIGITS = (10, 13)  # of seconds and of milliseconds, from 2001 to 2286
_FIRST_YEAR, _LAST_YEAR = 2000, 2100

_keyed = hashlib.blake2b(digest_size=16, key=b"bridge/v1")


def event_id(device: str, event: str, data: bytes, timestamp: str = "") -> str:
    """A stable id of a fact whose provider gives none: 32 hex digits.

    A keyed BLAKE2b-128 over the parts, each with its length, so that no two different tuples read the same.
    Raw bytes, since a retry repeats them; were they ever re-serialised, the error is a duplicate, not a loss.
    """
    head = f"{len(device)}:{len(event)}:{len(timestamp)}:{device}{event}{timestamp}"
    digest = _keyed.copy()
    digest.update(head.encode())
    digest.update(data)
    return digest.hexdigest()


def e164(text: str | None) -> str | None:
    """A phone number in E.164, from digits, from usual writing or from a JID; None where it is no number."""
    if not text:
        return None
    match = _E164.fullmatch(text)
    if match is None:
        user, kind = _split_jid(text)
        match = _E164.fullmatch(_NOT_DIGITS.sub("", user)) if kind in (None, "phone") else None
    return f"+{match[1]}" if match else None


def contact(
    identifier: str, *, kind: str | None, lid: str | None, phone_number: str | None, name: str | None
) -> Contact:
    """The other party from whatever a gateway tells of it.

    Args:
        identifier: a phone number's digits, a LID's digits, or a JID.
        kind: `pn` or `lid`, where the gateway says what `identifier` is; any other word is neither.
        lid: digits or a JID.
        phone_number: digits, with or without plus, or a JID.
        name: the display name.
    """
    user, server_kind = _split_jid(identifier)
    lid_user = _split_jid(lid)[0] if lid else None
    if kind is None:
        what = server_kind or ("lid" if user == lid_user else "phone")
    else:
        what = server_kind or _KIND_OF_TYPE.get(kind, "other")
    number = e164(phone_number)
    if what == "phone":
        own = number if user == phone_number else e164(user)
        number = number or own
        if own is None:
            what = "other"  # never call something a phone number that is none
    return Contact(
        id=user if what != "other" else identifier,
        kind=what,
        phone_number=number,
        lid=lid_user or (user if what == "lid" else None),
        display_name=name or None,
    )


def _split_jid(text: str) -> tuple[str, str | None]:
    """(user, kind by the server) of a JID; (text, None) of anything else."""
    if "@" not in text:
        return text, None
    match = _JID.fullmatch(text)
    if match is None:
        return text, "other"
    return match["user"], _KIND_OF_SERVER.get(match["server"], "other")


def utc_time(value: str | float | None) -> datetime | None:
    """A time in UTC from RFC 3339 text (without a zone: UTC) or unix seconds or milliseconds; None if it is none.

    A time before 2000 or from 2100 on is a zero, a maximum or another unit, not a time.
    """
    try:
        if isinstance(value, str):
            if len(value) in _UNIX_DIGITS and value.isdecimal():
                return utc_time(int(value))
            time = datetime.fromisoformat(value)
            if time.tzinfo is not UTC:
                time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        elif value is None:
            return None
        else:
            time = datetime.fromtimestamp(value / 1000 if value >= _MS_FROM else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return time if _FIRST_YEAR <= time.year < _LAST_YEAR else None
