"""Equal requests at the public port: what each of them is told, and when."""

import asyncio
import gc
from datetime import UTC, datetime

import httpx

from bridge.ingest.deadline import Deadline
from bridge.providers import PROVIDERS
from tests.server.conftest import Serve

BODY = PROVIDERS["chatlevel"].sample("message.received", now=datetime(2026, 3, 2, 8, tzinfo=UTC))


def deadlines() -> list[Deadline]:
    """Of the deliveries under way, which keep them to themselves."""
    loop = asyncio.get_running_loop()
    return [found for found in gc.get_objects() if isinstance(found, Deadline) and found._loop is loop]


async def test_a_retry_is_answered_as_the_first_was_and_published_once(serve: Serve) -> None:
    served = await serve()
    answers = [await served.post(BODY) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.text for answer in answers}) == 1
    assert len(served.publisher.records) == 1
    assert served.outcomes() == {"accepted": 5}
    assert served.metrics.value("bridge_records_duplicate_total", "shop") == 4
    assert served.metrics.value("bridge_events_published_total", "shop", "message.received") == 1


async def test_fifty_equal_requests_at_once_are_published_once(serve: Serve) -> None:
    served = await serve(deadline_s=20)  # of the first, while the fiftieth is still being made
    entered, release = served.hold()
    async with httpx.AsyncClient() as client:
        posting = [asyncio.create_task(client.post(served.url, content=BODY)) for _ in range(50)]
        await entered.acquire()
        while served.ingest.in_flight < 50:
            await asyncio.sleep(0.01)
        release.set()
        assert {answer.status_code for answer in await asyncio.gather(*posting)} == {200}
    assert len(served.publisher.records) == 1


async def test_an_acknowledgement_at_the_moment_of_the_deadline_leaves_nobody_without_an_answer(serve: Serve) -> None:
    served = await serve()
    entered, release = served.hold()
    posting = asyncio.create_task(served.post(BODY))
    await entered.acquire()
    (deadline,) = deadlines()
    release.set()  # in one turn of the loop: the publish ends, and the late answer begins
    deadline._timer.cancel()
    deadline._expire()
    answer = await posting
    assert (answer.status_code, answer.json()["error"]) == (503, "deadline_exceeded")
    assert (await served.post(BODY)).status_code == 200
    assert served.outcomes() == {"deadline_exceeded": 1, "accepted": 1}


async def test_the_first_is_answered_at_its_deadline_while_its_publish_goes_on_for_the_second(serve: Serve) -> None:
    served = await serve(deadline_s=20)
    entered, release = served.hold()
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as client:
        first = asyncio.create_task(client.post(served.url, content=BODY))
        await entered.acquire()
        (deadline,) = deadlines()
        second = asyncio.create_task(served.post(BODY))
        async with asyncio.timeout(10):
            while not served.ingest._sources[b"shop"][0].keeper._dedup._awaited:  # noqa: ASYNC110 -- nothing else tells it
                await asyncio.sleep(0.01)
        deadline._timer.cancel()  # brought forward
        deadline._expire()
        answer = await first
        assert (answer.status_code, answer.json()["error"]) == (503, "deadline_exceeded")
        assert not second.done()
        release.set()
        assert (await second).status_code == 200
        # the connection of the one that was answered by another task is as good as any
        again = await client.post(served.url, content=BODY)
        assert again.json() == (await second).json()
    assert served.outcomes() == {"deadline_exceeded": 1, "accepted": 2}
    assert len(served.publisher.records) == 1
    assert served.metrics.value("bridge_events_published_total", "shop", "message.received") == 1
    assert served.metrics.value("bridge_records_duplicate_total", "shop") == 2
    assert served.ingest.in_flight == 0


async def test_without_an_acknowledgement_all_are_answered_at_their_deadlines_and_one_publish_is_late(
    serve: Serve,
) -> None:
    served = await serve(deadline_s=1.0)
    entered, _never = served.hold()
    async with httpx.AsyncClient() as client:
        answers = await asyncio.gather(*(client.post(served.url, content=BODY) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {503}
    assert all(answer.elapsed.total_seconds() < 1.9 for answer in answers)
    assert len(served.ingest.late) == 1
    await entered.acquire()
    assert entered.locked()  # one publish for all ten
    served.ingest.end_late()
    while served.ingest.late:
        await asyncio.sleep(0.01)
    assert served.metrics.value("bridge_records_ambiguous_total", "shop") == 1


async def test_the_retry_of_a_late_publish_is_answered_by_its_acknowledgement(serve: Serve) -> None:
    served = await serve(deadline_s=0.3)
    entered, release = served.hold()
    assert (await served.post(BODY)).status_code == 503
    retry = asyncio.create_task(served.post(BODY))
    await entered.acquire()
    release.set()
    assert (await retry).status_code == 200
    assert len(served.publisher.records) == 1
    assert served.metrics.value("bridge_records_ambiguous_total", "shop") == 0


async def test_no_more_may_be_late_than_may_be_under_way(serve: Serve) -> None:
    served = await serve(deadline_s=0.3, max_in_flight=2)
    served.hold()
    for number in range(4):
        body = PROVIDERS["chatlevel"].sample("message.received", now=datetime(2026, 3, 2, 9, number, tzinfo=UTC))
        assert (await served.post(body)).status_code == 503
    assert len(served.ingest.late) == 2
    assert served.metrics.value("bridge_records_ambiguous_total", "shop") == 2
