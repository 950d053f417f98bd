"""docker-compose.yml, read by the Compose Specification's own reader, on which `docker compose` is built."""

import os
import subprocess

import pytest

from tests.generated import ROOT
from tests.system.containers import CACHE


def read(content: str) -> subprocess.CompletedProcess[str]:
    reader = CACHE / "bin" / "compose-spec"
    if not reader.exists():
        pytest.fail(f"{reader} is missing: run `make system`")
    env = os.environ | {"COMPOSE_PROFILES": "nats,kafka"}
    command = [reader, "/dev/stdin"]
    return subprocess.run(command, env=env, cwd=ROOT, input=content, capture_output=True, text=True, check=False)


def test_the_compose_file_is_one() -> None:
    content = (ROOT / "docker-compose.yml").read_text()
    accepted = read(content)
    assert accepted.returncode == 0, accepted.stderr
    assert "image: apache/kafka" in accepted.stdout
    assert "additional properties" in read(content.replace("start_interval:", "start_intervall:")).stderr
