"""Programs of the documentation that consume, run as their readers would."""

import subprocess
import sys

from tests.conftest import KafkaSpace
from tests.processes import BridgeProcess

__all__ = ["consumes", "reading_from"]


def reading_from(kafka_space: KafkaSpace, code: str, group: str = "greeter") -> str:
    """The program with a test's own broker, topic and group for the names that readers see."""
    own = {
        "127.0.0.1:9092": kafka_space.bootstrap,
        "events.chatlevel.message.received": kafka_space.topic("message.received"),
        group: kafka_space.topic("greeter"),
    }
    for name, ours in own.items():
        assert f'"{name}"' in code
        code = code.replace(name, ours)
    return code


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
