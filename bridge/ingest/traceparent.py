"""The trace a request came with (W3C Trace Context, section 3.2), passed on into the event."""

import re

__all__ = ["valid_traceparent"]

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def valid_traceparent(header: bytes | None) -> str | None:
    """The header as text if it is a valid one, else None: the standard says to ignore a broken one."""
    if header is None or not _TRACEPARENT.fullmatch(header):
        return None
    return header.decode("ascii")
