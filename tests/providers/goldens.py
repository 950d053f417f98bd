"""Golden pairs: a provider's body, and every event it becomes, as the record's value has it.

`make gen` writes the outputs; they are reviewed when they change and compared as JSON values in tests.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bridge.events.cloudevents import StructuredEncoder
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery

__all__ = ["FOLDER", "decode", "goldens", "outputs"]

FOLDER = Path(__file__).parent
RECEIVED_AT = datetime(2026, 3, 6, 12, 0, 0, 250_000, tzinfo=UTC)


def decode(provider: str, body: bytes) -> list[dict[str, Any]]:
    """The events of a body, as consumers see them."""
    encode = StructuredEncoder("shop").encode
    events = PROVIDERS[provider].decoder()(Delivery(body, {}, RECEIVED_AT))
    return [json.loads(encode(event, key=event.device)) for event in events]


def goldens() -> dict[str, Path]:
    """Name -> path of the input, of every provider."""
    inputs = sorted(FOLDER.glob("*/*.in.json"))
    return {f"{path.parent.name}/{path.name.removesuffix('.in.json')}": path for path in inputs}


def output_path(path: Path) -> Path:
    """Where the expected output of an input is."""
    return path.with_name(path.name.replace(".in.json", ".out.json"))


def outputs() -> dict[Path, bytes]:
    """What `make gen` writes."""
    made = {}
    for path in goldens().values():
        events = decode(path.parent.name, path.read_bytes())
        made[output_path(path)] = (json.dumps(events, indent=2, ensure_ascii=False) + "\n").encode()
    return made
