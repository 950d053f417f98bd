"""A raw HTTP request in a file, as a proxy, a tunnel or an editor leaves it: read for `explain`, `send` and tests.

Tolerant of what such files are like: LF for CRLF in the head, no Content-Length or a wrong one after an edit.
"""

import re

from bridge.providers.request import Request

__all__ = ["read_captured"]

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_is_request_line = re.compile(rb"([A-Z]+) +(?:https?://[^/ ]+)?(/[^ ?]*)(?:\?([^ ]*))?(?: +HTTP/[0-9.]+)?").fullmatch

_is_length = re.compile(rb"[0-9]{1,15}").fullmatch


def read_captured(content: bytes) -> Request:
    """The request.

    Raises:
        ValueError: it is none; the message says what was expected.
    """
    head, body = content, b""
    if end := _HEAD_END.search(content):
        head, body = content[: end.start()], content[end.end() :]
    first, *lines = head.replace(b"\r\n", b"\n").lstrip(b"\n").split(b"\n")
    line = _is_request_line(first.strip())
    if line is None:
        raise ValueError(
            "expected a first line such as `POST /webhooks/github HTTP/1.1`, then headers, a blank line, the body"
        )
    headers = [_header(number, text) for number, text in enumerate(lines, start=2) if text.strip()]
    lengths = [int(value) for name, value in headers if name == b"content-length" and _is_length(value)]
    if lengths and len(body) > lengths[0] and not body[lengths[0] :].strip(b"\r\n"):
        body = body[: lengths[0]]  # the line end that an editor put after it
    return Request(line[1].decode(), line[2], line[3] or b"", headers, body)


def _header(number: int, text: bytes) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(b":")
    if not colon or not name.strip() or b" " in name.strip():
        raise ValueError(f"line {number} is no header: expected `Name: value`")
    return name.strip().lower(), value.strip()
