"""Promise 2: a truthful, bounded answer, each with its status, error code and consequence."""

import asyncio
import json
import time
from datetime import UTC, datetime

import httpx
import pytest

from bridge.errors import BrokerUnavailable, RecordRefused, RecordTooLarge
from bridge.ingest import outcomes
from bridge.providers import PROVIDERS
from bridge.publishers.base import Record
from tests.server.conftest import NEXT_TOKEN, TOKEN, Serve, Served

BODY = PROVIDERS["chatlevel"].sample("message.received", now=datetime(2026, 3, 2, 8, tzinfo=UTC))


def error(response: httpx.Response) -> str:
    """The error code of an answer, whose shape is checked on the way."""
    content = response.json()
    assert set(content) == {"error", "detail"}
    assert content["detail"]
    return str(content["error"])


async def test_success_is_200_and_lists_the_ids_of_what_was_published(serve: Serve) -> None:
    served = await serve()
    response = await served.post(BODY)
    (record,) = served.publisher.records
    assert response.status_code == 200
    assert response.json() == {"ids": [json.loads(record.value)["id"]]}
    assert record.topic == "events.shop.message.received"
    assert record.key == "480213"
    assert record.dedup_id == f"{response.json()['ids'][0]}@events.shop.message.received"


async def test_success_status_of_a_source_can_be_another(serve: Serve) -> None:
    served = await serve(success_status=204)
    head = f"POST /webhooks/shop/{TOKEN} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    head += f"content-length: {len(BODY)}\r\n\r\n"
    answer = await served.raw(head.encode() + BODY)
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert answer.endswith(b"\r\n\r\n")  # no content, or the next answer on the connection would be misread
    assert len(served.publisher.records) == 1


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/", "/webhooks/other", "/webhooks/shop/a/b", "/x"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_unknown_paths_and_sources_are_404(serve: Serve, path: str, method: str) -> None:
    served = await serve()
    async with httpx.AsyncClient() as client:
        response = await client.request(method, f"http://127.0.0.1:{served.port}{path}")
    assert (response.status_code, error(response)) == (404, "not_found")
    assert served.outcomes() == {"not_found": 1}


@pytest.mark.parametrize("path", [f"//webhooks/shop/{TOKEN}", f"/%77ebhooks/shop/{TOKEN}", f"/webhooks//shop/{TOKEN}/"])
async def test_paths_that_mean_a_webhook_reach_it_however_they_are_written(serve: Serve, path: str) -> None:
    served = await serve()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(BODY)}\r\n\r\n"
    assert (await served.raw(head.encode() + BODY)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_405_with_a_hint(serve: Serve, method: str) -> None:
    served = await serve()
    async with httpx.AsyncClient() as client:
        response = await client.request(method, served.url)
    assert (response.status_code, error(response)) == (405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert "POST" in response.json()["detail"]


async def test_a_browser_gets_a_page_that_explains_the_url_without_the_token(serve: Serve) -> None:
    served = await serve()
    async with httpx.AsyncClient() as client:
        response = await client.get(served.url, headers={"accept": "text/html,*/*"})
    assert response.status_code == 405
    assert response.headers["content-type"].startswith("text/html")
    assert "This is a webhook" in response.text
    assert TOKEN not in response.text


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("", {}),
        ("/wrong-token-wrong-token", {}),
        (f"/{TOKEN}x", {}),
        (f"/{TOKEN[:-1]}", {}),
        ("?token=nope", {}),
        ("", {"authorization": "Bearer nope"}),
        ("", {"authorization": f"Basic {TOKEN}"}),
        ("", {"authorization": "Bearer"}),
        ("", {"x-token": TOKEN}),
    ],
)
async def test_a_missing_or_wrong_token_is_401(serve: Serve, path: str, headers: dict[str, str]) -> None:
    served = await serve()
    url = f"http://127.0.0.1:{served.port}/webhooks/shop{path}"
    response = await served.post(BODY, url=url, headers=headers)
    assert (response.status_code, error(response)) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert served.publisher.records == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/{TOKEN}", {}),
        (f"/{NEXT_TOKEN}", {}),
        (f"/{TOKEN.replace('-', '%2D')}", {}),
        (f"?token={TOKEN}", {}),
        (f"?x=1&access_token={NEXT_TOKEN}", {}),
        ("", {"authorization": f"Bearer {TOKEN}"}),
        ("", {"authorization": f"bearer {NEXT_TOKEN}"}),
    ],
)
async def test_both_tokens_of_a_rotation_are_taken_from_path_query_and_header(
    serve: Serve, path: str, headers: dict[str, str]
) -> None:
    served = await serve()
    url = f"http://127.0.0.1:{served.port}/webhooks/shop{path}"
    assert (await served.post(BODY, url=url, headers=headers)).status_code == 200


