"""schemas/events.d.ts: true of what the pipeline makes, and examples/typescript, which is compiled against it.

Needs Node, so `make system` runs it.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.config import load, make_tables
from bridge.ingest.compiled import make_pipeline
from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.base import Delivery
from bridge.publishers.nats import NatsPublisher
from tests.examples.conftest import EXAMPLES, Example
from tests.generated import ROOT
from tests.processes import BridgeProcess

pytestmark = pytest.mark.system

FOLDER = EXAMPLES / "typescript"
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def built() -> None:
    """The example is compiled, and so its packages are there."""
    subprocess.run(["make", "-s", "-C", FOLDER, "build/print.js"], check=True)


def compiled(code: str, folder: Path) -> list[str]:
    """What the compiler has to say, strictly."""
    (folder / "program.ts").write_text(f'import type {{ BridgeEvent }} from "{ROOT}/schemas/events.js";\n{code}')
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--types", ""]
    command = [FOLDER / "node_modules" / ".bin" / "tsc", *options, folder / "program.ts"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout.splitlines()


def events() -> Iterator[str]:
    """Of every provider's samples, and of every golden of Chatlevel, as JSON."""
    goldens = sorted((ROOT / "tests" / "providers" / "chatlevel").glob("*.in.json"))
    for name in BUILT_IN:
        provider = PROVIDERS[name]
        public_url = f"BRIDGE_SOURCE_{name.upper().replace('-', '_')}_PUBLIC_URL"  # which a sender may sign
        config = load({"BRIDGE_SOURCES": name, public_url: "https://hooks.example.com"})
        pipeline = make_pipeline(
            config,
            config.sources[0],
            provider=provider,
            table=make_tables(config, PROVIDERS)[name],
            dialect=NatsPublisher.dialect,
        )
        bodies = [(provider.sample(event, now=NOW), event) for event in provider.sample_events]
        if name == "chatlevel":
            bodies += [(golden.read_bytes(), "") for golden in goldens]
        for body, event in bodies:
            sent = provider.sample_headers(event, body) if event else {}
            headers = {header.lower().encode(): text.encode() for header, text in sent.items()}
            for item in pipeline.prepare(Delivery(body, headers, NOW)):
                yield from (record.value.decode() for record in item.records)


@pytest.mark.usefixtures("built")
def test_every_event_that_the_pipeline_makes_is_of_the_type(tmp_path: Path) -> None:
    made = list(events())
    assert len(made) > 60
    code = "\n".join(f"export const e{number}: BridgeEvent = {event};" for number, event in enumerate(made))
    assert compiled(code, tmp_path) == []


@pytest.mark.usefixtures("built")
def test_the_compiler_sees_what_is_wrong_and_what_a_case_narrows_to(tmp_path: Path) -> None:
    event = json.loads(next(events()))
    wrong = [
        event | {"type": "messaging.message.sung.v1"},
        event | {"specversion": "2.0"},
        event | {"data": {}},
        event | {"data": event["data"] | {"device_id": 480213}},
        {name: value for name, value in event.items() if name != "recordedtime"},
    ]
    code = "\n".join(f"export const e{n}: BridgeEvent = {json.dumps(part)};" for n, part in enumerate(wrong))
    said = compiled(code, tmp_path)
    assert all(any(f"program.ts({n + 2}," in line for line in said) for n in range(len(wrong))), said
    narrowing = """
export function text(event: BridgeEvent): string {
  if (event.type === "messaging.message.received.v1") return event.data.contact.id;
  if (event.type === "messaging.call.v1") return event.data.call_id;
  return event.WHAT;
}
"""
    assert compiled(narrowing.replace("WHAT", "type"), tmp_path) == []
    assert compiled(narrowing.replace("WHAT", "data.call_id"), tmp_path)


@pytest.mark.usefixtures("built")
def test_the_example_prints_what_was_posted_and_no_code(
    example: Callable[..., Example], running: BridgeProcess
) -> None:
    program = example("typescript", running)
    program.says("listening")
    assert running.cli("send", "message.received", "connection.auth", "call").returncode == 0
    said = program.says("calls: offer")
    assert ": Bom dia!" in said
    assert "waits for pairing" in said
    assert "data:image" not in said
