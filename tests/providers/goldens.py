"""Golden pairs: a provider's request, and every event it becomes, as the record's value has it.

The input is a body (`.in.json`), or a whole HTTP request (`.in.http`) where headers say something too. `make gen`
writes the outputs; they are reviewed when they change and compared as JSON values in tests.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bridge.events.cloudevents import StructuredEncoder
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.captured import read_captured

__all__ = ["FOLDER", "decode", "delivery_of", "goldens", "outputs"]

FOLDER = Path(__file__).parent
RECEIVED_AT = datetime(2026, 3, 6, 12, 0, 0, 250_000, tzinfo=UTC)


def decode(provider: str, body: bytes, headers: Mapping[bytes, bytes] | None = None) -> list[dict[str, Any]]:
    """The events of a request, as consumers see them."""
    encode = StructuredEncoder("shop").encode
    events = PROVIDERS[provider].decoder()(Delivery(body, headers or {}, RECEIVED_AT))
    return [json.loads(encode(event, key=event.device)) for event in events]


def delivery_of(path: Path) -> Delivery:
    """The input as the provider's decoder gets it."""
    content = path.read_bytes()
    if path.suffix == ".json":
        return Delivery(content, {}, RECEIVED_AT)
    request = read_captured(content)
    return Delivery(request.body, dict(request.headers), RECEIVED_AT)


def goldens() -> dict[str, Path]:
    """Name -> path of the input, of every provider."""
    inputs = sorted([*FOLDER.glob("*/*.in.json"), *FOLDER.glob("*/*.in.http")])
    return {f"{path.parent.name}/{path.stem.removesuffix('.in')}": path for path in inputs}


def output_path(path: Path) -> Path:
    """Where the expected output of an input is."""
    return path.with_name(f"{path.stem.removesuffix('.in')}.out.json")


def outputs() -> dict[Path, bytes]:
    """What `make gen` writes."""
    made = {}
    for path in goldens().values():
        delivery = delivery_of(path)
        events = decode(path.parent.name, delivery.body, delivery.headers)
        made[output_path(path)] = (json.dumps(events, indent=2, ensure_ascii=False) + "\n").encode()
    return made
