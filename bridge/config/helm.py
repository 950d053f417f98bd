"""The settings as parts of the Helm chart: its `config:` block, its schema, the defaults its templates reckon with.

The chart's values have the variables' own names, so that one table of settings serves both.

Not here: the rest of the chart, which is written by hand in helm/webhook-bridge.
"""

import json
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any

from bridge.config.render import meaning
from bridge.config.source_settings import SourceConfig
from bridge.config.variables import SOURCE_PREFIX, Variable, built_in_variables, text_of, variables

__all__ = [
    "OWNED",
    "chart_key",
    "helm_config",
    "helm_defaults",
    "helm_definitions",
    "helm_secrets",
    "helm_source",
    "is_file",
]

_WIDTH = 110
# What the chart sets by itself, from values of its own.
OWNED = frozenset(
    {
        "BRIDGE_BROKER",
        "BRIDGE_DATA_DIR",
        "BRIDGE_EMBEDDED_LISTEN",
        "BRIDGE_LISTEN",
        "BRIDGE_OPS_LISTEN",
        "BRIDGE_ROUTES",
        "BRIDGE_SOURCES",
        "BRIDGE_SPOOL",
    }
)
_SECRET_REF = {"$ref": "#/definitions/secretKey"}
_NAME = "^[A-Z][A-Z0-9_]*$"


def helm_config() -> str:
    """YAML for `config:`: every setting that is no secret, commented out, indented by two."""
    return _yaml(_plain(source=False), indent=2, headings=True)


def helm_source() -> str:
    """YAML for a source's `config:`: the same for what each source has."""
    return _yaml(_plain(source=True), indent=4, headings=False)


def helm_secrets() -> str:
    """YAML for `secrets:`: every variable that comes from a mounted file."""
    return _yaml(_files(source=False), indent=2, headings=True)


def helm_definitions() -> dict[str, Any]:
    """Definitions of the chart's JSON Schema: what `config`, `secrets` and a source's own may hold."""
    return _of_providers() | {
        "config": _object({chart_key(variable): _schema(variable) for variable in _plain(source=False)}),
        "secrets": _object({chart_key(variable): _SECRET_REF for variable in _files(source=False)}),
        "sourceConfig": _object({chart_key(variable): _schema(variable) for variable in _plain(source=True)}),
        "sourceSecrets": _object({chart_key(variable): _SECRET_REF for variable in _files(source=True)}),
    }


def helm_defaults() -> str:
    """A template of JSON: key -> default of each whole number, for what the chart reckons from them.

    A deadline's default is the provider's: by name, `other` for those of other packages.
    """
    from bridge.providers import BUILT_IN, PROVIDERS  # noqa: PLC0415 -- as below

    defaults: dict[str, Any] = {
        chart_key(variable): variable.default for variable in _plain(source=False) if variable.type is int
    }
    other = SourceConfig(name="", provider="").deadline_ms
    defaults["deadlines_ms"] = {name: PROVIDERS[name].deadline_ms for name in BUILT_IN} | {"other": other}
    body = json.dumps(defaults, indent=2, sort_keys=True)
    return f'{{{{- define "webhook-bridge.defaults" -}}}}\n{body}\n{{{{- end }}}}\n'


