"""Requests of every source with all the proofs and credentials that a request can carry, right and wrong."""

import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import httpx

from bridge.cli.bodies import Body
from bridge.cli.player import Player
from bridge.config import Config, SourceConfig, proofs_of
from bridge.providers import PROVIDERS
from tests.canary.places import unusual
from tests.canary.watch import WATCH

__all__ = ["CREDENTIALS", "Post", "posts", "raw_request"]

CREDENTIALS: Mapping[str, str] = {
    "Cookie": "session={}",
    "Proxy-Authorization": "Basic {}",
    "Referer": "https://hooks.example.com/webhooks/x/{}",
    "X-Api-Key": "{}",
    "X-Forwarded-Access-Token": "{}",
    "X-Gitlab-Token": "{}",
    "X-Telegram-Bot-Api-Secret-Token": "{}",
    "X-Amz-Security-Token": "{}",
    "X-Forwarded-Client-Cert": "{}",
}
"""Headers with credentials that come along with webhooks, whatever proves them."""

_CARRIED = unusual()
_BROKEN = b'[{"a'


class Post(NamedTuple):
    """A request.

    Attributes:
        what: in words.
        status: of the answer, where it is always the same.
    """

    what: str
    status: int
    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    def send(self, client: httpx.Client) -> httpx.Response:
        return client.request(self.method, self.url, headers=self.headers, content=self.body)


def posts(config: Config, source: SourceConfig, body_secret: str) -> Iterator[Post]:
    """Good and bad requests of a source; what they carry is looked for from now on.

    Args:
        config: of the running bridge.
        source: one of its sources.
        body_secret: stands in bodies, where the provider's code takes it out.
    """
    provider, player = PROVIDERS[source.provider], Player(config, source)
    event = provider.sample_events[0]
    content = provider.sample(event, now=datetime.now(UTC))
    if source.provider == "slack":
        content = json.dumps({**json.loads(content), "token": body_secret}).encode()
    url, signed = _signed(source, player, content)
    broken_url, broken = _signed(source, player, _BROKEN)
    large = b'[{"a": "' + b"x" * source.max_body_bytes + b'"}]'
    large_url, of_large = _signed(source, player, large)
    wrong = signed | {name: _altered(signed[name]) for name in _proof_headers(source) & signed.keys()}
    wrong_url, lost = url, url.replace("/webhooks/", "/webhook/")
    if source.verify == "token":
        wrong_url = f"{url.rpartition('/')[0]}/{_given()}"
    yield Post("good", source.success_status, "POST", url, signed, content)
    yield Post("good again", source.success_status, "POST", url, signed, content)
    yield Post("malformed", source.success_status, "POST", broken_url, broken, _BROKEN)
    yield Post("not proven", 401, "POST", wrong_url, wrong, content)
    yield Post("proof in the query", 401, "POST", f"{wrong_url}?token={_given()}&{_given()}=1", wrong, content)
    yield Post("bearer", 401, "POST", wrong_url, {**wrong, "authorization": f"Bearer {_given()}"}, content)
    yield Post("too large", 413, "POST", large_url, of_large, large)
    yield Post("encoded", 415, "POST", url, {**signed, "content-encoding": _given()}, content)
    yield Post("opened", 405, "GET", url, {**wrong, "accept": "text/html"}, b"")
    yield Post("deleted", 405, "DELETE", url, wrong, b"")
    yield Post("lost", 404, "POST", lost, signed, content)
    yield Post("one part too many", 404, "POST", f"{url}/{_given()}/x", signed, content)
    yield Post("unknown source", 404, "POST", url.replace(f"/{source.name}", f"/{_given()}"), signed, content)


def raw_request(post: Post) -> bytes:
    """As a proxy writes it down."""
    path = httpx.URL(post.url).raw_path.decode()
    lines = [f"{post.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in post.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + post.body


def _given() -> str:
    WATCH.given(_CARRIED, "what a request carried")
    return _CARRIED


def _signed(source: SourceConfig, player: Player, content: bytes) -> tuple[str, dict[str, str]]:
    """URL and headers, with credentials that prove nothing to us."""
    provider = PROVIDERS[source.provider]
    about = provider.sample_headers(provider.sample_events[0], content)
    url, headers = player.request(Body("", content, dict(about)))
    for name in _proof_headers(source) & headers.keys():
        WATCH.given(headers[name].replace("=", " "), f"the proof in {name}")
    credentials = {name: text.format(_given()) for name, text in CREDENTIALS.items() if name.lower() not in headers}
    return url, {**credentials, **headers}


def _proof_headers(source: SourceConfig) -> set[str]:
    return {proof.header for proof in proofs_of(source, PROVIDERS[source.provider])} | {"authorization"}


def _altered(proof: str) -> str:
    """As long as it was, and another one."""
    wrong = proof[:-20] + secrets.token_hex(10)
    WATCH.given(wrong.replace("=", " "), "a wrong proof")
    return wrong
