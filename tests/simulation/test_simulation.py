"""Schedules in which everything goes wrong that can, and not one event lost; and proof that it looks.

More of them: `SIMULATION_SCHEDULES=10000 .venv/bin/python -m pytest --timeout 0 tests/simulation`. A schedule that
breaks a promise is shown as the calls that make it up, the fewest that do, and as a line for `@reproduce_failure`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from bridge.errors import PublishError
from bridge.ingest import dedup
from bridge.publishers.base import Record
from bridge.spool import opening
from bridge.spool.detour import Detour, Holds
from bridge.spool.drain import Drain
from tests.simulation.machine import Bridge

_STEPS = 15
_MORE = os.environ.get("SIMULATION_SCHEDULES")
_patient = pytest.mark.faults  # up to a minute each: `make faults` runs them, and more schedules
pytestmark = pytest.mark.timeout(300)  # seconds on an idle machine; what is found is then made small, too

TestBridge = Bridge.TestCase
TestBridge.settings = settings(
    max_examples=int(_MORE or "100"),
    derandomize=not _MORE,
    stateful_step_count=_STEPS,
    deadline=None,
    print_blob=True,
    # not `explain`: it traces every line
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)


def seen_before_durable(patch: pytest.MonkeyPatch) -> None:
    publish_one = dedup.DedupTable._publish_one

    async def broken(self: Any, record: Record, deadline: Any) -> bool:
        key = dedup._key(record.dedup_id)
        if not self._seen.see(key) and key not in self._in_flight:
            asyncio.get_running_loop().call_soon(lambda: self._seen.see(key) or self._seen.add(key))
        return await publish_one(self, record, deadline)

    patch.setattr(dedup.DedupTable, "_publish_one", broken)


def drain_ignores_holds(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Holds, "waits", lambda _self, _record: False)


def late_acknowledgement_ignored(patch: pytest.MonkeyPatch) -> None:
    forget = Holds.forget
    patch.setattr(Holds, "forget", lambda self, record: forget(self, record) and False)


def no_queue_behind_the_spool(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Detour, "takes", lambda _self, _record: False)


def row_deleted_before_the_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    make = Drain.__init__

    def broken(self: Any, spool: Any, publish: Callable[[Record], Awaitable[None]], *rest: Any, **more: Any) -> None:
        async def swallow(record: Record) -> None:
            with suppress(PublishError):
                await publish(record)

        make(self, spool, swallow, *rest, **more)

    patch.setattr(Drain, "__init__", broken)


def commit_not_synced(patch: pytest.MonkeyPatch) -> None:
    pragmas: Iterable[Any] = (("synchronous", "OFF", 0) if p[0] == "synchronous" else p for p in opening._PRAGMAS)
    patch.setattr(opening, "_PRAGMAS", tuple(pragmas))


@pytest.mark.parametrize(
    ("broken", "first_seed", "promise"),
    [
        (seen_before_durable, 0, "nowhere|I1"),
        pytest.param(drain_ignores_holds, 0, "I2", marks=_patient),
        pytest.param(late_acknowledgement_ignored, 0, "I2", marks=_patient),
        pytest.param(no_queue_behind_the_spool, 1, "I3", marks=_patient),
        (row_deleted_before_the_acknowledgement, 6, "I1|nowhere"),
        pytest.param(commit_not_synced, 0, "I1", marks=_patient),
    ],
)
def test_a_broken_bridge_is_found_out(
    broken: Callable[[pytest.MonkeyPatch], None], first_seed: int, promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    few = settings(
        max_examples=4000,  # which schedules a seed gives depends on what else is loaded, too
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    with pytest.raises((AssertionError, ExceptionGroup), match=promise):
        run_state_machine_as_test(seed(first_seed)(Bridge), settings=few)
