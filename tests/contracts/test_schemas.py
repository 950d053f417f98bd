"""The published schemas: fresh, frozen, valid, and changed by the rules only."""

import copy
import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bridge.events.schemas import incompatibilities
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
    for path in sorted(RELEASED):
        families.setdefault(path.rpartition(".")[0].rpartition(".")[0], []).append(path)
    for paths in families.values():
        for old, new in pairwise(paths):
            assert not incompatibilities(
                json.loads((FOLDER / old).read_bytes()), json.loads((FOLDER / new).read_bytes())
            )


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "messaging/message.received/v1.0.json").read_bytes())
    return loaded


def test_an_optional_addition_is_allowed() -> None:
    new = copy.deepcopy(schema())
    new["properties"]["mood"] = {"type": "string"}
    new["$defs"]["Contact"]["properties"]["avatar"] = {"type": "string"}
    assert incompatibilities(schema(), new) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["properties"].pop("content"),
        lambda s: s["required"].append("extra"),
        lambda s: s["required"].remove("contact"),
        lambda s: s["properties"]["message_id"].update(maxLength=5),
        lambda s: s["properties"]["message_id"].update(type="integer"),
        lambda s: s.update(additionalProperties=False),
        lambda s: s["$defs"]["Contact"]["properties"].pop("lid"),
        lambda s: s["$defs"].pop("Contact"),
    ],
)
def test_anything_else_is_found(change: Any) -> None:
    new = copy.deepcopy(schema())
    change(new)
    assert incompatibilities(schema(), new)
