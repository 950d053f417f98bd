"""Every metric, declared once, as data; and one registry of them per running bridge.

Labels are bounded: sources, outcomes, declared types and topics are fixed at start; what a sender can choose (types of
open providers, drifted fields) is capped by `facts`. docs/metrics.md is rendered from `METRICS`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar, cast

import msgspec
import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from bridge.telemetry.instruments import Count, Histogram, Reading

__all__ = ["METRICS", "Metric", "Metrics"]

_Instrument = Count | Histogram | Reading
_I = TypeVar("_I", Count, Histogram, Reading)


class Metric(msgspec.Struct, frozen=True):
    """One metric.

    Attributes:
        name: as exported; a histogram's without the suffixes of its series.
        kind: as Prometheus knows it.
        help: what it says, for the exposition and the table in docs/metrics.md.
        labels: names of its labels.
        buckets: a histogram's upper bounds.
        ours: False for what prometheus-client tells of the process by itself, on Linux.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    ours: bool = True


_CPU_S = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05)
_WAIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BODY_BYTES = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 8388608)

METRICS = (
    Metric(
        "bridge_deliveries_total",
        "counter",
        "Webhook requests by what became of them; those of no source count under an empty name.",
        ("source", "outcome"),
    ),
    Metric(
        "bridge_events_published_total",
        "counter",
        "Events that are durable, at the broker or in the spool; each once, however often the provider repeats it.",
        ("source", "type"),
    ),
    Metric(
        "bridge_events_dropped_total",
        "counter",
        "Events answered with success and not published, since a rule or UNKNOWN=drop says so.",
        ("source", "type"),
    ),
    Metric(
        "bridge_dead_letters_total",
        "counter",
        "Deliveries kept as dead letters: what cannot be decoded, or is refused by the broker for good; see `replay`.",
        ("source", "reason"),
    ),
    Metric("bridge_records_published_total", "counter", "Records that the broker has acknowledged.", ("topic",)),
    Metric("bridge_records_spooled_total", "counter", "Records written to the spool.", ("topic",)),
    Metric(
        "bridge_records_drained_total",
        "counter",
        "Records from the spool that the broker has acknowledged.",
        ("topic",),
    ),
    Metric(
        "bridge_records_acknowledged_late_total",
        "counter",
        "Records in the spool whose first publish was acknowledged after all: not published again.",
    ),
    Metric(
        "bridge_deliveries_late",
        "gauge",
        "Deliveries that are answered, and whose publish may still be acknowledged.",
        ("source",),
    ),
    Metric(
        "bridge_records_duplicate_total",
        "counter",
        "Records that were durable before, so that nothing was published: retries, and equal requests at once.",
        ("source",),
    ),
    Metric(
        "bridge_records_ambiguous_total",
        "counter",
        "Publishes that ended without the broker's answer: stored or not, the retry is published; Kafka keeps a copy.",
        ("source",),
    ),
    Metric("bridge_dedup_ids", "gauge", "Ids of durable records that are remembered.", ("source",)),
    Metric(
        "bridge_dedup_ids_forgotten_total",
        "counter",
        "Ids forgotten before their window was over, beyond `BRIDGE_DEDUP_MAX_IDS`: late retries become duplicates.",
        ("source",),
    ),
    Metric(
        "bridge_drift_fields_total",
        "counter",
        "Fields that the schema does not know, kept under data.extra; odd names, and those beyond 200, are `other`.",
        ("source", "type", "field"),
    ),
    Metric(
        "bridge_delivery_seconds",
        "histogram",
        "From the end of the request's headers to its outcome, of requests that were let in to a source.",
        ("source",),
        _WAIT_S,
    ),
    Metric("bridge_verify_seconds", "histogram", "Proving the sender of accepted deliveries.", ("source",), _CPU_S),
    Metric(
        "bridge_decode_seconds",
        "histogram",
        "From the body of accepted deliveries to encoded records: decode, normalise, route, encode.",
        ("source",),
        _CPU_S,
    ),
    Metric(
        "bridge_ack_seconds",
        "histogram",
        "From handing over an accepted delivery's records to the broker's last acknowledgement.",
        ("source",),
        _WAIT_S,
    ),
    Metric("bridge_body_bytes", "histogram", "Bodies of accepted deliveries.", ("source",), _BODY_BYTES),
    Metric("bridge_deliveries_in_flight", "gauge", "Deliveries under way now.", ("source",)),
    Metric(
        "bridge_deliveries_in_flight_limit",
        "gauge",
        "The most of them that a source may have: of `BRIDGE_MAX_IN_FLIGHT` all that is not kept for other sources.",
        ("source",),
    ),
    Metric("bridge_ready", "gauge", "1 while /health/ready says 200; its reasons are there."),
    Metric("bridge_broker_connected", "gauge", "1 while there is a link to the broker."),
    Metric("bridge_broker_ready", "gauge", "1 while the broker takes records."),
    Metric(
        "bridge_broker_weaknesses",
        "gauge",
        "What /health/ready warns of about the broker: weak settings, or a changed login that it refuses.",
    ),
    Metric("bridge_broker_links_opened_total", "counter", "Links to the broker that came up, the first one included."),
    Metric("bridge_broker_links_lost_total", "counter", "Links to the broker that ended by themselves."),
    Metric(
        "bridge_broker_records_sent_again_total",
        "counter",
        "Records that were on their way when a link to Kafka ended: sent over the next one, each may leave a copy.",
    ),
    Metric("bridge_embedded_exits_total", "counter", "Times the embedded broker ended by itself and was restarted."),
    Metric("bridge_spool_accepting", "gauge", "1 while the spool would take an event; why not, /health/ready says."),
    Metric("bridge_spool_rows", "gauge", "Records in the spool, that the broker has not acknowledged yet."),
    Metric("bridge_spool_bytes", "gauge", "Disk space that they use."),
    Metric("bridge_spool_max_bytes", "gauge", "`BRIDGE_SPOOL_MAX_BYTES`: at 95 % of it nothing more is taken."),
    Metric("bridge_spool_oldest_seconds", "gauge", "Age of the oldest record in the spool; 0 while it is empty."),
    Metric("bridge_spool_spooled_total", "counter", "Records that ever went into this spool, over restarts."),
    Metric(
        "bridge_spool_drained_total", "counter", "Records that ever left it since the broker had them, over restarts."
    ),
    Metric(
        "bridge_spool_lost_total",
        "counter",
        "Records that were in the spool and are not, its file having been damaged; at most, over restarts.",
    ),
    Metric(
        "bridge_spool_quarantined_total",
        "counter",
        "Damaged files of the spool that were set aside at a start and are kept in the data directory.",
    ),
    Metric(
        "bridge_spool_canary_age_seconds",
        "gauge",
        "Since something was last written to the spool durably, which is tried each minute; NaN before the first time.",
    ),
    Metric(
        "bridge_source_verified", "gauge", "0 for a source that takes events from anybody (VERIFY=none).", ("source",)
    ),
    Metric(
        "bridge_source_seconds_until_first_loss",
        "gauge",
        "While deliveries are refused (503): until the provider gives up the first one, by its retry plan; else +Inf.",
        ("source",),
    ),
    Metric(
        "bridge_files_reread_total",
        "counter",
        "Changed files of secrets and certificates: `taken_up`, or `refused` with what was before still in use.",
        ("variable", "outcome"),
    ),
    Metric("bridge_log_lines_dropped_total", "counter", "Log lines lost because nobody read them in time."),
    Metric("bridge_build_info", "gauge", "Always 1; the versions of the bridge and of Python.", ("version", "python")),
    Metric("process_cpu_seconds_total", "counter", "User and system CPU time.", ours=False),
    Metric("process_resident_memory_bytes", "gauge", "Memory held.", ours=False),
    Metric("process_virtual_memory_bytes", "gauge", "Address space.", ours=False),
    Metric("process_start_time_seconds", "gauge", "Start of the process, unix time.", ours=False),
    Metric("process_open_fds", "gauge", "Open file descriptors, connections among them.", ours=False),
    Metric("process_max_fds", "gauge", "The most file descriptors it may have open.", ours=False),
)
"""All of them, in the order of the table."""


