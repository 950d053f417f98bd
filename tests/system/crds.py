"""Custom resource definitions that the chart may use, as setup.sh fetched them from their projects' Go modules."""

from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml

from tests.system.containers import CACHE

NAMES = ("httproutes", "servicemonitors")


@cache
def definitions() -> tuple[dict[str, Any], ...]:
    """The definitions themselves."""
    found = []
    for name in NAMES:
        file = CACHE / "crds" / f"{name}.yaml"
        if not file.exists():
            pytest.fail(f"{file} is missing: run `make system`")
        found.append(yaml.safe_load(file.read_text()))
    return tuple(found)


def custom_resource_schema(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of a custom resource; None for what Kubernetes has itself."""
    for definition in definitions():
        spec = definition["spec"]
        for version in spec["versions"]:
            if (manifest["apiVersion"], manifest["kind"]) == (
                f"{spec['group']}/{version['name']}",
                spec["names"]["kind"],
            ):
                schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
                return schema
    return None


def validate_custom_resource(manifest: dict[str, Any]) -> None:
    """As the API server does: types and patterns, and no field that the definition does not know."""
    schema = custom_resource_schema(manifest)
    assert schema is not None
    jsonschema.validate(manifest, _closed(schema))


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Structural schemas drop unknown fields silently; here they are an error."""
    closed = {name: value for name, value in schema.items() if name != "properties"}
    if properties := schema.get("properties"):
        closed["properties"] = {name: _closed(value) for name, value in properties.items()}
        if "metadata" not in properties and not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed["additionalProperties"] = False
    if isinstance(items := schema.get("items"), dict):
        closed["items"] = _closed(items)
    return closed