async def test_the_body_of_an_unproven_request_is_not_read(serve: Serve) -> None:
    served = await serve()
    head = b"POST /webhooks/shop/wrong HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
    answer = await asyncio.wait_for(served.raw(head), 2)  # the body never comes
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_without_verification_no_token_is_asked_for(serve: Serve) -> None:
    served = await serve(verify=False)
    url = f"http://127.0.0.1:{served.port}/webhooks/shop"
    assert (await served.post(BODY, url=url)).status_code == 200


async def test_a_device_off_the_list_is_403(serve: Serve) -> None:
    served = await serve(devices=frozenset({"1", "2"}))
    response = await served.post(BODY)
    assert (response.status_code, error(response)) == (403, "device_not_allowed")
    assert served.publisher.records == []


async def test_a_device_on_the_list_passes(serve: Serve) -> None:
    assert (await (await serve(devices=frozenset({"480213"}))).post(BODY)).status_code == 200


async def test_a_slow_body_is_408_at_the_deadline(serve: Serve) -> None:
    served = await serve(deadline_s=0.3)
    head = f"POST /webhooks/shop/{TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode()
    started = time.monotonic()
    answer = await served.raw(head)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"body_timeout"' in answer
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_413_and_the_limit_is_named(serve: Serve, chunked: bool) -> None:
    served = await serve(max_body_bytes=len(BODY))
    assert (await served.post(BODY)).status_code == 200

    async def chunks():  # noqa: ANN202
        yield BODY
        yield b" "

    response = await served.post(chunks() if chunked else BODY + b" ")
    assert (response.status_code, error(response)) == (413, "body_too_large")
    assert str(len(BODY)) in response.json()["detail"]
    assert len(served.publisher.records) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"])
async def test_any_content_encoding_is_415(serve: Serve, encoding: str) -> None:
    served = await serve()
    response = await served.post(BODY, headers={"content-encoding": encoding})
    assert (response.status_code, error(response)) == (415, "unsupported_encoding")


async def test_identity_is_no_encoding(serve: Serve) -> None:
    assert (await (await serve()).post(BODY, headers={"content-encoding": "Identity"})).status_code == 200


async def test_undecodable_is_400_and_says_where_but_not_what(serve: Serve) -> None:
    served = await serve()
    response = await served.post(BODY.replace(b'"deviceId":480213', b'"deviceId":["sesame"]'))
    assert (response.status_code, error(response)) == (400, "undecodable")
    assert "$.deviceId" in response.json()["detail"]
    assert "sesame" not in response.text


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (BrokerUnavailable("the broker is away"), 503, "broker_unavailable"),
        (RecordRefused("never"), 503, "record_refused"),
        (RecordTooLarge(2_000_000, 1_048_576), 413, "record_too_large"),
        (RuntimeError("sesame"), 503, "internal_error"),
    ],
)
async def test_what_the_publisher_says_becomes_the_answer(
    serve: Serve, failure: Exception, status: int, code: str
) -> None:
    served = await serve()

    async def fail(_record: object) -> None:
        raise failure

    served.publisher.behave = fail
    response = await served.post(BODY)
    assert (response.status_code, error(response)) == (status, code)
    assert ("retry-after" in response.headers) == (status == 503)
    assert "sesame" not in response.text


async def test_no_acknowledgement_is_503_at_the_deadline_and_not_later(serve: Serve) -> None:
    served = await serve(deadline_s=0.3)

    async def hang(_record: object) -> None:
        await asyncio.Event().wait()

    served.publisher.behave = hang
    started = time.monotonic()
    response = await served.post(BODY)
    assert (response.status_code, error(response)) == (503, "deadline_exceeded")
    assert 0.3 <= time.monotonic() - started < 1
    assert response.headers["retry-after"].isdigit()
    assert served.ingest.in_flight == 0


