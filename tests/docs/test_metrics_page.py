"""docs/metrics.md names only metrics and labels that exist, and README leads to it."""

import re

from bridge.ingest.outcomes import OUTCOMES
from bridge.telemetry.metrics import METRICS
from tests.generated import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()
EXAMPLES = re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)
LABELS = {metric.name: set(metric.labels) for metric in METRICS}
LABELS |= {
    metric.name + suffix: {*metric.labels, *further}
    for metric in METRICS
    if metric.kind == "histogram"
    for suffix, further in {"_bucket": ["le"], "_count": [], "_sum": []}.items()
}
OF_THE_SCRAPER = {"instance", "job"}


def test_every_example_names_metrics_labels_and_outcomes_that_exist() -> None:
    assert len(EXAMPLES) > 10
    for example in EXAMPLES:
        names = re.findall(r"\b(?:bridge|process)_\w+", example)
        assert names
        assert set(names) <= LABELS.keys()
        known = set().union(*(LABELS[name] for name in names)) | OF_THE_SCRAPER
        grouped = [label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", example) for label in group.split(", ")]
        matched = re.findall(r"[{,]\s*(\w+)\s*[=!]", example)
        assert {*grouped, *matched} <= known, example


def test_every_example_balances_its_brackets() -> None:
    for example in EXAMPLES:
        rest = re.sub(r'"[^"]*"|[^()\[\]{}]', "", example)
        while (shorter := re.sub(r"\(\)|\[\]|\{\}", "", rest)) != rest:
            rest = shorter
        assert not rest, example


def test_alerts_name_outcomes_that_exist() -> None:

    named = {word for text in re.findall(r'outcome=~?"([^"]*)"', PAGE) for word in text.split("|")}
    assert named <= {outcome.code for outcome in OUTCOMES}
    assert len(named) > 8


def test_the_readme_leads_to_the_page() -> None:
    assert "(docs/metrics.md)" in (ROOT / "README.md").read_text()
