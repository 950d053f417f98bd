"""How answers look on the wire: JSON for machines, one page for a person who opens a webhook's URL."""

import html
from typing import Any

import msgspec
from litestar.types import HTTPScope, Send

from bridge.ingest.outcomes import METHOD_NOT_ALLOWED
from bridge.providers.request import Reply

__all__ = ["answer", "answer_handshake", "answer_method_not_allowed", "error_body"]

_encode = msgspec.json.Encoder().encode

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>webhook-bridge: {source}</title>
<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}}
code,pre{{background:#f3f3f3;border-radius:4px;padding:.1rem .3rem}}pre{{padding:.8rem;overflow:auto}}</style>
<h1>This is a webhook, and it is listening</h1>
<p>The source <code>{source}</code> takes events by <strong>POST</strong>. You opened it with <strong>{method}</strong>,
as a browser does, so nothing was published.</p>
<p>Register this URL, with its token, at the provider. To try it by hand:</p>
<pre>webhook-bridge send --source {source}</pre>
<p>A success answer lists the ids of the events, and means that each is durable on its topic.
<code>webhook-bridge tail</code> shows them as they come.</p></html>
"""


def error_body(code: str, detail: str) -> bytes:
    """The body of every answer that is not success."""
    return _encode({"error": code, "detail": detail})


async def answer(
    send: Send, status: int, content: dict[str, Any], *, retry_after_s: int | None = None, close: bool = False
) -> None:
    """Send a JSON answer.

    Args:
        send: the ASGI callable.
        status: the HTTP status.
        content: what to encode.
        retry_after_s: delta-seconds of Retry-After (RFC 9110, 10.2.3).
        close: end the connection after it, since the rest of the request is not read.
    """
    if status == 204:  # noqa: PLR2004 -- RFC 9110, 15.3.5: no content, or the next answer on the connection is misread
        await _send(send, status, [], b"")
        return
    body = _encode(content)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    if close:
        headers.append((b"connection", b"close"))
    if status == 401:  # noqa: PLR2004 -- RFC 9110, 11.6.1 asks for it
        headers.append((b"www-authenticate", b"Bearer"))
    await _send(send, status, headers, body)


async def answer_method_not_allowed(scope: HTTPScope, send: Send, source: str) -> None:
    """405 with a hint how to use the URL: a page for a browser, JSON for all others."""
    method = str(scope["method"])
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if b"text/html" in accept:
        content_type = b"text/html; charset=utf-8"
        body = _PAGE.format(source=html.escape(source), method=html.escape(method)).encode()
    else:
        content_type = b"application/json"
        body = error_body(METHOD_NOT_ALLOWED.code, f"this is the webhook of {source!r}: POST events to it")
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"allow", b"POST"),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await _send(send, METHOD_NOT_ALLOWED.status, headers, body)


async def answer_handshake(send: Send, reply: Reply) -> None:
    """What the provider's code says to its question, and that nobody may take it for a page."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.body:
        headers += [(b"content-type", reply.content_type.encode()), (b"x-content-type-options", b"nosniff")]
    if reply.status != 204:  # noqa: PLR2004 -- RFC 9110, 8.6: it has no length
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await _send(send, reply.status, headers, reply.body)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
