"""The published schemas: fresh, frozen, valid, and changed by the rules only."""

import copy
import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from bridge.contract.changes import incompatibilities
from bridge.events.messaging import CALL
from bridge.events.model import EventType
from bridge.events.schemas import all_schemas
from tests.generated import schemas

FOLDER = Path(__file__).parent.parent.parent / "schemas"
RELEASED: dict[str, str] = json.loads((FOLDER / "released.json").read_bytes())


def test_released_minors_never_change() -> None:
    for path, digest in RELEASED.items():
        assert sha256((FOLDER / path).read_bytes()).hexdigest() == digest, path


def test_every_schema_of_today_is_released_and_committed() -> None:
    current = schemas()
    assert current.keys() <= RELEASED.keys()
    for path, content in current.items():
        assert (FOLDER / path).read_bytes() == content, path


def test_schemas_are_valid_and_draft_07_tools_can_read_them() -> None:
    for path in RELEASED:
        text = (FOLDER / path).read_text()
        schema = json.loads(text)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft7Validator.check_schema(schema)
        assert not any(word in text for word in ("prefixItems", "unevaluated", "$dynamicRef"))
        assert schema["$id"].startswith("urn:webhook-bridge:schema:")


def test_within_a_major_each_minor_only_adds() -> None:
    families: dict[str, list[str]] = {}
    for path in sorted(RELEASED, key=minor):
        families.setdefault(path.removesuffix(".json").rpartition(".")[0], []).append(path)
    for paths in families.values():
        for old, new in pairwise(paths):
            schemas = (json.loads((FOLDER / path).read_bytes()) for path in (old, new))
            assert not list(incompatibilities(*schemas))


def minor(path: str) -> int:
    """As a number: v1.10 is newer than v1.9."""
    return int(path.removesuffix(".json").rpartition(".")[2])


def test_every_property_is_described() -> None:
    for path in schemas():
        loaded = json.loads((FOLDER / path).read_bytes())
        assert loaded["description"], path
        for part in (loaded, *loaded.get("$defs", {}).values()):
            for name, content in part["properties"].items():
                assert content.get("description") or "const" in content, f"{path}: {name}"


def test_times_are_checked_as_times() -> None:
    for path in ("cloudevents/event/v1.0.json", "messaging/call/v1.0.json"):
        text = json.dumps(json.loads((FOLDER / path).read_bytes()))
        assert text.count('"format": "date-time"') == (3 if "event" in path else 1)


def test_two_providers_cannot_give_one_type_two_schemas() -> None:
    class Other(msgspec.Struct):
        """Another one."""

        x: int

    with pytest.raises(ValueError, match=r"messaging\.call\.v1"):
        all_schemas([CALL, EventType("messaging", "call", Other)])
    assert all_schemas([CALL, CALL]) == all_schemas([CALL])


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "messaging/message.received/v1.0.json").read_bytes())
    return loaded


def test_an_optional_addition_is_allowed() -> None:
    new = copy.deepcopy(schema())
    new["properties"]["mood"] = {"type": "string"}
    new["$defs"]["Contact"]["properties"]["avatar"] = {"type": "string"}
    assert not list(incompatibilities(schema(), new))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["properties"].pop("content"),
        lambda s: s["required"].append("extra"),
        lambda s: s["required"].remove("contact"),
        lambda s: s["properties"]["message_id"].update(maxLength=5),
        lambda s: s["properties"]["message_id"].update(type="integer"),
        lambda s: s["properties"]["message_id"].update(enum=["M1"]),
        lambda s: s["$defs"]["Contact"]["properties"]["lid"].update(anyOf=[{"type": "string"}]),
        lambda s: s["$defs"]["Contact"]["required"].append("lid"),
        lambda s: s.update(additionalProperties=False),
        lambda s: s["$defs"]["Contact"]["properties"].pop("lid"),
        lambda s: s["$defs"].pop("Contact"),
    ],
)
def test_anything_else_is_found(change: Any) -> None:
    new = copy.deepcopy(schema())
    change(new)
    assert list(incompatibilities(schema(), new))
