"""Quiet and quick: no log, and no reserve of eight megabytes for each of thousands of disks."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from bridge.spool import store


@pytest.fixture(autouse=True)
def quiet_and_quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(store, "_RESERVE_BYTES", 4096)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
