"""Fields that no schema knows: the sender chooses their names, so these are neither logged nor counted unseen."""

from types import SimpleNamespace

from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics

CANARIES = [f"sesame-{number:03}" for number in range(250)]


def test_odd_names_get_into_no_line_and_leave_room_for_genuine_fields() -> None:
    metrics = Metrics()
    facts = Facts(metrics)
    lines: list[tuple[str, str]] = []
    # Not capture_logs: loggers are cached on first use, so what it sees depends on the tests before.
    facts._log = SimpleNamespace(info=lambda event, **line: lines.append((event, line["field"])))
    facts.drifted("shop", "call", CANARIES)
    facts.drifted("shop", "call", ["reaction.emoji", "reaction.emoji"])
    assert lines == [
        ("unknown_field_seen", "other"),
        ("unknown_field_seen", "reaction.emoji"),
    ]
    assert metrics.value("bridge_drift_fields_total", "shop", "call", "other") == len(CANARIES)
    assert metrics.value("bridge_drift_fields_total", "shop", "call", "reaction.emoji") == 2
