"""The benchmarks run and print their tables; how fast they find anything to be is nobody's promise."""

import subprocess
import sys

import pytest

from tests.bench.systems import BROKERS


@pytest.mark.system  # half a minute
@pytest.mark.parametrize("broker", BROKERS)
def test_the_bench_runs_and_prints_its_tables(broker: str) -> None:
    options = ["--broker", broker, "--connections", "2", "--seconds", "0.5", "--rounds", "1"]
    done = subprocess.run([sys.executable, "-m", "tests.bench", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    for row in (
        "| prepare: ",
        "| 2 | floor | ",
        "| 2 | bridge | ",
        "| 2 | bridge / floor | ",
        "| 2 | with / without a spool | ",
    ):
        assert any(line.startswith(row) for line in rows), done.stdout
    assert "Answers other than 200: 0." in done.stdout
    assert "commit" in done.stdout
