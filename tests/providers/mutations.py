"""Requests that are nearly right: what a preset's goldens and samples become when a hostile sender changes a little.

Random bytes are refused at the first look; these get as far as they can.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from hypothesis import strategies as st

from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from tests.contracts.provider_contract import json_values
from tests.providers.goldens import RECEIVED_AT, delivery_of, goldens

__all__ = ["ODD_HEADERS", "RAW", "changed", "requests_of"]

_MARK = "@@here@@"
_FORM = b"application/x-www-form-urlencoded"

RAW: tuple[bytes, ...] = (
    b"",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"1.0",
    b"9" * 4_300,
    b"-" + b"9" * 4_300,
    b"9" * 4_301,
    b"9223372036854775808",
    b"[" * 64 + b"]" * 64,
    b"[" * 980 + b"]" * 980,
    b'{"a":' * 980 + b"1" + b"}" * 980,
    b"[" * 100_000 + b"]" * 100_000,
    b"{" * 5_000,
    rb'"\ud800"',
    rb'"\udc00\ud800"',
    rb'"\u0000"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\x00"',
    b'"' + b"x" * 100_000 + b'"',
    b'{"a":1,"a":{"a":[]}}',
    b"[{},[],null,true]",
    b"7//",
)
"""What no JSON encoder writes, or hardly any."""

ODD_HEADERS: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\t,;=",
    b"application/json; charset=utf-16",
    b"application/xml+json;",
    _FORM,
    _FORM + b"; charset=\xff",
    b"application/cloudevents+json",
    b"application/cloudevents-batch+json",
    b"application/cloudevents+avro",
    b"text/plain",
    b"%",
    b"%zz%ff%00%0d%0a",
    b"%F0%9F%98%80%ED%A0%80",
    b"\xc3\xa9\xff\x80",
    b"x" * 8_000,
    b"1" * 5_000,
    b"0001-01-01T00:00:00+14:00",
    b"9999-12-31T23:59:59-14:00",
    b"nan",
    b"1e400",
    b"events.*.>",
    b"../../x",
)
"""Values that HTTP lets through and senders do not send."""


@cache
def requests_of(provider: str) -> tuple[Delivery, ...]:
    """What is right of a provider: its goldens, and its samples."""
    return tuple(_right(provider))


def _right(provider: str) -> Iterator[Delivery]:
    for name, path in goldens().items():
        if name.startswith(f"{provider}/"):
            yield delivery_of(path)
    preset, now = PROVIDERS[provider], datetime.now(UTC)
    for event in preset.sample_events:
        body = preset.sample(event, now=now)
        headers = {name.encode(): text.encode() for name, text in preset.sample_headers(event, body).items()}
        yield Delivery(body, headers, RECEIVED_AT)


@st.composite
def changed(draw: st.DrawFn, provider: str, reads: frozenset[str]) -> Delivery:
    """A request of a provider with one thing changed, or two.

    Args:
        draw: of hypothesis.
        provider: its name.
        reads: the headers that its decoder looks at.
    """
    right = draw(st.sampled_from(requests_of(provider)))
    body, headers = right.body, dict(right.headers)
    for _ in range(draw(st.integers(1, 2))):
        how = draw(st.sampled_from(["value", "value", "value", "header", "damage", "bytes"]))
        if how == "header":
            name = draw(st.sampled_from(sorted(reads | {"content-type", "traceparent", "ce-x", "ce-data"})))
            headers[name.encode()] = draw(st.sampled_from(ODD_HEADERS) | st.binary(max_size=40))
        elif how == "value":
            body = draw(_with_other_value(body, form=headers.get(b"content-type", b"").startswith(_FORM)))
        elif how == "damage":
            start = draw(st.integers(0, len(body)))
            body = body[:start] + draw(st.binary(max_size=10)) + body[start + draw(st.integers(0, 20)) :]
        else:
            body = draw(st.binary(max_size=60) | st.sampled_from(RAW))
    return Delivery(body, headers, RECEIVED_AT)


@st.composite
def _with_other_value(draw: st.DrawFn, body: bytes, *, form: bool) -> bytes:
    if form:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True) or [("", "")]
        which = draw(st.integers(0, len(pairs) - 1))
        name, value = pairs[which]
        other = draw(_with_other_value(value.encode(), form=False))
        others = [(name, other), *draw(st.sampled_from([[], [(name, b"again")], [(b"\xff\x00", b"")]]))]
        return urlencode([*pairs[:which], *others, *pairs[which + 1 :]]).encode()
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return draw(st.sampled_from(RAW))
    places = list(_places(content))
    if not places:
        return draw(st.sampled_from(RAW))
    holder, key = draw(st.sampled_from(places))
    if isinstance(holder, dict):
        how = draw(st.sampled_from(["drop", "twice", "new", "replace", "replace"]))
        if how == "drop":
            del holder[key]
            return json.dumps(content).encode()
        if how == "new":
            key = draw(st.text(max_size=8))
        holder[key] = _MARK
        raw = draw(_raw())
        if how == "twice":
            raw = b"null," + json.dumps(key).encode() + b":" + raw
    else:
        holder[key] = _MARK
        raw = draw(_raw())
    return json.dumps(content).encode(errors="surrogatepass").replace(f'"{_MARK}"'.encode(), raw)


def _raw() -> st.SearchStrategy[bytes]:
    plain = json_values.map(lambda value: json.dumps(value).encode(errors="surrogatepass"))
    return st.sampled_from(RAW) | plain


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value where another one could be."""
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from _places(content[key])
