"""Questions that providers ask before they send events."""

import json

import pytest

from bridge.providers import PROVIDERS
from bridge.providers.request import Reply, Request


def ask(preset: str, body: bytes, **headers: str) -> Reply | None:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return PROVIDERS[preset].handshakes()["POST"](Request("POST", b"/webhooks/x", b"", pairs, body))


def test_slack_gets_its_challenge_back() -> None:
    body = json.dumps({"token": "x", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "type": ""})
    reply = ask("slack", body.replace('"type": ""', '"type": "url_verification"').encode())
    assert reply == Reply(200, b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")


@pytest.mark.parametrize(
    "body",
    [b'{"type": "event_callback", "challenge": "url_verification"}', b"url_verification", b'["url_verification"]'],
)
def test_an_event_of_slack_is_no_question(body: bytes) -> None:
    assert ask("slack", body) is None


def test_github_may_ping() -> None:
    assert ask("github", b"{}", x_github_event="ping") == Reply(200, b"pong")
    assert ask("github", b"{}", x_github_event="push") is None
