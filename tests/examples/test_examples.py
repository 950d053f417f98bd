"""What all examples have in common: one command, which brings a bridge along, and pinned dependencies."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.examples.conftest import EXAMPLES, Example
from tests.generated import ROOT
from tests.processes import BridgeProcess

FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/README.md"))
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE))
each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@each
def test_an_example_is_started_by_the_one_command_that_its_readme_begins_with(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert re.findall(r"```sh\n(.*?)\n", page)[0] == f"make -C examples/{folder.name} run"
    for target in re.findall(r"\]\(([^)#]+)\)", page):
        assert "://" in target or (folder / target).exists(), target


@each
def test_what_an_example_needs_is_pinned_to_what_it_is_tested_with(folder: Path) -> None:
    for file in folder.glob("requirements.txt"):
        for line in file.read_text().splitlines():
            name, _, version = line.partition("==")
            assert PINNED[name] == version, f"{file}: {line}"


@pytest.mark.parametrize(
    ("program", "env", "said"),
    [
        ("auto-replies/auto_replies.py", {}, "CHATLEVEL_API_KEY is not set: expected the key"),
        ("device-tracker/device_tracker.py follow", {"BROKER": "kafka"}, "BROKER=kafka: expected kafka://host:port"),
        ("device-tracker/device_tracker.py follow", {"BROKER": "kafka://127.0.0.1:1"}, "the broker: "),
        ("device-tracker/device_tracker.py status", {}, "no device has been heard of yet"),
        (
            "pairing-monitor/pairing_monitor.py serve",
            {"VIEWERS": "/nowhere"},
            "VIEWERS=/nowhere: there is no such file",
        ),
        (
            "pairing-monitor/pairing_monitor.py serve",
            {"VIEWERS": "/", "LISTEN": "8090"},
            "LISTEN=8090: expected host:port",
        ),
    ],
)
def test_what_is_wrong_or_missing_is_said_in_a_line(
    program: str, env: dict[str, str], said: str, tmp_path: Path
) -> None:
    own = {"DATABASE": str(tmp_path / "devices.sqlite"), "LEDGER": str(tmp_path / "ledger.sqlite")}
    command = [sys.executable, *str(EXAMPLES / program).split(" ")]
    result = subprocess.run(
        command, env=os.environ | own | env, capture_output=True, text=True, timeout=20, check=False
    )
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_one_command_brings_a_bridge_along_and_ends_it(tmp_path: Path) -> None:
    bridge = BridgeProcess(tmp_path / "data")
    own = {name: value for name, value in bridge.env.items() if name.startswith("BRIDGE_")}
    program = Example("auto-replies", tmp_path / "log", **own, LEDGER=str(tmp_path / "ledger.sqlite"))
    try:
        program.says("answering")
        assert bridge.cli("send").returncode == 0
        program.says("stand-in: to 5511912340000@s.whatsapp.net: Thank you")
    finally:
        program.end()
    assert "make: ***" not in program.log.read_text(), "Ctrl-C is no error"
    with pytest.raises(httpx.ConnectError):
        bridge.post(b"")