class Metrics(Collector):
    """The metrics of one running bridge, and the registry that exports them.

    Each call of `count`, `histogram` or `watch` with new labels makes a series for good: bind at start, and never to
    a text that a sender chooses.
    """

    def __init__(self, declared: Iterable[Metric] = METRICS) -> None:
        self._declared = {metric.name: metric for metric in declared if metric.ours}
        self._series: dict[str, dict[tuple[str, ...], _Instrument]] = {name: {} for name in self._declared}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def count(self, name: str, *labels: str) -> Count:
        """The counter's series with these label values."""
        return self._bind(name, labels, Count)

    def histogram(self, name: str, *labels: str) -> Histogram:
        """The histogram's series with these label values."""
        return self._bind(name, labels, lambda: Histogram(self._declared[name].buckets))

    def watch(self, name: str, *labels: str, read: Callable[[], float]) -> None:
        """Read a value whenever somebody asks; in place of whatever was watched before."""
        self._series[name].pop(labels, None)
        self._bind(name, labels, lambda: Reading(read))

    def value(self, name: str, *labels: str) -> float:
        """A counter's or gauge's value now, 0 where there is no such series."""
        instrument = self._series[name].get(labels)
        return 0 if instrument is None else next(iter(instrument.samples()))[2]

    def collect(self) -> Iterator[prometheus_client.Metric]:
        """For prometheus-client."""
        for name, metric in self._declared.items():
            # the library's name of a counter is without the suffix that its series has
            family = prometheus_client.Metric(name.removesuffix("_total"), metric.help, metric.kind)
            for labels, instrument in self._series[name].items():
                bound = dict(zip(metric.labels, labels, strict=True))
                for suffix, further, value in instrument.samples():
                    family.add_sample(name + suffix, bound | further, value)
            yield family

    def _bind(self, name: str, labels: tuple[str, ...], make: Callable[[], _I]) -> _I:
        series = self._series[name]
        instrument = series.get(labels)
        if instrument is None:
            if len(labels) != len(self._declared[name].labels):
                raise ValueError(f"{name} has the labels {self._declared[name].labels}, got {len(labels)} values")
            instrument = series[labels] = make()
        return cast("_I", instrument)  # one kind per name, as declared