def _of_providers() -> dict[str, Any]:
    """What a source may have if its provider is ours, and if it is another package's, whose variables are not known.

    A secret is no plain value in either: those that all sources have are refused, and so are paths of files.
    """
    from bridge.providers import BUILT_IN  # noqa: PLC0415 -- reading settings must not import every provider

    ours = {"enum": sorted(BUILT_IN)}
    unnamed = {"not": {"required": ["provider"]}, "properties": {"name": ours}}
    known = {chart_key(variable): _schema(variable) for variable in variables(SourceConfig) if not is_file(variable)}
    refused = {chart_key(variable): {"type": "null"} for variable in _files(source=True)}
    further = {"type": ["string", "integer", "boolean", "array"], "items": {"type": "string", "minLength": 1}}
    config = _object(known | refused) | {"patternProperties": {_NAME: further, "_FILE$": {"type": "null"}}}
    secrets = _object({}) | {"patternProperties": {_NAME: _SECRET_REF}}
    refs = {"config": {"$ref": "#/definitions/sourceConfig"}, "secrets": {"$ref": "#/definitions/sourceSecrets"}}
    return {
        "ourProvider": {"anyOf": [{"required": ["provider"], "properties": {"provider": ours}}, unnamed]},
        "ofOurs": {"properties": refs},
        "ofOthers": {"properties": {"config": config, "secrets": secrets}},
    }


def _plain(*, source: bool) -> list[Variable]:
    return [variable for variable in _of(source=source) if not is_file(variable) and variable.name not in OWNED]


def _files(*, source: bool) -> list[Variable]:
    return [variable for variable in _of(source=source) if is_file(variable)]


def _of(*, source: bool) -> list[Variable]:
    found = [variable for variable in variables() if (variable.owner is SourceConfig) == source]
    return [*found, *(variable for variable, _ in built_in_variables())] if source else found


def is_file(variable: Variable) -> bool:
    """Whether it comes from a mounted Secret: what is secret, and certificates."""
    return variable.secret or (variable.type is Path and variable.field.endswith("_file"))


def chart_key(variable: Variable) -> str:
    """`BRIDGE_LOG_LEVEL`; of a source what follows its prefix, `DEADLINE_MS`."""
    return variable.name.removeprefix(SOURCE_PREFIX)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _schema(variable: Variable) -> dict[str, Any]:
    found: dict[str, Any] = {"description": meaning(variable)}
    if variable.type is bool:
        return found | {"type": "boolean"}
    if variable.type is int:
        return found | {"type": "integer", "minimum": variable.meta.ge, "maximum": variable.meta.le}
    if variable.choices:
        return found | {"enum": list(variable.choices)}
    if variable.type == tuple[str, ...]:
        return found | {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
    found |= {"type": "string"} if variable.note("empty") else {"type": "string", "minLength": 1}
    if pattern := variable.meta.pattern:
        found["pattern"] = pattern.replace(r"\A", "^").replace(r"\Z", "$")
    return found


def _yaml(chosen: list[Variable], *, indent: int, headings: bool) -> str:
    margin = " " * indent
    lines = []
    for group, members in groupby(chosen, key=lambda variable: variable.group):
        if headings:
            lines += ["", f"{margin}# ---- {group} ----"]
        for variable in members:
            comment = _wrapped(variable, indent=indent)
            lines += [
                "",
                *(f"{margin}# {line}" for line in comment),
                f"{margin}# {chart_key(variable)}: {_value(variable)}",
            ]
    return "\n".join(lines).strip("\n") + "\n"


def _wrapped(variable: Variable, *, indent: int) -> list[str]:
    """The meaning as lines of a comment, whose it is, and a default that depends on other settings in words."""
    default = variable.note("default")
    text = f"{meaning(variable)} Default: {default}." if default else meaning(variable)
    if owners := {own.name: names for own, names in built_in_variables()}.get(variable.name):
        text = f"Of {', '.join(owners)} alone. {text}"
    return textwrap.wrap(text.replace("`", ""), _WIDTH - indent - 2)


def _value(variable: Variable) -> str:
    """The default, or an example where there is none, as YAML that stays what it is: `"off"` is a text."""
    if is_file(variable):
        return "{name: …, key: …}"
    value = variable.default
    if value in (None, ()):
        value = variable.meta.examples[0] if variable.meta.examples else ""
    if variable.type == tuple[str, ...]:
        value = value if isinstance(value, tuple) else str(value).split(",")
        return json.dumps(list(value))
    return json.dumps(value if isinstance(value, bool | int) else text_of(value), ensure_ascii=False)
