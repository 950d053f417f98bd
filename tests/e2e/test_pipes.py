"""Commands whose reader has gone (`check | head -0`): the exit code is still what became of the matter."""

import os
import subprocess
import sys

import pytest

from tests.processes import run_here


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [(["check"], {"BRIDGE_LISTEN": "nowhere"}), (["explain", "-"], {})],
    ids=["check", "explain"],
)
def test_a_failure_is_one_though_nobody_reads_it(arguments: list[str], settings: dict[str, str]) -> None:
    assert run_here(*arguments, env=settings, stdin=b"{").exit_code == 1
    read, write = os.pipe()
    os.close(read)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    command = [sys.executable, "-m", "bridge", *arguments]
    try:
        ended = subprocess.run(
            command, env=clean | settings, input=b"{", stdout=write, stderr=subprocess.PIPE, timeout=30, check=False
        )
    finally:
        os.close(write)
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
