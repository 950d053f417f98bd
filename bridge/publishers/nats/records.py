"""A record as NATS takes it: subject checked, headers as bytes. Pure.

Not here: the protocol line, which needs to know the link (`link`).
"""

import re

from bridge.errors import RecordRefused
from bridge.publishers.base import Record

__all__ = ["encode_head", "is_literal_subject"]

# A control line may have 4096 bytes by default, and over it the server ends the link; the rest is for inbox and sizes.
_MAX_SUBJECT_BYTES = 1024
# Printable ASCII without space, wildcards and empty tokens. The library lets wildcards, NUL and non-ASCII through, and
# the server stores them: no subscription finds such a record again.
_LITERAL = re.compile(r"[!-)+-\-/-=?-~]+(?:\.[!-)+-\-/-=?-~]+)*", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_MAX_REMEMBERED = 10_000  # topics and header names are few; whoever makes many shall not fill memory

_known_subjects: set[str] = set()
_known_names: set[str] = set()


def is_literal_subject(subject: str) -> bool:
    """Whether records can be published to it and found again."""
    return len(subject) <= _MAX_SUBJECT_BYTES and _LITERAL.fullmatch(subject) is not None


def encode_head(record: Record, *, with_ttl: bool) -> bytes:
    """The header block of a record, from `NATS/1.0` to the empty line.

    Args:
        record: its headers must not begin with `Nats-`: those steer the server and are ours to set.
        with_ttl: whether the stream takes a time to live per message.

    Raises:
        RecordRefused: topic or headers cannot be sent.
    """
    if record.topic not in _known_subjects:
        _check_subject(record.topic)
    head = "NATS/1.0\r\n"
    for name, value in record.headers.items():
        if name not in _known_names:
            _check_name(name)
        head += f"{name}: {value}\r\n"
    head += f"Nats-Msg-Id: {record.dedup_id}\r\n"
    lines = len(record.headers) + 2
    if with_ttl and record.ttl_s is not None:
        head += f"Nats-TTL: {record.ttl_s}s\r\n"
        lines += 1
    # A line end inside a value would end the header, or the message, and begin another one.
    if head.count("\n") != lines or head.count("\r") != lines or "\0" in head:
        raise RecordRefused("a header value of the record has a line end or NUL in it")
    try:
        return f"{head}\r\n".encode()
    except UnicodeEncodeError as error:
        raise RecordRefused("a header value of the record is not valid text") from error


def _check_subject(subject: str) -> None:
    if not is_literal_subject(subject):
        raise RecordRefused(
            "the topic is no literal NATS subject: tokens of printable ASCII without space, * and >, joined by dots, "
            f"at most {_MAX_SUBJECT_BYTES} characters"
        )
    if len(_known_subjects) < _MAX_REMEMBERED:
        _known_subjects.add(subject)


def _check_name(name: str) -> None:
    if not _HEADER_NAME.fullmatch(name) or name[:5].lower() == "nats-":
        raise RecordRefused("a header name of the record is no token, or begins with Nats-")
    if len(_known_names) < _MAX_REMEMBERED:
        _known_names.add(name)
