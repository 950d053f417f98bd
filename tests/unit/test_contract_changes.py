"""`export schemas --check`: what a consumer's CI is told."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.contract import schemas, violations
from bridge.events.schemas import ENVELOPE_PATH
from bridge.providers import PROVIDERS
from tests.processes import run_here

RECEIVED = "messaging/message.received/v1.0.json"


def today() -> dict[str, Any]:
    return {path: json.loads(content) for path, content in schemas(PROVIDERS).items()}


def after(change: Callable[[dict[str, Any]], Any], *, path: str = RECEIVED) -> list[str]:
    """What is said when the schema has changed so, in a minor of its own."""
    new = today()
    schema = copy.deepcopy(new[RECEIVED])
    change(schema)
    new[path] = schema
    return [str(violation) for violation in violations(today(), new)]


def test_nothing_is_said_of_the_same_schemas_and_of_new_ones() -> None:
    new = today()
    new |= {"messaging/message.received/v2.0.json": {}, "nobody/event/v1.0.json": {}}
    assert violations(today(), new) == []
    assert violations({RECEIVED: today()[RECEIVED]}, new) == []  # a consumer may keep some of them


NEXT = "messaging/message.received/v1.1.json"


def test_a_minor_that_adds_is_right() -> None:
    def adding(schema: dict[str, Any]) -> None:
        schema["properties"]["mood"] = {"type": "string"}
        schema["$defs"]["Contact"]["properties"]["avatar"] = {"type": "string"}
        schema["$defs"]["Mood"] = {"type": "object"}
        schema["properties"]["content"]["description"] = "In other words."

    assert after(adding, path=NEXT) == []
    assert after(adding, path="messaging/message.received/v1.10.json") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: s["properties"].pop("content"),
            "$.content is removed; expected it to stay, with what takes its place beside it",
        ),
        (
            lambda s: s["required"].append("extra"),
            "$.extra is newly required; expected it to be optional: older events do not have it",
        ),
        (
            lambda s: s["required"].remove("contact"),
            "$.contact is no longer required; expected it to be required: consumers count on it",
        ),
        (
            lambda s: s["properties"]["message_id"].update(type="integer"),
            '$.message_id has another type, "integer"; expected "string" as before, or a new major',
        ),
        (
            lambda s: s["$defs"]["Contact"]["properties"]["kind"].update(enum=["phone"]),
            '$.$defs.Contact.kind has another enum, ["phone"]; expected none as before, or a new major',
        ),
    ],
)
def test_a_minor_that_breaks_is_named_by_schema_and_place_with_what_would_be_right(
    change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    assert after(change, path=NEXT) == [f"{RECEIVED}: {said}"]


def test_the_newest_minor_counts_as_a_number_whatever_comes_first() -> None:
    new = {"messaging/message.received/v1.10.json": today()[RECEIVED]} | today()
    assert violations(today(), new | {"messaging/message.received/v1.9.json": {}}) == []


def test_a_released_minor_is_frozen_also_for_additions() -> None:
    (said,) = after(lambda schema: schema["properties"].update(mood={"type": "string"}))
    assert said == (
        f"{RECEIVED}: $ differs, and its version is the same; expected a new minor, v1.1: a released one is frozen"
    )


def test_a_major_must_stay_and_an_older_bridge_is_told() -> None:
    new = today()
    new["messaging/message.received/v2.0.json"] = new.pop(RECEIVED)
    (gone,) = violations(today(), new)
    assert str(gone) == f"{RECEIVED}: $ is gone; expected v1 to stay, with a later major beside it"
    (older,) = violations({NEXT: {}}, today())
    assert "is v1.0 here; expected v1.1 or a later minor" in str(older)


def test_the_command_says_every_violation_and_exits_with_1(tmp_path: Path) -> None:
    folder = tmp_path / "contract"
    assert run_here("export", "schemas", "--to", str(folder), env={}).exit_code == 0
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*.json")} == set(today())
    fine = run_here("export", "schemas", "--check", str(folder), env={})
    assert (fine.exit_code, fine.output) == (0, "")
    for path, change in {RECEIVED: {"required": ["mood"]}, ENVELOPE_PATH: {"additionalProperties": False}}.items():
        (folder / path).write_text(json.dumps(today()[path] | change))
    (folder / "released.json").write_text("{}")  # not a schema, and none of ours
    broken = run_here("export", "schemas", "--check", str(folder), "--to", str(tmp_path / "new"), env={})
    assert broken.exit_code == 1
    lines = broken.output.splitlines()
    assert f"{RECEIVED}: $.mood is no longer required; expected it to be required: consumers count on it" in lines
    assert any(line.startswith(f"{ENVELOPE_PATH}: $ has another additionalProperties, none") for line in lines)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", [None, "not json", "[]"])
def test_a_folder_that_cannot_be_compared_is_wrong_usage(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "messaging" / "call").mkdir(parents=True)
        (tmp_path / "messaging" / "call" / "v1.0.json").write_text(content)
    result = run_here("export", "schemas", "--check", str(tmp_path), env={})
    assert result.exit_code == 2
    assert "--check" in result.output


def test_printed_they_are_one_object_by_path() -> None:
    assert json.loads(run_here("export", "schemas", env={}).output) == today()
