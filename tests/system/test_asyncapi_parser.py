"""The AsyncAPI document by the official parser, which also judges what the specification's JSON Schema cannot."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

from bridge.contract import asyncapi
from tests.generated import ROOT
from tests.system.containers import CACHE
from tests.unit.test_asyncapi import BOTH, SETTINGS, document, loaded

_ERROR, _WARNING = 0, 1


def parsed(*files: Path) -> list[dict[str, Any]]:
    command = ["node", ROOT / "tests" / "system" / "node" / "parse.mjs", CACHE / "node", *files]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_the_official_parser_takes_every_document_and_sees_every_message_and_refuses_a_wrong_one(
    tmp_path: Path,
) -> None:
    for name, env in SETTINGS.items():
        (tmp_path / name).write_bytes(asyncapi(loaded(env), BOTH))
    wrong = copy.deepcopy(document({}))
    next(iter(wrong["operations"].values()))["messages"].append({"$ref": "#/channels/none/messages/none"})
    (tmp_path / "wrong").write_text(json.dumps(wrong))
    *right, refused = parsed(*(tmp_path / name for name in SETTINGS), tmp_path / "wrong")
    for seen, env in zip(right, SETTINGS.values(), strict=True):
        assert not [found for found in seen["diagnostics"] if found["severity"] in (_ERROR, _WARNING)]
        assert seen["channels"] == {
            channel["address"]: list(channel["messages"]) for channel in document(env)["channels"].values()
        }
    assert [found for found in refused["diagnostics"] if found["severity"] == _ERROR]


def test_patterns_are_regular_expressions_of_javascript_too() -> None:
    def patterns(part: object) -> list[str]:
        if isinstance(part, dict):
            own = [part["pattern"]] if isinstance(part.get("pattern"), str) else []
            return own + [pattern for value in part.values() for pattern in patterns(value)]
        return [pattern for item in part for pattern in patterns(item)] if isinstance(part, list) else []

    found = sorted({pattern for env in SETTINGS.values() for pattern in patterns(document(env))})
    assert len(found) > 4
    program = "JSON.parse(process.argv[1]).forEach((pattern) => new RegExp(pattern, 'u'))"  # as ajv makes them
    subprocess.run(["node", "-e", program, json.dumps(found)], check=True)
