"""The public port of a source whose sender signs, and the questions that senders ask."""

import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
from structlog.testing import CapturingLogger

from bridge.providers import PROVIDERS
from bridge.providers.proof import Plain, Proof
from bridge.providers.request import Reply, Request
from bridge.providers.signatures import Verifier
from tests.server.conftest import Serve, Served

BODY = PROVIDERS["chatlevel"].sample("message.received", now=datetime(2026, 3, 2, 8, tzinfo=UTC))
PROOF = Proof(scheme="hmac-sha256", header="x-sig", grammar=Plain("sha256="))
SECRET = "a-secret-of-this-test"
CANARY = b"canary-in-a-body"


async def signed(serve: Serve, **more: object) -> Served:
    served = await serve(verifier=Verifier([PROOF], [SECRET]), **more)
    served.url = f"http://127.0.0.1:{served.port}/webhooks/shop"
    return served


def signature(body: bytes) -> dict[str, str]:
    return {"x-sig": f"sha256={hmac.digest(SECRET.encode(), body, 'sha256').hex()}"}


async def test_a_signed_body_is_published_whatever_chunks_it_comes_in(serve: Serve) -> None:
    served = await signed(serve, max_body_bytes=len(BODY))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), 100):
            yield BODY[start : start + 100]

    async with httpx.AsyncClient() as client:
        whole = await client.post(served.url, content=BODY, headers=signature(BODY))
        parts = await client.post(served.url, content=chunks(), headers=signature(BODY))
    assert (whole.status_code, parts.status_code) == (200, 200)
    assert len(served.publisher.records) == 1
    assert served.outcomes() == {"accepted": 2}


async def test_what_is_not_signed_is_401_and_nothing_of_it_is_told_or_logged(serve: Serve) -> None:
    served = await signed(serve)
    log = served.ingest.facts._log = CapturingLogger()  # whatever the log is set up to write
    wrong = signature(BODY)
    answers = [
        await served.post(BODY + CANARY, headers=wrong),
        await served.post(CANARY),
        await served.post(CANARY, headers={"x-sig": "canary-in-a-header"}),
        await served.post(BODY, headers=[("x-sig", wrong["x-sig"]), ("x-sig", wrong["x-sig"])]),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1, "a forger learns nothing"
    assert served.publisher.records == []
    assert served.outcomes() == {"unauthorized": 4}
    lines = str(log.calls)
    assert "canary" not in lines
    assert wrong["x-sig"] not in lines
    assert "the header x-sig is missing" in lines
    assert "the header x-sig is there twice" in lines


async def test_a_header_after_the_body_proves_nothing(serve: Serve) -> None:
    """What decodes the request does not see it: with the id there, a replay would be another event."""
    served = await signed(serve)
    chunked = b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n%x\r\n%b\r\n0\r\n%b\r\n"
    proof = b"X-Sig: %b\r\n" % signature(BODY)["x-sig"].encode()
    trailed = await served.raw(chunked % (b"", len(BODY), BODY, proof))
    assert trailed.startswith(b"HTTP/1.1 401 ")
    headed = await served.raw(chunked % (proof + b"Connection: close\r\n", len(BODY), BODY, b"X-Sig: other\r\n"))
    assert headed.startswith(b"HTTP/1.1 200 "), "and is no second one"


async def test_a_body_that_is_too_large_or_late_is_not_waited_for(serve: Serve) -> None:
    served = await signed(serve, max_body_bytes=2048, deadline_s=0.3)
    large = b"x" * 4096
    assert (await served.post(large, headers=signature(large))).status_code == 413
    head = b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nX-Sig: sha256=00\r\n\r\nhalf"
    assert (await served.raw(head % 100)).startswith(b"HTTP/1.1 408 ")
    assert (await served.raw(head % 4096)).startswith(b"HTTP/1.1 413 "), "before it is there"
    assert served.publisher.records == []


async def test_where_a_proxy_tells_the_url_only_the_listed_one_is_believed(serve: Serve) -> None:
    """The same bytes from 127.0.0.2, which is listed, and from 127.0.0.1, which is not."""
    proof = Proof(scheme="hmac-sha256", header="x-sig", signed="{url}{body}")
    served = await serve(verifier=Verifier([proof], [SECRET], trusted_proxies=["127.0.0.2"]))
    url = f"http://127.0.0.1:{served.port}/webhooks/shop"
    log = served.ingest.facts._log = CapturingLogger()

    def headers(said: str, called: str) -> dict[str, str]:
        signature = hmac.digest(SECRET.encode(), f"https://{called}/webhooks/shop".encode() + BODY, "sha256").hex()
        return {"x-sig": signature, "x-forwarded-proto": "https", "x-forwarded-host": said, "host": called}

    async def status(peer: str, said: str = "hooks.example.com", called: str = "hooks.example.com") -> int:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=peer)) as client:
            return (await client.post(url, content=BODY, headers=headers(said, called))).status_code

    assert await status("127.0.0.2") == 200
    assert await status("127.0.0.1") == 401, "forged by whoever reaches us past the proxy"
    assert await status("127.0.0.2", said="other.example.com") == 401
    assert await status("127.0.0.2", said="hooks.example.com, hooks.example.com") == 401
    assert len(served.publisher.records) == 1
    assert served.outcomes() == {"accepted": 1, "unauthorized": 3}
    assert "it came from no trusted proxy" in str(log.calls)


