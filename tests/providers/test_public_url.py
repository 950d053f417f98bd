"""Who is believed to say which URL the sender called, where it signs that: the setting, or listed proxies alone."""

from base64 import b64encode
from hashlib import sha256
from hmac import digest

import pytest

from bridge.providers.proof import Proof
from bridge.providers.public_url import bases_of
from bridge.providers.request import Request
from bridge.providers.signatures import Verifier
from tests.providers.proving import believes

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
PROOF = Proof(scheme="hmac-sha1", header="x-sig", encoding="base64", signed="{url:hash}")
BODY = b"{}"
PROXIES = ("10.0.0.7", "10.1.0.0/16", "fd00::/8")
FORWARDED = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"hooks.example.com"))


def signed(
    *headers: tuple[bytes, bytes], peer: str = "10.0.0.7", base: bytes = b"https://hooks.example.com"
) -> Request:
    query = b"hash=" + sha256(BODY).hexdigest().encode()
    signature = b64encode(digest(SECRET.encode(), base + b"/webhooks/x?" + query, "sha1"))
    return Request("POST", b"/webhooks/x", query, [(b"x-sig", signature), *headers], BODY, peer)


@pytest.fixture(scope="module")
def check() -> Verifier:
    return Verifier([PROOF], [SECRET], trusted_proxies=PROXIES)


@pytest.mark.parametrize("peer", ["10.0.0.7", "10.1.255.1", "::ffff:10.1.0.1", "fd00::1"])
def test_a_listed_proxy_is_believed(check: Verifier, peer: str) -> None:
    assert check.needs_peer
    assert believes(check, signed(*FORWARDED, peer=peer))


@pytest.mark.parametrize(
    "peer", ["10.0.0.8", "10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "fe80::1", "", "unix:", "proxy"]
)
def test_nobody_else_is_though_the_signature_is_right(check: Verifier, peer: str) -> None:
    asked = signed(*FORWARDED, peer=peer)
    assert not believes(check, asked)
    assert [step.name for step in check.explain(asked) if not step.right] == ["url"]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        FORWARDED[:1],
        FORWARDED[1:],
        (*FORWARDED, FORWARDED[0]),
        (*FORWARDED, FORWARDED[1]),
        (*FORWARDED, (b"x-forwarded-host", b"evil.example.com")),
    ],
)
def test_both_headers_are_wanted_once(check: Verifier, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    assert not believes(check, signed(*headers))


@pytest.mark.parametrize(
    ("scheme", "host"),
    [
        (b"https, http", b"hooks.example.com"),
        (b"https,https", b"hooks.example.com"),
        (b"wss", b"hooks.example.com"),
        (b"", b"hooks.example.com"),
        (b"https", b""),
        (b"https", b"hooks.example.com, hooks.example.com"),
        (b"https", b"hooks.example.com,"),
        (b"https", b"hooks.example.com/in"),
        (b"https", b"hooks.example.com/"),
        (b"https", b"me@hooks.example.com"),
        (b"https", b"hooks.example.com:443x"),
        (b"https", b"hooks.example.com?x"),
        (b"https", b"hooks.example.com "),
        (b"https", "hôoks.example.com".encode()),
        (b"https", b"https://hooks.example.com"),
    ],
)
def test_what_is_odd_is_refused_though_just_that_was_signed(check: Verifier, scheme: bytes, host: bytes) -> None:
    told = ((b"x-forwarded-proto", scheme), (b"x-forwarded-host", host))
    assert not believes(check, signed(*told, base=scheme + b"://" + host))
    assert not believes(check, signed(*told))


def test_another_url_than_the_one_the_proxy_tells_is_refused(check: Verifier) -> None:
    assert believes(check, signed((b"x-forwarded-proto", b"http"), FORWARDED[1], base=b"http://hooks.example.com"))
    assert not believes(check, signed((b"x-forwarded-proto", b"http"), FORWARDED[1]))
    assert not believes(check, signed(FORWARDED[0], (b"x-forwarded-host", b"other.example.com")))


def test_a_known_public_url_goes_before_whatever_a_proxy_tells() -> None:
    check = Verifier([PROOF], [SECRET], public_url="https://hooks.example.com", trusted_proxies=PROXIES)
    assert not check.needs_peer
    assert believes(check, signed(peer=""))
    other = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"other.example.com"))
    assert not believes(check, signed(*other, base=b"https://other.example.com"))


@pytest.mark.parametrize(
    ("public_url", "proxies"),
    [
        (None, ()),
        ("", ()),
        ("hooks.example.com", ()),
        (None, ("0.0.0.0/0",)),
        (None, ("x",)),
        (None, ("::ffff:10.0.0.0/104",)),
    ],
)
def test_what_tells_no_url_is_refused_at_the_start(public_url: str | None, proxies: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"URL|trusted|'x'"):
        Verifier([PROOF], [SECRET], public_url=public_url, trusted_proxies=proxies)


@pytest.mark.parametrize(
    ("url", "spellings"),
    [
        ("https://h/in/", ("https://h/in", "https://h:443/in")),
        ("https://h:443", ("https://h:443", "https://h")),
        ("https://h:8443", ("https://h:8443", "https://h")),
        ("http://h", ("http://h", "http://h:80")),
        ("HTTPS://[::1]:8443", ("https://[::1]:8443", "https://[::1]")),
    ],
)
def test_a_url_is_tried_with_its_port_and_without(url: str, spellings: tuple[str, ...]) -> None:
    bases = bases_of(url, ())(Request("POST", b"/", b"", []))
    assert bases == tuple(spelling.encode() for spelling in spellings)


def test_an_explanation_names_the_urls_and_hides_what_may_be_secret_in_them(check: Verifier) -> None:
    asked = signed(*FORWARDED)._replace(path=b"/webhooks/x/a-token")
    steps = {step.name: step for step in check.explain(asked)}
    tried = "tried https://hooks.example.com/webhooks/x/…?…, https://hooks.example.com:443/webhooks/x/…?…"
    assert (steps["url"].found, steps["body"].right, steps["signature"].right) == (tried, True, False)
    assert "a-token" not in str(steps)
    (wrong,) = (step for step in check.explain(asked._replace(body=b"[]")) if not step.right)
    assert (wrong.name, wrong.found) == ("body", "the body is not the one whose SHA-256 is in the URL's hash")
    (wrong,) = (step for step in check.explain(asked._replace(query=b"")) if not step.right)
    assert (wrong.name, wrong.found) == ("body", "the URL's query has no hash")
