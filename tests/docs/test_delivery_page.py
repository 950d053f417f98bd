"""docs/delivery.md: each row of its table has tests, which exist, and each answer that the code can give has a row."""

import ast
import re
from functools import cache

import msgspec

from bridge.ingest.outcomes import ACCEPTED, DEAD_LETTERED, OUTCOMES
from bridge.ops.app import Readiness
from bridge.telemetry.metrics import METRICS
from tests.generated import ROOT
from tests.generated_delivery import ROWS

PAGE = (ROOT / "docs" / "delivery.md").read_text()
BY_CODE = {outcome.code: outcome for outcome in OUTCOMES}


@cache
def names_in(file: str) -> frozenset[str]:
    module = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_row_has_tests_and_they_exist() -> None:
    for row in ROWS:
        assert row.tests, row
        for test in row.tests:
            file, _, name = test.partition("::")
            assert name in names_in(file), test


def test_no_row_is_there_twice() -> None:
    assert len({(row.state, row.setting) for row in ROWS}) == len(ROWS) > 30


def test_every_answer_of_the_table_exists_and_every_fault_of_ours_is_in_it() -> None:
    answers = {code for row in ROWS for code in row.answers}
    assert answers <= BY_CODE.keys()
    ours = {outcome.code for outcome in OUTCOMES if outcome.status == 503}
    assert ours | {ACCEPTED.code, DEAD_LETTERED.code} <= answers


def test_without_a_spool_nothing_is_answered_with_success_that_the_broker_has_not() -> None:
    for row in ROWS:
        if row.setting == "no spool":
            assert {BY_CODE[code].status for code in row.answers} == {503}, row


def test_the_page_names_the_fields_of_readiness_and_metrics_that_exist() -> None:
    fields = {field.name for field in msgspec.structs.fields(Readiness)}
    table = PAGE[PAGE.index("| field |") :].split("\n\n")[0]
    named = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == fields
    metrics = set(re.findall(r"\bbridge_\w+", PAGE[: PAGE.index("## What proves it")]))
    assert len(metrics) > 8
    assert metrics <= {metric.name for metric in METRICS}


def test_the_readme_leads_to_the_page() -> None:
    assert "(docs/delivery.md)" in (ROOT / "README.md").read_text()
