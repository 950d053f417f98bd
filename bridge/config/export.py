"""The settings of this environment as files for elsewhere: an environment file, and values for the Helm chart.

Secrets are never written: the environment file has a placeholder, the values name a Secret that is to be made.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bridge.config.helm import OWNED, chart_key, is_file
from bridge.config.render import env_text, provider_variables
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.values import Address, Rate
from bridge.config.variables import Variable, text_of, variables

__all__ = ["env_file", "helm_values"]

_SECRET = "webhook-bridge"  # noqa: S105 -- the name of a Kubernetes Secret
_MIB = 1024 * 1024
_ROOMY_BYTES = 8 * 1024 * _MIB  # of the volumes that the chart makes unless told otherwise
_RULES = re.compile(r"[;\n]")


class _Setting(NamedTuple):
    variable: Variable
    name: str
    value: Any


def env_file(config: Config, env: Mapping[str, str]) -> str:
    """The text of `.env.example` with what is set in `env` filled in, but for secrets.

    Args:
        config: read from `env`.
        env: such as `os.environ`.
    """
    off = {variable.name for variable in variables() if variable.note("empty")}  # empty says something there
    given = {name: text for name, text in env.items() if text or name in off}
    if config.routes is not None:
        given["BRIDGE_ROUTES"] = "; ".join(_rules(config.routes))  # such a file has no values of several lines
    return env_text(config.sources, given)


def helm_values(config: Config, env: Mapping[str, str]) -> str:
    """YAML for `helm install --values`: what is set in `env`, and nothing that has its default.

    Args:
        config: read from `env`.
        env: such as `os.environ`.
    """
    own = list(_own(config))
    values = {
        "broker": "" if config.broker.kind == "embedded" else str(config.broker),
        "sources": [_source(source, env) for source in config.sources],
        "routes": _rules(config.routes or ""),
        "config": _plain(own, env),
        "secrets": _secrets(own, env, prefix=""),
        "persistence": _persistence(config),
    }
    lines = ["# Values for the chart webhook-bridge, from this environment; image.repository is still to be set."]
    if not values["broker"]:
        lines.append("# The embedded broker stays on this machine: name one that the cluster reaches.")
    if keys := _wanted(values):
        files = " ".join(f"--from-file={key}=FILE" for key in keys)
        lines.append(f"# The secrets come from: kubectl create secret generic {_SECRET} {files}")
    for name, value in values.items():
        if value or name == "broker":
            lines += _yaml(name, value)
    return "\n".join(lines) + "\n"


def _persistence(config: Config) -> dict[str, Any]:
    """The spool's volume; its size where the chart's own may be too small for it."""
    if config.spool == "off":
        return {}
    needed = config.spool_max_bytes + config.spool_min_free_bytes
    size = {} if needed <= _ROOMY_BYTES else {"size": f"{math.ceil(needed / _MIB)}Mi"}
    return {"enabled": True} | size


def _own(config: Config) -> Iterator[_Setting]:
    """The settings that are no source's, but for those that the chart sets by itself."""
    structs: dict[type[msgspec.Struct], msgspec.Struct]
    structs = {type(struct): struct for struct in (config, config.nats, config.kafka)}
    for variable in variables():
        if variable.owner is not SourceConfig and variable.name not in OWNED:
            yield _Setting(variable, variable.name, getattr(structs[variable.owner], variable.field))


def _source(source: SourceConfig, env: Mapping[str, str]) -> dict[str, Any]:
    own = [
        _Setting(variable, source.variable(variable.field), getattr(holder, variable.field))
        for holder, known in ((source, variables(SourceConfig)), (source.own, provider_variables(source)))
        for variable in known
    ]
    secrets = _secrets(own, env, prefix=f"{source.name}-")
    if not source.secrets and source.verify != "none":  # what will be made on this machine
        secrets |= {source.verify.upper(): _secret(f"{source.name}-{source.verify}")}
    parts = {"config": _plain(own, env), "secrets": secrets}
    return {"name": source.name, "provider": source.provider} | {name: part for name, part in parts.items() if part}


def _plain(own: Iterable[_Setting], env: Mapping[str, str]) -> dict[str, Any]:
    """By the chart's keys, what is set and comes from no mounted file."""
    return {
        chart_key(variable): _scalar(value)
        for variable, name, value in own
        if not is_file(variable) and (env.get(name) or (name in env and variable.note("empty")))
    }


def _secrets(own: Iterable[_Setting], env: Mapping[str, str], *, prefix: str) -> dict[str, Any]:
    return {
        chart_key(variable): _secret(prefix + variable.name.rpartition(">_")[2].removeprefix("BRIDGE_"))
        for variable, name, _value in own
        if is_file(variable) and (env.get(name) or env.get(f"{name}_FILE"))
    }


def _secret(name: str) -> dict[str, str]:
    return {"name": _SECRET, "key": name.lower().replace("_", "-")}


def _wanted(values: Mapping[str, Any]) -> list[str]:
    """The keys that the Secret must have."""
    groups = [values["secrets"], *(source.get("secrets", {}) for source in values["sources"])]
    return sorted(reference["key"] for group in groups for reference in group.values())


def _rules(text: str) -> list[str]:
    return [rule for part in _RULES.split(text) if (rule := " ".join(part.split()))]


def _scalar(value: Any) -> Any:  # noqa: ANN401 -- a setting's
    if value is None:
        return ""  # set, and off
    if isinstance(value, tuple):
        return [text_of(item) for item in value]
    return text_of(value) if isinstance(value, Path | Address | Rate) else value


def _yaml(name: str, value: Any) -> Iterator[str]:  # noqa: ANN401 -- of the values above
    """A value of the top level. JSON is YAML, so that what is further inside stands on one line."""
    if isinstance(value, dict):
        yield f"{name}:"
        yield from (f"  {key}: {_json(part)}" for key, part in value.items())
    elif isinstance(value, list):
        yield f"{name}:"
        for item in value:
            if not isinstance(item, dict):
                yield f"  - {_json(item)}"
                continue
            for number, (key, part) in enumerate(item.items()):
                yield f"  {' ' if number else '-'} {key}: {_json(part)}"
    else:
        yield f"{name}: {_json(value)}"


def _json(value: Any) -> str:  # noqa: ANN401 -- JSON
    return json.dumps(value, ensure_ascii=False)
