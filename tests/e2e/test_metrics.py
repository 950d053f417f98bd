"""/metrics of a running bridge: what is declared moves, nothing else is there, and no sender grows or taints it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bridge.ingest.letters import REASONS
from bridge.ingest.outcomes import OUTCOMES
from bridge.providers import PROVIDERS
from bridge.telemetry.metrics import METRICS
from tests.e2e.test_flow import children
from tests.processes import TOKEN, BridgeProcess, wait_until

Make = Callable[..., BridgeProcess]
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# What never moves, with what it says here.
CONSTANT = {
    "bridge_deliveries_in_flight_limit": 2 * 58,  # of 77 each of two sources has 19 to itself
    "bridge_source_verified": 1,
    "bridge_build_info": 1,
    "bridge_broker_weaknesses": 1,  # the embedded broker keeps one copy
}
OF_THE_SYSTEM = {metric.name for metric in METRICS if not metric.ours}
ELSEWHERE = {
    "bridge_log_lines_dropped_total": "test_dropped_log_lines_are_counted",
    "bridge_dedup_ids_forgotten_total": "test_what_is_forgotten_too_early_is_counted_and_published_again",
    "bridge_broker_records_sent_again_total": "of Kafka",
    "bridge_records_ambiguous_total": "test_a_publish_that_is_never_answered_is_ambiguous_and_never_taken_for_durable",
    "bridge_records_spooled_total": "test_events_are_taken_while_the_broker_is_down_and_follow_in_order",
}
# Its series begin when a file changes, which is no sender's doing: tests/e2e/test_rotation.py.
# Those of the spool are there where it is on.
BEGIN_LATER = {"bridge_files_reread_total"} | {
    metric.name
    for metric in METRICS
    if metric.name.startswith(("bridge_spool_", "bridge_records_drained", "bridge_records_acknowledged_late"))
}
SUFFIXES = ("_bucket", "_count", "_sum")


def message(**fields: object) -> bytes:
    body = json.loads(PROVIDERS["chatlevel"].sample("message.received", now=datetime.now(UTC)))
    body["data"] |= fields
    return json.dumps(body).encode()


def scrape(running: BridgeProcess) -> Series:
    text = httpx.get(f"http://127.0.0.1:{running.ops_port}/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metric_of(series: str) -> str:
    """The declared name of an exported series."""
    histograms = {metric.name for metric in METRICS if metric.kind == "histogram"}
    return next((base for suffix in SUFFIXES if (base := series.removesuffix(suffix)) in histograms), series)


def total(scraped: Series, name: str, **labels: str) -> float:
    return sum(
        value for (series, bound), value in scraped.items() if series == name and labels.items() <= dict(bound).items()
    )


def test_every_declared_metric_moves_with_traffic_or_an_outage_and_no_other_is_exported(bridge: Make) -> None:
    sources = {"BRIDGE_SOURCES": "chatlevel,open=chatlevel", "BRIDGE_SOURCE_OPEN_VERIFY": "none"}
    sources["BRIDGE_ROUTES"] = "chatlevel:message.deleted -> drop"
    running = bridge(**sources, BRIDGE_MAX_IN_FLIGHT="77", BRIDGE_SOURCE_CHATLEVEL_DEADLINE_MS="1500").start()
    states = [scrape(running)]
    red = message(colour="red")
    assert [running.post(red).status_code for _ in range(2)] == [200, 200]
    assert running.post(PROVIDERS["chatlevel"].sample("message.deleted", now=datetime.now(UTC))).status_code == 200
    assert running.post(b"{").status_code == 200
    assert httpx.post(running.url + "x", content=message()).status_code == 401
    states.append(scrape(running))
    server = children(running.process.pid if running.process else 0)[-1]
    os.kill(server, signal.SIGSTOP)
    states.append(asyncio.run(_scraped_under_way(running)))
    os.kill(server, signal.SIGKILL)
    states.append(wait_until(lambda: None if total(state := scrape(running), "bridge_broker_connected") else state))
    wait_until(running.ready)
    states.append(scrape(running))

    exported = {metric_of(name) for state in states for name, _ in state}
    assert exported | BEGIN_LATER == {metric.name for metric in METRICS}
    moved = {
        metric_of(name)
        for name, labels in states[-1]
        if len({state[name, labels] for state in states if (name, labels) in state}) > 1
        or (name, labels) not in states[0]
    }
    assert exported - moved - CONSTANT.keys() - OF_THE_SYSTEM - ELSEWHERE.keys() == set()
    for name, value in CONSTANT.items():
        assert total(states[-1], name) == value, name
    for name in OF_THE_SYSTEM:
        assert total(states[-1], name) > 0, name
    last = states[-1]
    assert total(last, "bridge_source_verified", source="open") == 0
    assert total(last, "bridge_dead_letters_total", reason="undecodable") == 1
    accepted = {"bridge_delivery_seconds_count", "bridge_ack_seconds_count", "bridge_body_bytes_count"}
    assert total(last, "bridge_deliveries_total", source="chatlevel", outcome="accepted") == 3
    assert total(last, "bridge_records_duplicate_total", source="chatlevel") == 1
    assert (
        total(last, "bridge_events_published_total", source="chatlevel", type="message.received") >= 1
    )  # or the late one
    assert total(last, "bridge_records_published_total", topic="events.chatlevel.message.received") >= 1
    assert total(last, "bridge_drift_fields_total", field="colour", type="message.received") >= 1  # or the late one
    assert {total(states[1], name) for name in accepted} == {4, 5}  # the duration is that of refused ones, too
    assert total(states[2], "bridge_deliveries_in_flight") == 1
    assert [total(state, "bridge_ready") for state in states] == [1, 1, 1, 0, 1]


async def _scraped_under_way(running: BridgeProcess) -> Series:
    """The metrics while a delivery waits for a broker that does not answer, and then gets its 503."""
    async with httpx.AsyncClient() as client:
        waiting = asyncio.create_task(client.post(running.url, content=message()))
        while total(scraped := await asyncio.to_thread(scrape, running), "bridge_deliveries_in_flight") < 1:
            assert not waiting.done()
        assert (await waiting).json()["error"] == "deadline_exceeded"
    return scraped


def test_hostile_senders_neither_grow_nor_taint_the_metrics(bridge: Make) -> None:
    running = bridge().start()
    canary = "sesame-0f1e2d3c"
    odd = [f'{canary}"', f"{canary}\n# HELP", f"{canary}\\", "5511912340000", TOKEN, f"{canary}é", "{}", " ", "a" * 99]
    base = f"http://127.0.0.1:{running.port}/webhooks"
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as client:
        for text in odd:
            for url in (f"{base}/{text}", f"{base}/chatlevel/{text}", f"{base}/chatlevel/{TOKEN}/{text}"):
                client.post(httpx.URL(url.replace("\n", "%0A")), content=message())
            client.post(f"{base}/chatlevel", params={"token": text, text: text}, content=message())
            headers = {"content-encoding": canary, "authorization": f"Bearer {canary}", "traceparent": canary}
            client.post(running.url, headers=headers, content=message())
            client.request(canary.upper(), running.url, content=message())
            if text == TOKEN:
                continue  # what is in a body is published
            client.post(running.url, content=message(**{text: text}))
            client.post(running.url, content=message().replace(b"message.received", json.dumps(text).encode()[1:-1]))
            client.post(running.url, content=message().replace(b"480213", json.dumps(text).encode()))
        fields = [f"f{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(26 * 12)]
        for n in range(0, len(fields), 12):
            client.post(running.url, content=message(**dict.fromkeys(fields[n : n + 12], 1)))
    text = httpx.get(f"http://127.0.0.1:{running.ops_port}/metrics").text
    for secret in (canary, TOKEN, "5511912340000", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"):
        assert secret not in text
    scraped = scrape(running)
    assert total(scraped, "bridge_drift_fields_total", field="other") > 26 * 12 - 200
    assert total(scraped, "bridge_deliveries_total", source="", outcome="not_found") >= 2 * len(odd)
    assert len(scraped) <= bound(types=len(PROVIDERS["chatlevel"].event_types))


def bound(*, types: int) -> int:
    """The most series a bridge with one source of so many types may ever export."""
    values = {"source": 1, "outcome": len(OUTCOMES), "type": types, "topic": types + 2, "version": 1, "python": 1}
    values["reason"] = len(REASONS)
    most = 0
    for metric in METRICS:
        if metric.name == "bridge_drift_fields_total":
            most += 200 + types  # and `other` per type
        elif metric.name == "bridge_deliveries_total":
            most += 2 * len(OUTCOMES)  # of the source, and of none
        elif metric.name not in BEGIN_LATER:
            series = 1
            for label in metric.labels:
                series *= values[label]
            most += series * (len(metric.buckets) + 3 if metric.buckets else 1)
    return most


def test_dropped_log_lines_are_counted(bridge: Make) -> None:
    """In a process of its own, whose output nobody reads."""
    program = """
import os, sys, time, structlog
from bridge.telemetry import logs
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.process import watch_process
metrics = Metrics()
watch_process(metrics)
read, write = os.pipe()
logs.configure("json", "info", os.fdopen(write, "w"), max_queued_bytes=1000)
while not logs.dropped_lines():
    structlog.get_logger().info("x" * 1000)
assert metrics.value("bridge_log_lines_dropped_total") > 0
os._exit(7)
"""
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program]) == 7
