"""Every counter, declared once, as data of one registry per running bridge."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from bridge.telemetry import logs

__all__ = ["Metrics"]


class Metrics:
    """The bridge's counters. Labels are bounded: sources, types and outcomes are fixed at start, fields capped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "bridge_deliveries",
            "Webhook requests by source and outcome; unknown sources count under an empty name.",
            ["source", "outcome"],
            registry=self.registry,
        )
        self.events = Counter(
            "bridge_events_published",
            "Events acknowledged by the broker, by source and event type.",
            ["source", "type"],
            registry=self.registry,
        )
        self.dropped = Counter(
            "bridge_events_dropped",
            "Events answered with success and not published, since a rule or UNKNOWN=drop says so.",
            ["source", "type"],
            registry=self.registry,
        )
        self.drift = Counter(
            "bridge_drift_fields",
            "Fields seen that the schema does not know (kept under data.extra); beyond a cap they count as 'other'.",
            ["source", "type", "field"],
            registry=self.registry,
        )
        dropped = Gauge(
            "bridge_log_lines_dropped", "Log lines lost because nobody read them in time.", registry=self.registry
        )
        dropped.set_function(logs.dropped_lines)
