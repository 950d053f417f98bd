"""The metrics of the whole process rather than of one bridge in it: versions, the log, the broker's links."""

import platform
from functools import partial
from importlib.metadata import version

from bridge.telemetry import broker_facts, logs
from bridge.telemetry.metrics import Metrics

__all__ = ["watch_process"]

_BROKER = (
    "bridge_broker_links_opened_total",
    "bridge_broker_links_lost_total",
    "bridge_broker_records_sent_again_total",
    "bridge_embedded_exits_total",
)


def watch_process(metrics: Metrics) -> None:
    """Let the metrics show what the process as a whole counts."""
    metrics.watch("bridge_build_info", version("webhook-bridge"), platform.python_version(), read=lambda: 1)
    metrics.watch("bridge_log_lines_dropped_total", read=logs.dropped_lines)
    for name in _BROKER:
        metrics.watch(name, read=partial(broker_facts.totals.__getitem__, name))
