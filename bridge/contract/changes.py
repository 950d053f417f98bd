"""What a schema's successor must not do to consumers of the old one: within a major only optional additions."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["Violation", "incompatibilities", "violations"]

_VERSION = re.compile(r"(?P<family>.+/v[0-9]+)\.(?P<minor>[0-9]+)\.json")
_FREE = frozenset({"$schema", "$id", "title", "description", "examples", "default"})  # nothing that data can break
_WALKED = frozenset({"properties", "required", "$defs"})


class Violation(msgspec.Struct, frozen=True):
    """One broken promise.

    Attributes:
        schema: its path below `schemas/`, of the old version.
        path: the place in it, `$.contact.lid`.
        found: what became of it.
        expected: what would be right.
    """

    schema: str
    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.schema}: {self.path} {self.found}; expected {self.expected}"


def violations(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Violation]:
    """What the new schemas break for those who know the old ones. New types and majors break nothing.

    Args:
        old: path below `schemas/` -> schema, as a consumer knows them; some of all.
        new: those of today; of each major the newest minor counts.
    """
    newest: dict[str, int] = {}
    for path in new:
        family, minor = _version(path)
        newest[family] = max(minor, newest.get(family, minor))
    found: list[Violation] = []
    for path, schema in sorted(old.items()):
        family, minor = _version(path)
        major = family.rpartition("/")[2]
        if family not in newest:
            found.append(Violation(path, "$", "is gone", f"{major} to stay, with a later major beside it"))
        elif newest[family] < minor:
            expected = f"{major}.{minor} or a later minor: this version of the bridge is older than that"
            found.append(Violation(path, "$", f"is {major}.{newest[family]} here", expected))
        else:
            candidate = new[f"{family}.{newest[family]}.json"]
            breaks = [Violation(path, *found) for found in incompatibilities(schema, candidate)]
            if not breaks and newest[family] == minor and candidate != schema:
                expected = f"a new minor, {major}.{minor + 1}: a released one is frozen"
                breaks = [Violation(path, "$", "differs, and its version is the same", expected)]
            found += breaks
    return found


def incompatibilities(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str = "$"
) -> Iterator[tuple[str, str, str]]:
    """Places, what was found there and what would be right.

    Args:
        old: the released schema, or a part of it.
        new: the candidate.
        path: where we are.
    """
    old_properties, new_properties = old.get("properties", {}), new.get("properties", {})
    old_required, new_required = set(old.get("required", ())), set(new.get("required", ()))
    for name in old_properties:
        if name not in new_properties:
            yield f"{path}.{name}", "is removed", "it to stay, with what takes its place beside it"
        else:
            yield from incompatibilities(old_properties[name], new_properties[name], f"{path}.{name}")
    for name in sorted(new_required - old_required):
        yield f"{path}.{name}", "is newly required", "it to be optional: older events do not have it"
    for name in sorted(old_required - new_required):
        yield f"{path}.{name}", "is no longer required", "it to be required: consumers count on it"
    for name, definition in old.get("$defs", {}).items():
        yield from incompatibilities(definition, new.get("$defs", {}).get(name, {}), f"{path}.$defs.{name}")
    for key in sorted((old.keys() | new.keys()) - _FREE - _WALKED):
        if old.get(key) != new.get(key):
            yield (
                path,
                f"has another {key}, {_shown(new.get(key))}",
                f"{_shown(old.get(key))} as before, or a new major",
            )


def _version(path: str) -> tuple[str, int]:
    match = _VERSION.fullmatch(path)
    if match is None:
        raise ValueError(f"{path!r} is not the path of a schema: <domain>/<type>/v<major>.<minor>.json")
    return match["family"], int(match["minor"])


def _shown(value: object) -> str:
    return "none" if value is None else msgspec.json.encode(value).decode()
