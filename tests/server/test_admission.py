"""Who is let in: fair shares between sources, and a source's rate, on the public port."""

import asyncio
from datetime import UTC, datetime
from functools import cache

from bridge.ingest.admission import RateLimit
from bridge.providers import PROVIDERS
from bridge.providers.request import Reply, Request
from bridge.providers.signatures import Verifier
from tests.server.conftest import TOKEN, Serve
from tests.server.test_answers import error
from tests.server.test_signed import PROOF, SECRET, signature

HOUR_NS = 3600 * 10**9


@cache
def body(number: int) -> bytes:
    return PROVIDERS["chatlevel"].sample("message.received", now=datetime(2026, 3, 2, 8, number, tzinfo=UTC))


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


async def test_a_source_whose_publishes_are_late_leaves_others_their_places_for_late_ones(serve: Serve) -> None:
    served = await serve(names=["shop", "hub"], max_in_flight=4, deadline_s=0.3)
    served.hold()
    for numbers in ([1, 2, 3], [4]):
        answers = await asyncio.gather(*(served.post(body(number)) for number in numbers))
        assert {error(answer) for answer in answers} == {"deadline_exceeded"}
    assert len(served.ingest.late) == 3, "its own, and the two in common"
    assert error(await served.post(body(1), url=served.url_of("hub"))) == "deadline_exceeded"
    assert len(served.ingest.late) == 4
    assert [served.metrics.value("bridge_records_ambiguous_total", name) for name in ("shop", "hub")] == [1, 0]
    assert served.ingest.in_flight == 0
    served.ingest.end_late()
    async with asyncio.timeout(5):
        while any(room.late.taken for room in served.ingest.rooms.values()):
            await asyncio.sleep(0.01)


async def test_who_has_no_token_cannot_use_up_the_rate_and_above_it_no_body_is_read(serve: Serve) -> None:
    clock = Clock()
    served = await serve(rate=RateLimit(1, 3600, clock))
    for _ in range(3):
        assert error(await served.post(body(1), url=f"{served.url}x")) == "unauthorized"
    assert (await served.post(body(1))).status_code == 200
    head = f"POST /webhooks/shop/{TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    answer = await asyncio.wait_for(served.raw(head.encode()), 2)  # the body never comes
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 3600\r\n" in answer
    clock.now += HOUR_NS - 1
    refused = await served.post(body(1))
    assert (refused.status_code, error(refused), refused.headers["retry-after"]) == (503, "rate_limited", "1")
    clock.now += 1
    assert (await served.post(body(1))).status_code == 200
    assert served.outcomes() == {"unauthorized": 3, "accepted": 2, "rate_limited": 2}


async def test_where_the_body_is_signed_neither_a_wrong_signature_nor_a_question_costs_a_token(serve: Serve) -> None:
    clock = Clock()

    def greet(request: Request) -> Reply | None:
        return Reply(200, b"yes") if request.body == b"?" else None

    verifier = Verifier([PROOF], [SECRET])
    served = await serve(verifier=verifier, handshakes={"POST": greet}, rate=RateLimit(1, 3600, clock))
    served.url = f"http://127.0.0.1:{served.port}/webhooks/shop"
    for number in range(3):
        assert error(await served.post(body(number), headers=signature(body(9)))) == "unauthorized"
        assert (await served.post(b"?", headers=signature(b"?"))).text == "yes"
    assert (await served.post(body(1), headers=signature(body(1)))).status_code == 200
    refused = await served.post(body(2), headers=signature(body(2)))
    assert (refused.status_code, error(refused), refused.headers["retry-after"]) == (503, "rate_limited", "3600")
    clock.now += HOUR_NS
    assert (await served.post(body(2), headers=signature(body(2)))).status_code == 200
    assert served.outcomes() == {"unauthorized": 3, "handshake": 3, "accepted": 2, "rate_limited": 1}