def _greet(request: Request) -> Reply | None:
    if request.method == "OPTIONS":
        return Reply(200, headers=(("WebHook-Allowed-Origin", "*"), ("Allow", "POST")))
    if request.query.startswith(b"challenge="):
        return Reply(200, request.query.partition(b"=")[2])
    return Reply(204) if request.body == b'{"type":0}' else None


async def test_a_question_is_answered_and_counted_and_nothing_is_published(serve: Serve) -> None:
    served = await signed(serve, handshakes=dict.fromkeys(("GET", "OPTIONS", "POST"), _greet))
    question = b'{"type":0}'
    async with httpx.AsyncClient() as client:
        got = await client.get(f"{served.url}?challenge=1158201444")
        options = await client.options(served.url)
        posted = await client.post(served.url, content=question, headers=signature(question))
        unproven = await client.post(served.url, content=question)
        no_question = await client.get(served.url)
        event = await client.post(served.url, content=BODY, headers=signature(BODY))
    assert (got.status_code, got.text, got.headers["content-type"]) == (200, "1158201444", "text/plain; charset=utf-8")
    assert (options.status_code, options.headers["webhook-allowed-origin"], options.text) == (200, "*", "")
    assert (posted.status_code, posted.content, "content-length" in posted.headers) == (204, b"", False)
    assert (unproven.status_code, no_question.status_code, event.status_code) == (401, 405, 200)
    assert len(served.publisher.records) == 1
    assert served.outcomes() == {"handshake": 3, "unauthorized": 1, "method_not_allowed": 1, "accepted": 1}


async def test_a_question_is_answered_where_no_proof_is_asked_for(serve: Serve) -> None:
    served = await serve(verify=False, handshakes={"POST": _greet})
    assert [(await served.post(body)).status_code for body in (b'{"type":0}', BODY)] == [204, 200]
    assert served.outcomes() == {"handshake": 1, "accepted": 1}


async def test_a_provider_that_fails_at_a_question_is_a_fault_of_ours(serve: Serve) -> None:
    def fails(_request: Request) -> Reply:
        raise ZeroDivisionError

    served = await signed(serve, handshakes={"GET": fails, "POST": fails})
    log = served.ingest.facts._log = CapturingLogger()
    async with httpx.AsyncClient() as client:
        answers = [await client.get(served.url), await client.post(served.url, content=BODY, headers=signature(BODY))]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert served.outcomes() == {"internal_error": 2}
    assert [name for name, _, _ in log.calls].count("error") == 2, "with its traceback"
