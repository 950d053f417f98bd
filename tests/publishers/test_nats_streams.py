"""The stream behind the publisher: leaks, missing, full, duplicates (N5 to N8), provisioning, weaknesses."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import nats
import pytest

from bridge.errors import BrokerUnavailable, RecordTooLarge
from bridge.publishers.nats import NatsPublisher
from bridge.publishers.nats.link import Entry
from bridge.publishers.nats.records import encode_head
from tests.brokers import NatsServer, nats_cluster, stored, stream_api
from tests.conftest import NatsSpace
from tests.proxy import Proxy
from tests.publishers.conftest import Start, reasons
from tests.publishers.contract import READY_S, live_objects, publish_until_taken, ready, record, until
from tests.servers import started

NS = 1_000_000_000
GOOD = {
    "name": "EVENTS",
    "subjects": ["test.>"],
    "storage": "file",
    "discard": "new",
    "max_age": 86_400 * NS,
    "duplicate_window": 4500 * NS,
    "num_replicas": 1,
    "allow_msg_ttl": True,
}


def rss_mib() -> float:
    with open("/proc/self/statm") as statm:  # noqa: PTH123 -- Linux only, as this test is
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


async def create_stream(server: NatsServer, **changes: Any) -> None:
    answer = await stream_api(server.url, "STREAM.CREATE.EVENTS", {**GOOD, **changes})
    assert "error" not in answer, answer


async def config_of(url: str, stream: str = "EVENTS") -> dict[str, Any]:
    config: dict[str, Any] = (await stream_api(url, f"STREAM.INFO.{stream}"))["config"]
    return config


async def values(server: NatsServer) -> list[bytes]:
    return [found.data for found in await stored(server.url, "EVENTS")]


# ---- N5: failed publishes that leak


async def test_n5_a_hundred_thousand_refused_publishes_leave_nothing_behind(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url)
    await asyncio.to_thread(server.kill)
    with pytest.raises(BrokerUnavailable):
        await publisher.publish(record("test.a", b"0"))
    before, mib_before = live_objects(), rss_mib()
    for number in range(100_000):
        try:
            await publisher.publish(record("test.a", b"x" * 400, dedup_id=f"{number}"))
        except BrokerUnavailable:
            continue
        pytest.fail("nobody was there to take it")
    assert live_objects() - before < 1000
    assert rss_mib() - mib_before < 20
    await asyncio.to_thread(server.start)
    await ready(publisher)
    await publisher.publish(record("test.a", b"1"))


async def test_n5_ten_thousand_unanswered_publishes_leave_nothing_behind(
    server: NatsServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.publishers.nats.link._MAX_SILENCE_S", 60.0)  # else a slow machine's link ends meanwhile
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)
        proxy.down.hold()  # stored, and the answers do not come
        before = live_objects()
        for _ in range(10):
            sent = proxy.up.seen_bytes
            waiting = [
                asyncio.ensure_future(publisher.publish(record("test.a", b"1", dedup_id=f"{number}")))
                for number in range(1000)
            ]
            await until(lambda sent=sent: proxy.up.seen_bytes > sent + 100_000, within_s=READY_S)
            for publishing in waiting:
                publishing.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        waiting.clear()
        await until(lambda: live_objects() - before < 1000, within_s=READY_S)
        assert not publisher.health().ready, "three in a row were in vain"
        proxy.down.release()
        await publisher.publish(record("test.a", b"after"))
        await ready(publisher)


# ---- N6: no responders


async def test_n6_a_subscriber_in_the_place_of_the_stream_is_noticed_while_the_caller_waits(
    server: NatsServer, start: Start
) -> None:
    """The server is well and says nothing: whoever does not cancel would wait for ever behind a ready publisher."""
    publisher = await start(server.url, provision="off")
    consumer = await nats.connect(server.url)
    await consumer.subscribe("test.>")
    await consumer.flush()
    waiting = asyncio.ensure_future(publisher.publish(record("test.a", b"1")))
    await reasons(publisher, "does not acknowledge")
    assert not waiting.done()
    waiting.cancel()
    await consumer.close()


async def test_n6_a_stream_deleted_under_load_is_made_again_where_that_is_our_job(
    server: NatsServer, start: Start
) -> None:
    publisher = await start(server.url, provision="create")
    await publisher.publish(record("test.a", b"before"))
    await stream_api(server.url, "STREAM.DELETE.EVENTS")
    async with asyncio.timeout(3):
        await asyncio.gather(*(publisher.publish(record("test.a", b"%d" % number)) for number in range(100)))
    assert await values(server) == [b"%d" % number for number in range(100)]


async def test_n6_a_missing_stream_is_said_and_refused_at_once_until_it_is_there(
    server: NatsServer, start: Start
) -> None:
    await create_stream(server)
    publisher = await start(server.url, provision="check")
    await stream_api(server.url, "STREAM.DELETE.EVENTS")
    with pytest.raises(BrokerUnavailable, match="does not exist"):
        async with asyncio.timeout(2):
            await publisher.publish(record("test.a", b"1"))
    assert "BRIDGE_PROVISION=create" in await reasons(publisher, "does not exist")
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(0.1):
            await publisher.publish(record("test.a", b"2"))
    await create_stream(server)
    await ready(publisher)
    await publisher.publish(record("test.a", b"3"))


async def test_n6_without_a_look_at_the_stream_records_wait_for_it_in_order(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url, provision="off")
    assert publisher.health().ready
    waiting = []
    for number in range(60):
        waiting.append(asyncio.ensure_future(publisher.publish(record("test.a", b"%d" % number))))
        await asyncio.sleep(0.01)
        if number == 30:
            await create_stream(server)
    async with asyncio.timeout(READY_S):
        await asyncio.gather(*waiting)
    assert await values(server) == [b"%d" % number for number in range(60)]


async def test_n6_a_topic_without_a_stream_does_not_hold_up_the_others(server: NatsServer, start: Start) -> None:
    await create_stream(server)
    publisher = await start(server.url, provision="off")
    stuck = asyncio.ensure_future(publisher.publish(record("elsewhere.a", b"1")))
    await reasons(publisher, "nobody takes records")
    async with asyncio.timeout(READY_S):  # the stuck one would hold it up for ever
        await publisher.publish(record("test.a", b"1"))
    assert not stuck.done()
    stuck.cancel()


async def test_n6_a_leader_that_dies_costs_no_record_no_copy_and_no_order(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.publishers.supervision._GRACE_S", READY_S)  # how soon the next link is up, as above
    servers = nats_cluster(tmp_path)
    with started(*servers):
        publisher = await start(*(server.url for server in servers), replicas=3)
        items = [record("test.a", b"%d" % number) for number in range(200)]
        taken: list[asyncio.Future[None]] = []
        for number, item in enumerate(items):
            taken.append(asyncio.ensure_future(publisher.publish(item)))
            await asyncio.sleep(0.005)
            if number == 50:
                info = await stream_api(servers[0].url, "STREAM.INFO.EVENTS")
                leader = next(server for server in servers if info["cluster"]["leader"] == server.name)
                await asyncio.to_thread(leader.kill)
        async with asyncio.timeout(20):
            await asyncio.gather(*taken)
        survivor = next(server for server in servers if server is not leader)
        assert await values(survivor) == [item.value for item in items]


async def test_n6_a_record_nobody_took_on_a_link_that_has_ended_since_goes_over_the_next_one(
    server: NatsServer, start: Start
) -> None:
    """Both in one turn of the loop, which no server does on demand: we put it there."""
    await create_stream(server)
    publisher: NatsPublisher = await start(server.url)
    outbox, first = publisher._outbox, record("test.a", b"1")
    head, answer = encode_head(first, with_ttl=False), asyncio.get_running_loop().create_future()
    link = outbox.link
    outbox.detach()
    outbox.stall(Entry(next(publisher._tokens), first.topic, head, first.value, answer))
    await asyncio.sleep(0.3)  # longer than the pause before a record is tried again
    assert link is not None
    outbox.attach(link)
    async with asyncio.timeout(READY_S):
        await publisher.publish(record("test.a", b"2"))
        await answer
    assert await values(server) == [b"1", b"2"]


# ---- N7: a full stream


async def test_n7_a_full_stream_that_discards_new_is_unavailable_and_keeps_what_it_has(
    server: NatsServer, start: Start
) -> None:
    await create_stream(server, max_msgs=3)
    publisher = await start(server.url, provision="check")
    for number in range(3):
        await publisher.publish(record("test.a", b"%d" % number))
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(1):
            await publisher.publish(record("test.a", b"3"))
    await reasons(publisher, "full")
    assert await values(server) == [b"0", b"1", b"2"]
    await stream_api(server.url, "STREAM.UPDATE.EVENTS", {**GOOD, "max_msgs": 10})
    await ready(publisher)
    await publisher.publish(record("test.a", b"3"))


async def test_n7_a_full_stream_that_discards_old_is_warned_of_or_not_ready(server: NatsServer, start: Start) -> None:
    await create_stream(server, max_msgs=3, discard="old")
    lenient = await start(server.url, provision="check")
    assert any("discard=new" in warning for warning in lenient.health().warnings)
    strict = await start(server.url, provision="check", require_durable=True, wait=False)
    assert "BRIDGE_REQUIRE_DURABLE" in await reasons(strict, "discard=new")


async def test_a_record_over_the_streams_own_limit_is_too_large(server: NatsServer, start: Start) -> None:
    await create_stream(server, max_msg_size=1000)
    publisher = await start(server.url, provision="check")
    with pytest.raises(RecordTooLarge) as refused:
        await publisher.publish(record("test.a", b"x" * 1000))
    assert refused.value.limit_bytes == 1000
    await publisher.publish(record("test.a", b"1"))


# ---- N8: duplicates


async def test_n8_a_record_whose_answer_was_lost_is_stored_once(server: NatsServer, start: Start) -> None:
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)
        lost = asyncio.Event()

        def lose(chunk: bytes) -> bytes:
            if b'"seq":1' in chunk:
                lost.set()
            return b""

        proxy.down.edit = lose
        publishing = asyncio.ensure_future(publisher.publish(record("test.a", b"1")))
        async with asyncio.timeout(READY_S):
            await lost.wait()
        assert not publishing.done()
        publishing.cancel()
        assert await values(server) == [b"1"]
        proxy.down.edit = None
        await publisher.publish(record("test.a", b"1"))
        assert await values(server) == [b"1"]


async def test_n8_a_record_repeated_after_kill_and_restart_is_stored_once(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url)
    await publisher.publish(record("test.a", b"1"))
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await publish_until_taken(publisher, record("test.a", b"1"))
    assert await values(server) == [b"1"]


@pytest.mark.parametrize(
    ("genuine", "forged"),
    [(b'"stream":', b'"strean":'), (b'"seq":', b'"sec":'), (b'"seq":1', b'"seq":0'), (b'{"stream"', b'["stream"')],
)
async def test_n8_an_acknowledgement_without_stream_and_sequence_is_none(
    server: NatsServer, start: Start, genuine: bytes, forged: bytes
) -> None:
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url, provision="off")
        await create_stream(server)
        # the same length, so that the protocol's sizes stay true
        proxy.down.edit = lambda chunk: chunk.replace(genuine, forged.ljust(len(genuine), b" "))
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(record("test.a", b"1"))


# ---- provisioning


async def test_a_created_stream_has_all_that_durability_needs(nats_space: NatsSpace, start: Start) -> None:
    await start(
        nats_space.url,
        stream=nats_space.stream,
        subjects=(f"{nats_space.prefix}.>",),
        retention_s=86_400,
        dedup_window_s=4500,
    )
    config = await config_of(nats_space.url, nats_space.stream)
    expected = {**GOOD, "name": nats_space.stream, "subjects": [f"{nats_space.prefix}.>"], "retention": "limits"}
    assert {name: config[name] for name in expected} == expected


async def test_create_adds_missing_subjects_and_changes_nothing_else(server: NatsServer, start: Start) -> None:
    await create_stream(
        server, subjects=["test.a", "test.b.c", "mine.*"], max_age=7200 * NS, metadata={"owner": "x"}, max_msgs=77
    )
    before = await config_of(server.url)
    await start(server.url, subjects=("test.b.>", "mine.a", "other.x"), dedup_window_s=60)
    after = await config_of(server.url)
    assert set(after.pop("subjects")) == {"test.a", "mine.*", "test.b.>", "other.x"}
    del before["subjects"]
    assert after == before


async def test_check_names_the_subjects_that_are_missing(server: NatsServer, start: Start) -> None:
    await create_stream(server, subjects=["test.a"])
    publisher = await start(server.url, provision="check", subjects=("test.a", "test.b"), wait=False)
    said = await reasons(publisher, "test.b")
    assert "test.a," not in said
    assert (await config_of(server.url))["subjects"] == ["test.a"]


async def test_subjects_of_another_stream_are_said_with_the_remedy(server: NatsServer, start: Start) -> None:
    await create_stream(server)
    publisher = await start(server.url, stream="OTHER", wait=False)
    await reasons(publisher, "BRIDGE_NATS_STREAM")


async def test_more_replicas_than_servers_are_said_with_the_remedy(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url, replicas=3, wait=False)
    await reasons(publisher, "BRIDGE_NATS_REPLICAS")


async def test_a_server_without_jetstream_is_said(tmp_path: Path, start: Start) -> None:
    with NatsServer(tmp_path, jetstream=False) as server:
        publisher = await start(server.url, wait=False)
        await reasons(publisher, "JetStream is not enabled")


async def test_off_asks_the_server_nothing(server: NatsServer, start: Start) -> None:
    async with Proxy(server.port) as proxy:
        asked = bytearray()

        def note(chunk: bytes) -> bytes:
            asked.extend(chunk)
            return chunk

        proxy.up.edit = note
        publisher = await start(proxy.url, provision="off")
        assert publisher.health().ready
        await create_stream(server)
        await publisher.publish(record("test.a", b"1"))
        assert b"test.a" in asked
        assert b"$JS" not in asked


# ---- what is weak


@pytest.mark.parametrize(
    ("changes", "word", "durability"),
    [
        ({"storage": "memory"}, "file storage", True),
        ({"num_replicas": 1}, "one copy", True),
        ({"duplicate_window": 120 * NS}, "BRIDGE_DEDUP_WINDOW_S", True),
        ({"max_age": 600 * NS, "duplicate_window": 60 * NS}, "max_age to days", True),
        ({"max_bytes": 10_000, "discard": "old"}, "discard=new", True),
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject", True),
        ({"retention": "interest"}, "retention=interest", True),
        ({"max_age": 0}, "set max_age", False),
        ({"allow_msg_ttl": False}, "allow_msg_ttl", False),
    ],
)
async def test_weak_settings_are_warned_of_and_not_ready_where_durability_is_required(
    server: NatsServer, start: Start, changes: dict[str, Any], word: str, durability: bool
) -> None:
    await create_stream(server, **changes)
    publisher = await start(server.url, provision="check")
    assert any(word in warning for warning in publisher.health().warnings)
    strict = await start(server.url, provision="check", require_durable=True, wait=False)
    said = await reasons(strict, "BRIDGE_REQUIRE_DURABLE")
    assert (word in said) is durability


async def test_what_cannot_be_known_of_fsync_is_said_but_does_not_count_as_weak(
    server: NatsServer, start: Start
) -> None:
    publisher = await start(server.url)
    assert any("sync_interval: always" in warning for warning in publisher.health().warnings)
    strict = await start(server.url, require_durable=True, wait=False)
    assert "sync_interval" not in await reasons(strict, "one copy")
    known = await start(server.url, always_synced=True)
    assert not any("sync_interval" in warning for warning in known.health().warnings)


async def test_a_message_limit_below_the_largest_record_is_warned_of(server: NatsServer, start: Start) -> None:
    await create_stream(server, max_msg_size=100_000)
    publisher = await start(server.url, max_record_bytes=2_000_000)
    warnings = " ".join(publisher.health().warnings)
    assert "raise max_payload" in warnings
    assert "raise max_msg_size" in warnings


# ---- time to live


@pytest.mark.parametrize("provision", ["create", "off"])
async def test_an_expiring_record_expires(server: NatsServer, start: Start, provision: str) -> None:
    await create_stream(server)
    publisher: NatsPublisher = await start(server.url, provision=provision)
    item = record("test.a", b"code")
    await publisher.publish(type(item)(item.topic, item.key, item.value, item.headers, item.dedup_id, ttl_s=1))
    await publisher.publish(record("test.a", b"stays"))
    async with asyncio.timeout(READY_S):
        while (state := (await stream_api(server.url, "STREAM.INFO.EVENTS"))["state"])["messages"] == 2:
            await asyncio.sleep(0.1)
    assert state["last_seq"] == 2  # both were stored
    assert await values(server) == [b"stays"]


@pytest.mark.parametrize("provision", ["check", "off"])
async def test_an_expiring_record_is_stored_where_nothing_can_expire(
    server: NatsServer, start: Start, provision: str
) -> None:
    await create_stream(server, allow_msg_ttl=False)
    publisher = await start(server.url, provision=provision)
    item = record("test.a", b"code")
    await publisher.publish(type(item)(item.topic, item.key, item.value, item.headers, item.dedup_id, ttl_s=1))
    assert await values(server) == [b"code"]
