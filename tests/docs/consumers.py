"""Programs of the documentation that consume, run as their readers would."""

import subprocess
import sys

from tests.processes import BridgeProcess

__all__ = ["consumes"]


def consumes(code: str, running: BridgeProcess) -> None:
    """Post a message to the bridge, and see the program print its id, number and text.

    The program begins with what is stored, so it is no matter which of both comes first.
    """
    sent = running.cli("send").stdout.split('"')[3]
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as consumer:
        assert consumer.stdout
        line = consumer.stdout.readline()
        consumer.kill()
    assert line.startswith(f"{sent} +5511912340000 Bom dia!")
