"""Fields that no schema knows: the sender chooses their names, so these are neither logged nor counted unseen."""

from structlog.testing import capture_logs

from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics

CANARIES = [f"sesame-{number:03}" for number in range(250)]


def test_odd_names_get_into_no_line_and_leave_room_for_genuine_fields() -> None:
    metrics = Metrics()
    with capture_logs() as lines:
        facts = Facts(metrics)
        facts.drifted("shop", "call", CANARIES)
        facts.drifted("shop", "call", ["reaction.emoji", "reaction.emoji"])
    assert [(line["event"], line["field"]) for line in lines] == [
        ("unknown_field_seen", "other"),
        ("unknown_field_seen", "reaction.emoji"),
    ]
    assert metrics.value("bridge_drift_fields_total", "shop", "call", "other") == len(CANARIES)
    assert metrics.value("bridge_drift_fields_total", "shop", "call", "reaction.emoji") == 2
