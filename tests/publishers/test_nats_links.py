"""Links that break: the library's pitfalls N1 to N4 and N10, each by its number, and permissions."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import nats
import pytest

from bridge.errors import BrokerUnavailable, RecordTooLarge
from bridge.publishers.nats import NatsPublisher, NatsSettings
from bridge.publishers.nats.records import encode_head
from tests.brokers import NatsServer, nats_cluster, stored, stream_api
from tests.nats_keys import new_key
from tests.proxy import Proxy
from tests.publishers.conftest import Start, reasons
from tests.publishers.contract import READY_S, publish_until_taken, ready, record, tasks, until
from tests.servers import started

HEALS_WITHIN_S = 20.0
LEADS_ALL = "Self is new JetStream cluster metadata leader"
USERS = "authorization { users: [ { user: operator, password: o }, { user: bridge, password: %s } ] }"


def sized(topic: str, size: int) -> bytes:
    """A value that makes a record of just so many bytes with its headers."""
    head = len(encode_head(record(topic, b"", dedup_id="sized"), with_ttl=False))
    return b"x" * (size - head)


# ---- N1: errors that close the library's client for good


async def test_n1_a_record_that_headers_bring_over_the_limit_does_not_cost_the_link(
    server: NatsServer, start: Start
) -> None:
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)
        limit = 1_048_576
        await publisher.publish(record("test.a", sized("test.a", limit), dedup_id="sized"))
        with pytest.raises(RecordTooLarge) as refused:
            await publisher.publish(record("test.a", sized("test.a", limit + 1), dedup_id="sized"))
        assert (refused.value.size_bytes, refused.value.limit_bytes) == (limit + 1, limit)
        await publisher.publish(record("test.a", b"next"))
        assert proxy.connections == 1


async def test_n1_a_limit_lowered_meanwhile_fails_the_large_record_alone(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url)
    await asyncio.to_thread(server.reload, "max_payload: 2000")
    large = asyncio.ensure_future(publisher.publish(record("test.a", b"x" * 3000)))
    small = [asyncio.ensure_future(publisher.publish(record("test.a", b"%d" % number))) for number in range(20)]
    with pytest.raises(RecordTooLarge):
        await large
    await asyncio.gather(*small)
    assert len(await stored(server.url, "EVENTS")) == 20


async def test_n1_a_revoked_user_is_not_ready_and_comes_back_when_restored(server: NatsServer, start: Start) -> None:
    await asyncio.to_thread(server.restart, USERS % "secret-1")
    publisher = await start(server.url, user="bridge", password=lambda: "secret-1")
    await asyncio.to_thread(server.reload, USERS % "secret-2")
    assert "BRIDGE_NATS_USER" in await reasons(publisher, "login")
    await asyncio.to_thread(server.reload, USERS % "secret-1")
    await ready(publisher)
    await publisher.publish(record("test.a", b"1"))


async def test_n1_a_password_that_was_rotated_is_read_again(server: NatsServer, start: Start) -> None:
    password = "secret-1"
    await asyncio.to_thread(server.restart, USERS % password)
    publisher = await start(server.url, user="bridge", password=lambda: password)
    password = "secret-2"
    await asyncio.to_thread(server.reload, USERS % password)
    await ready(publisher)
    await publish_until_taken(publisher, record("test.a", b"1"))


async def test_n1_a_changed_login_is_proven_by_a_new_link_before_the_old_one_goes(
    server: NatsServer, start: Start
) -> None:
    await asyncio.to_thread(server.restart, USERS % "secret-1")
    password = "secret-1"
    publisher = await start(server.url, user="bridge", password=lambda: password)
    first = publisher._outbox.link
    password = "wrong"

    def warned() -> bool:
        return any("refused the login" in warning for warning in publisher.health().warnings)

    await until(warned, within_s=5)
    await publisher.publish(record("test.a", b"0"))
    assert publisher.health().ready
    assert publisher._outbox.link is first, "a link that works is not given up for a login that does not"
    password = "secret-1"
    await until(lambda: not warned(), within_s=10)
    assert publisher._outbox.link is first


async def test_n1_a_link_is_exchanged_under_load_without_a_failure_or_a_copy(server: NatsServer, start: Start) -> None:
    users = "authorization { users: [ { nkey: %s }, { nkey: %s } ] }"
    old, new = new_key(b"U"), new_key(b"U")
    seed = old.seed
    await asyncio.to_thread(server.restart, users % (old.public, new.public))
    publisher = await start(server.url, nkey=lambda: seed)
    first, count, enough, ready_all_along = publisher._outbox.link, 0, asyncio.Event(), True

    async def load() -> None:
        nonlocal count, ready_all_along
        while not enough.is_set():
            async with asyncio.timeout(3):
                await asyncio.gather(
                    *(publisher.publish(record("test.a", b"%d" % n)) for n in range(count, count + 50))
                )
            count += 50
            ready_all_along &= publisher.health().ready

    loading = asyncio.ensure_future(load())
    seed = new.seed
    await until(lambda: publisher._outbox.link not in (None, first), within_s=10)
    seen = count
    await until(lambda: count > seen, within_s=5)
    enough.set()
    await loading
    assert ready_all_along
    await asyncio.to_thread(server.reload, users % (new.public, new_key(b"U").public))
    await publisher.publish(record("test.a", b"%d" % count))
    values = [message.data for message in await stored(server.url, "EVENTS", nkeys_seed_str=new.seed)]
    assert values == [b"%d" % number for number in range(count + 1)]


async def test_n1_a_server_without_free_connections_is_tried_again(server: NatsServer, start: Start) -> None:
    await asyncio.to_thread(server.restart, "max_connections: 1")
    occupant = await nats.connect(server.url)
    publisher = await start(server.url, wait=False)
    await reasons(publisher, "max_connections")
    await occupant.close()
    await ready(publisher)


# ---- N2: a reconnect that dies silently


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"MSG a 1 99999999999999999999\r\n",
        b"HMSG _INBOX.x 1 9 3\r\nNATS",
        b"-ERR\r\n",
        b"-ERR 'Nobody Has Seen This One'\r\n",
        b"INFO {\r\n",
        b"PONG\r\nPONG\r\nPONG\r\nx\r\n",
        b"\0" * 2_000_000,
    ],
)
async def test_n2_garbage_on_a_link_replaces_it(server: NatsServer, start: Start, garbage: bytes) -> None:
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)
        proxy.say(garbage)
        async with asyncio.timeout(HEALS_WITHIN_S):
            while proxy.connections == 1:
                await asyncio.sleep(0.02)
        await publish_until_taken(publisher, record("test.a", b"1"))


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b'INFO {"server_id": 3}\r\n',
        b"INFO []\r\n",
        b'INFO {"connect_urls": [null, "::::", 7], "max_payload": "many"}\r\n+OK\r\n',
        b"INFO nonsense\r\n",
        b"-ERR 'Authorization Violation'\r\n",
    ],
)
async def test_n2_a_greeting_of_nonsense_is_tried_again(server: NatsServer, start: Start, greeting: bytes) -> None:
    async with Proxy(server.port) as proxy:
        proxy.answer_instead(greeting)
        publisher = await start(proxy.url, wait=False)
        async with asyncio.timeout(HEALS_WITHIN_S):
            while proxy.connections < 2:
                await asyncio.sleep(0.02)
        assert publisher.health().reasons
        proxy.instead = None
        proxy.reset()
        await ready(publisher)


# ---- N3: half-open links


async def outage_is_noticed_and_survived(
    publisher: NatsPublisher, begin: Callable[[], None], end: Callable[[], None]
) -> None:
    begin()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await publisher.publish(record("test.a", b"in vain"))
    async with asyncio.timeout(8):
        while publisher.health().ready:
            with pytest.raises((TimeoutError, BrokerUnavailable)):
                async with asyncio.timeout(0.5):
                    await publisher.publish(record("test.a", b"in vain too"))
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(10):  # the silence limit and the grace
            while True:
                await publisher.publish(record("test.a", b"refused, at the latest after the grace"))
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(0.1):
            await publisher.publish(record("test.a", b"refused at once"))
    end()
    async with asyncio.timeout(HEALS_WITHIN_S):
        await publisher.wait_ready()
        await publisher.publish(record("test.a", b"after"))


async def test_n3_a_frozen_server_and_a_black_hole_are_noticed_and_survived(
    server: NatsServer, tmp_path: Path, start: Start
) -> None:
    """At the same time, for each takes its seconds."""
    with NatsServer(tmp_path / "frozen") as frozen:
        async with Proxy(server.port) as proxy:
            direct, through = await start(frozen.url), await start(proxy.url)
            await asyncio.gather(
                outage_is_noticed_and_survived(direct, frozen.pause, frozen.resume),
                outage_is_noticed_and_survived(through, proxy.blackhole, proxy.heal),
            )


async def test_n3_a_loop_of_ours_that_stands_still_does_not_cost_the_link(
    server: NatsServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.publishers.nats.link._MAX_SILENCE_S", 1.5)
    monkeypatch.setattr("bridge.publishers.nats.supervisor._STALL_S", 1.3)
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)
        await until(lambda: not publisher._outbox.link.heard, within_s=READY_S)  # else what came before counts
        time.sleep(2)  # noqa: ASYNC251 -- that is the case: nobody reads for longer than the silence limit
        await publisher.publish(record("test.a", b"1"))
        await asyncio.sleep(1.1)
        assert proxy.connections == 1


# ---- N4: what the library buffers and sends after our answer


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_n4_a_quick_restart_under_load_costs_no_record_no_copy_and_no_order(
    server: NatsServer, start: Start, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.publishers.supervision._GRACE_S", READY_S)  # how quick a restart is, is the machine's
    publisher = await start(server.url)
    items = [record("test.a", b"%d" % number) for number in range(3000)]
    results = []
    for number, item in enumerate(items):
        results.append(asyncio.ensure_future(publisher.publish(item)))
        if number == 1000:
            await asyncio.to_thread(getattr(server, how))
            starting = asyncio.ensure_future(asyncio.to_thread(server.start))
        if number % 50 == 0:
            await asyncio.sleep(0.005)
    await starting
    async with asyncio.timeout(READY_S):
        await asyncio.gather(*results)
    assert [found.data for found in await stored(server.url, "EVENTS")] == [item.value for item in items]


async def test_n4_a_record_reported_as_failed_is_not_sent_later(server: NatsServer, start: Start) -> None:
    publisher = await start(server.url)
    await asyncio.to_thread(server.kill)
    for number in range(3):
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(record("test.a", b"failed %d" % number))
    await asyncio.to_thread(server.start)
    await ready(publisher)
    await publisher.publish(record("test.a", b"after"))
    assert [found.data for found in await stored(server.url, "EVENTS")] == [b"after"]


async def test_a_record_that_ends_two_links_is_given_up(
    server: NatsServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.publishers.supervision._GRACE_S", READY_S)  # how soon the second one is up, likewise
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)

        def cut_at_poison(chunk: bytes) -> bytes:
            if b"poison" in chunk:
                proxy.reset()
            return chunk

        proxy.up.edit = cut_at_poison
        with pytest.raises(BrokerUnavailable, match="two links") as given_up:
            async with asyncio.timeout(READY_S):
                await publisher.publish(record("test.a", b"poison"))
        assert given_up.value.maybe_stored
        await ready(publisher)
        await publisher.publish(record("test.a", b"1"))


# ---- N10: closing during an outage


async def test_n10_closing_with_records_under_way_is_bounded_and_tells_their_callers(
    server: NatsServer, start: Start
) -> None:
    async with Proxy(server.port) as proxy:
        before = tasks()
        publisher = await start(proxy.url)
        proxy.blackhole()
        waiting = [asyncio.ensure_future(publisher.publish(record("test.a", b"%d" % n))) for n in range(10)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2):
            await publisher.close()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, BrokerUnavailable)
        proxy.heal()  # what it has read and holds keeps a task of its own
        proxy.reset()
        await until(lambda: tasks() <= before, within_s=READY_S)


async def test_n10_closing_waits_for_answers_that_are_on_their_way(
    server: NatsServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.publishers.life._DRAIN_S", READY_S)  # a second is near to what a slow machine takes
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)
        proxy.down.delay_s = 0.3
        waiting = [asyncio.ensure_future(publisher.publish(record("test.a", b"%d" % n))) for n in range(10)]
        await asyncio.sleep(0.05)
        await publisher.close()
        assert await asyncio.gather(*waiting) == [None] * 10


# ---- permissions, slow brokers, other servers of the cluster


async def test_a_topic_without_permission_is_unavailable_at_once_and_others_go_on(
    server: NatsServer, start: Start
) -> None:
    config = """authorization { users: [
        { user: operator, password: o },
        { user: bridge, password: b, permissions: { publish: { allow: [">"], deny: ["test.Secret"] } } } ] }"""
    await asyncio.to_thread(server.restart, config)
    publisher = await start(server.url, user="bridge", password=lambda: "b")
    with pytest.raises(BrokerUnavailable, match="allow it to publish"):
        async with asyncio.timeout(1):
            await publisher.publish(record("test.Secret", b"1"))
    assert "allow it to publish" in " ".join(publisher.health().reasons)
    async with asyncio.timeout(1):
        await publisher.publish(record("test.a", b"1"))
    assert publisher.health().ready


@pytest.mark.parametrize(
    ("permissions", "reason"),
    [
        ('publish: { deny: "$JS.API.>" }', "BRIDGE_PROVISION=off"),
        ('subscribe: { deny: "_INBOX.>" }', "_INBOX.>"),
    ],
)
async def test_a_user_who_may_not_ask_or_hear_answers_is_told_what_to_allow(
    server: NatsServer, start: Start, permissions: str, reason: str
) -> None:
    users = f"users: [ {{ user: bridge, password: b, permissions: {{ {permissions} }} }} ]"
    await asyncio.to_thread(server.restart, f"authorization {{ {users} }}")
    publisher = await start(server.url, user="bridge", password=lambda: "b", wait=False)
    await reasons(publisher, reason)


async def test_a_broker_that_takes_nothing_in_does_not_fill_our_memory(server: NatsServer, start: Start) -> None:
    async with Proxy(server.port) as proxy:
        publisher = await start(proxy.url)
        proxy.up.hold()
        refused = 0
        async with asyncio.timeout(4):
            for number in range(100):
                publishing = asyncio.ensure_future(publisher.publish(record("test.a", b"%d" % number + b"x" * 900_000)))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                publishing.cancel()
                outcomes = await asyncio.gather(publishing, return_exceptions=True)
                refused += isinstance(outcomes[0], BrokerUnavailable)
        assert refused > 50


async def test_when_the_configured_server_dies_another_one_of_the_cluster_is_used(tmp_path: Path, start: Start) -> None:
    members = nats_cluster(tmp_path)
    with started(*members):
        await start(members[0].url, replicas=3)  # makes the stream
        info = await stream_api(members[0].url, "STREAM.INFO.EVENTS")
        # one that leads nothing, since an election takes seconds, and is another test's matter
        first = next(m for m in members if m.name != info["cluster"]["leader"] and not m.has_said(LEADS_ALL))
        publisher = await start(first.url, replicas=3)
        await publisher.publish(record("test.a", b"before"))
        await asyncio.to_thread(first.kill)
        await publish_until_taken(publisher, record("test.a", b"after"))
        other = next(member for member in members if member is not first)
        assert [found.data for found in await stored(other.url, "EVENTS")] == [b"before", b"after"]


async def test_close_at_any_moment_of_connecting_leaves_nothing_behind(server: NatsServer) -> None:
    """Before Python 3.12 `asyncio.wait_for`, which the library connects with, can swallow a cancellation."""
    await asyncio.to_thread(server.restart, "authorization { user: bridge, password: correct-horse }")
    before = tasks()
    for password in ("correct-horse", "wrong"):
        settings = NatsSettings(
            servers=(server.url,),
            subjects=("test.>",),
            provision="create",
            user="bridge",
            password=lambda password=password: password,
        )
        for turns in range(120):
            publisher = NatsPublisher(settings)
            await publisher.start()
            for _ in range(turns):
                await asyncio.sleep(0)
            await publisher.close()
            assert tasks() <= before, turns
