"""docs/consumers.md: its programs consume from real brokers, and what it says of installing is so."""

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from tests.conftest import KafkaSpace
from tests.docs.consumers import consumes, reading_from
from tests.generated import ROOT
from tests.processes import BridgeProcess, on_kafka

PAGE = (ROOT / "docs" / "consumers.md").read_text()
NATS, KAFKA = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_nats_program_consumes_structured_events(bridge: Callable[..., BridgeProcess]) -> None:
    running = bridge().start()
    assert "nats://127.0.0.1:4222" in NATS
    consumes(NATS.replace("nats://127.0.0.1:4222", running.nats_url), running)


def test_the_kafka_program_consumes_binary_events(
    bridge: Callable[..., BridgeProcess], kafka_space: KafkaSpace
) -> None:
    running = on_kafka(lambda **settings: bridge(**settings, BRIDGE_EVENT_FORMAT="binary"), kafka_space)
    consumes(reading_from(kafka_space, KAFKA, "typed-greeter"), running)


@pytest.fixture(scope="module")
def with_msgspec_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new venv with msgspec as pinned, and this project's wheel without what else it depends on."""
    folder = tmp_path_factory.mktemp("consumer")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    for file in metadata.files("msgspec") or ():  # as pinned and checked by its hash; no network needed
        if ".." not in file.parts and file.suffix != ".pyc":
            (packages / file.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), packages / file)
    bin_dir = Path(sys.executable).parent
    subprocess.run([bin_dir / "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    install = [
        bin_dir / "uv",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--offline",
        "--no-cache",
        "--python",
        python,
        wheel,
    ]
    subprocess.run(install, check=True)
    return python


def test_events_are_read_where_nothing_but_msgspec_is_installed(with_msgspec_alone: Path, tmp_path: Path) -> None:
    code = """
import importlib.resources, pkgutil
from importlib import metadata

from bridge import events

for module in pkgutil.iter_modules(events.__path__):
    importlib.import_module(f"bridge.events.{module.name}")
value = b'''{"id":"1","source":"/a/devices/1","type":"messaging.connection.open.v1","time":"2026-03-02T08:00:00Z",
"recordedtime":"2026-03-02T08:00:00Z","dataschema":"urn:webhook-bridge:schema:messaging:connection.open:v1.0",
"partitionkey":"1","specversion":"1.0","datacontenttype":"application/json","data":{"device_id":"1"}}'''
event, handled = events.parse(value), events.Deduplicator()
handled.add(event)
assert event in handled and isinstance(event.data, events.messaging.ConnectionOpen)
print(*sorted(package.name for package in metadata.distributions()))
print((importlib.resources.files("bridge") / "py.typed").is_file())
"""
    result = subprocess.run(
        [with_msgspec_alone, "-I", "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split("\n")[:2] == ["msgspec webhook-bridge", "True"], result.stderr


def test_the_page_installs_what_the_test_above_installs() -> None:
    assert "pip install msgspec\npip install --no-deps ./webhook-bridge\n" in PAGE


def test_every_link_of_the_page_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
