"""How many connections a process takes."""

from pathlib import Path

import httpx

from tests.processes import BridgeProcess


def test_it_takes_as_many_connections_as_the_system_lets_it(tmp_path: Path) -> None:
    """The soft limit is a default of 1024 for programs that use `select`: fewer than may be under way."""
    bridge = BridgeProcess(tmp_path / "data", within=("sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh"))
    try:
        bridge.start()
        metrics = httpx.get(f"{bridge.ops_url}/metrics").text.splitlines()
    finally:
        bridge.end()
    most = next(float(line.split()[1]) for line in metrics if line.startswith("process_max_fds "))
    assert most > 64