async def test_more_than_the_cap_in_flight_is_503_at_once(serve: Serve) -> None:
    served = await serve(max_in_flight=2)
    entered, release = served.hold()
    waiting = [asyncio.create_task(served.post(BODY.replace(b"480213", b"%d" % n))) for n in (1, 2)]
    await entered.acquire()
    await entered.acquire()
    response = await served.post(BODY)
    assert (response.status_code, error(response)) == (503, "overloaded")
    release.set()
    assert [answered.status_code for answered in await asyncio.gather(*waiting)] == [200, 200]
    assert served.outcomes() == {"overloaded": 1, "accepted": 2}


async def test_one_refused_record_of_a_batch_fails_the_delivery_but_not_the_others(serve: Serve) -> None:
    served = await serve()
    items = ",".join(f'{{"id":"M{n}","from":"5511912340000@s.whatsapp.net","content":"oi"}}' for n in range(3))
    body = f'{{"event":"message.received","instanceId":"i","data":{{"messages":[{items}]}}}}'.encode()

    async def second_fails(record: object) -> None:
        if b'"M1"' in record.value:  # type: ignore[attr-defined]
            raise BrokerUnavailable("away")

    served.publisher.behave = second_fails
    assert (await served.post(body)).status_code == 503
    assert [json.loads(record.value)["subject"] for record in served.publisher.records] == ["M0", "M2"]
    served.publisher.behave = None
    assert len((await served.post(body)).json()["ids"]) == 3


async def test_each_delivery_counts_once(serve: Serve) -> None:
    served = await serve()
    await served.post(BODY)
    await served.post(b"{")
    await served.post(BODY, url=f"http://127.0.0.1:{served.port}/webhooks/shop")
    assert served.outcomes() == {"accepted": 1, "undecodable": 1, "unauthorized": 1}


async def test_a_valid_traceparent_goes_into_event_and_header_and_a_broken_one_does_not(serve: Serve) -> None:
    served = await serve()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for device, header in enumerate((trace, "00-zz", "ff-" + trace[3:]), start=1):
        await served.post(BODY.replace(b"480213", b"%d" % device), headers={"traceparent": header})
    first, *broken = served.publisher.records
    assert len(broken) == 2
    assert first.headers["traceparent"] == json.loads(first.value)["traceparent"] == trace
    assert all("traceparent" not in record.headers and b"traceparent" not in record.value for record in broken)


def test_every_outcome_is_listed_once_with_a_code_of_its_own() -> None:
    declared = {value for value in vars(outcomes).values() if isinstance(value, outcomes.Outcome)}
    assert set(outcomes.OUTCOMES) == declared
    assert len({outcome.code for outcome in declared}) == len(outcomes.OUTCOMES)


def test_faults_of_ours_and_the_brokers_are_never_4xx() -> None:
    for code in ("broker_unavailable", "deadline_exceeded", "overloaded", "internal_error", "record_refused"):
        (outcome,) = (outcome for outcome in outcomes.OUTCOMES if outcome.code == code)
        assert outcome.status == 503
        assert outcome.retry_after_s


__all__ = ["Served"]


async def test_a_record_that_may_be_taken_later_outweighs_one_that_is_refused_for_good(serve: Serve) -> None:
    served = await serve(routes="shop:message.* -> a, b", dead_letter_topic="bridge.dead-letter")
    down = True

    async def behave(record: Record) -> None:
        if record.topic == "a":
            raise RecordRefused("not this one")
        if record.topic == "b" and down:
            raise BrokerUnavailable("down")

    served.publisher.behave = behave
    answer = await served.post(BODY)
    assert (answer.status_code, error(answer)) == (503, "broker_unavailable")
    assert served.publisher.records == []  # no letter: the retry may bring both
    down = False
    answer = await served.post(BODY)
    event, letter = served.publisher.records
    assert (answer.status_code, event.topic, letter.topic) == (200, "b", "bridge.dead-letter")
    assert (letter.value, letter.headers["bridge-topic"]) == (BODY, "a")
    assert letter.headers["bridge-dedupid"] == event.dedup_id.replace("@b", "@a")
    assert served.outcomes() == {"broker_unavailable": 1, "dead_lettered": 1}


async def test_a_letter_that_is_refused_too_is_answered_as_without_letters(serve: Serve) -> None:
    served = await serve(dead_letter_topic="bridge.dead-letter")

    async def refuse(record: Record) -> None:
        raise RecordTooLarge(len(record.value), 10)

    served.publisher.behave = refuse
    answer = await served.post(BODY)
    assert (answer.status_code, error(answer)) == (413, "record_too_large")
