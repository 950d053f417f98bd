"""A bridge that starts on a full spool: Kubernetes must see that it lives, and must send it nothing yet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bridge.spool.sql import encode
from tests.brokers import NatsServer
from tests.processes import BridgeProcess, wait_until
from tests.spool.entries import entry, store_in

ROWS = 60_000


def fill(data_dir: Path) -> None:
    store = store_in(data_dir)
    store.open(lambda _lane, _source, _dedup_id: None)
    for first in range(0, ROWS, 10_000):
        store.write([encode(entry(number)) for number in range(first, first + 10_000)])
    store.close()


def test_while_the_spool_is_looked_at_the_bridge_lives_and_is_not_ready(
    bridge: Callable[..., BridgeProcess], nats_process: NatsServer
) -> None:
    settings = {"BRIDGE_BROKER": nats_process.url, "BRIDGE_SPOOL": "on"}
    running = bridge(**settings)
    fill(running.data_dir)
    running.launch()
    looking: dict[str, Any] = wait_until(running.readiness)
    assert httpx.get(f"{running.ops_url}/health/live").status_code == 200
    assert httpx.get(f"{running.ops_url}/metrics").status_code == 200
    assert (looking["ready"], looking["phase"], looking["spool"]) == (False, "starting", None)
    assert looking["reasons"][0].startswith("the bridge is starting: the spool is being looked at")
    state: dict[str, Any] = wait_until(lambda: running.ready() and running.readiness())
    assert (state["phase"], state["spool"]["rows"]) == ("running", ROWS)
