"""The settings as text for people: the README's table, `.env.example`, the start-up log line. All from the structs."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from bridge.config.secrets import Secret
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.variables import SOURCE_PREFIX, Variable, own_variables, text_of, variables
from bridge.providers.api_token import ApiSettings

__all__ = [
    "describe",
    "env_example",
    "env_text",
    "meaning",
    "own_variables_table",
    "provider_variables",
    "variables_table",
]

_WIDTH = 100
_EXAMPLE_SOURCE = SourceConfig(name="chatlevel", provider="chatlevel", own=ApiSettings())


def variables_table() -> str:
    """Markdown: per group a heading and a table of variable, default and meaning. Ends with a line end."""
    parts = []
    for group, members in groupby(variables(), key=lambda variable: variable.group):
        rows = "".join(map(_row, members))
        parts.append(f"### {group}\n\n| Variable | Default | Meaning |\n|---|---|---|\n{rows}")
    return "\n".join(parts)


def own_variables_table(found: Iterable[tuple[Variable, Sequence[str]]]) -> str:
    """Markdown: a table of variables that only some providers have, and whose they are; empty where there are none."""
    rows = [(variable, ", ".join(f"`{name}`" for name in owners)) for variable, owners in found]
    cells = "".join(_row(variable).replace(" | ", f" | {owners} | ", 1) for variable, owners in rows)
    return f"| Variable | Of | Default | Meaning |\n|---|---|---|---|\n{cells}" if rows else ""


def env_example() -> str:
    """The text of `.env.example`: every variable, commented out, with its default or an example. Ends with a line end.

    Read by `docker compose`, `docker run --env-file`, systemd and shells alike, so values have no quotes.
    """
    return env_text((_EXAMPLE_SOURCE,), {})


def env_text(sources: Sequence[SourceConfig], given: Mapping[str, str]) -> str:
    """The text of an environment file: every variable of these sources, those that are not given commented out.

    Args:
        sources: whose variables there are.
        given: variable -> text on one line. Secrets among them are not written.
    """
    lines = [
        *_comment(
            "Settings of webhook-bridge. After the = of a line that is commented out stands the default, or an example "
            "where there is none."
        ),
        *_comment("A secret can be read from a file instead: add _FILE to its variable's name and give the path."),
    ]
    for group, members in groupby(variables(), key=lambda variable: variable.group):
        lines += ["", f"# ---- {group} ----"]
        named = [(variable, _env_names(variable, sources)) for variable in members]
        if group == "Sources":
            named += [
                (variable, [source.variable(variable.field)])
                for source in sources
                for variable in provider_variables(source)
            ]
        for variable, names in named:
            lines += ["", *_comment(meaning(variable).replace("`", ""))]
            lines += [_env_line(variable, name, given) for name in names]
    return "\n".join(lines) + "\n"


def provider_variables(source: SourceConfig) -> tuple[Variable, ...]:
    """The variables that the source has of its provider's own."""
    return () if source.own is None else own_variables(type(source.own))


def _env_names(variable: Variable, sources: Sequence[SourceConfig]) -> list[str]:
    if variable.name.startswith(SOURCE_PREFIX):
        return [source.variable(variable.field) for source in sources]
    return [variable.name]


def _env_line(variable: Variable, name: str, given: Mapping[str, str]) -> str:
    if variable.secret and f"{name}_FILE" in given:
        return f"{name}_FILE={given[f'{name}_FILE']}"
    if name in given and not variable.secret:
        return f"{name}={given[name]}"
    return f"#{name}={_example(variable)}"


def describe(config: Config) -> dict[str, Any]:
    """The effective settings for a log line: no secret, only how many there are.

    Values are texts, numbers, booleans and dicts of them; what is unset is left out.
    """
    described = _described(config)
    described["sources"] = {source.name: _described(source) for source in config.sources}
    if config.broker.kind == "kafka":
        described["kafka"] = _described(config.kafka)
    else:
        described["nats"] = _described(config.nats)
    if config.broker.kind == "embedded":
        described["nats"] = {name: described["nats"][name] for name in ("stream", "retention_s")}
    else:
        del described["embedded_listen"]
    return described


def _described(struct: Config | SourceConfig | msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if field.name == "own" and value is not None:
            found |= _described(value)
        elif field.name == "name" or value is None or value == ():
            continue
        elif isinstance(value, Secret):
            found[field.name] = "set"
        elif isinstance(value, tuple) and isinstance(value[0], Secret):
            found[f"{field.name}s"] = len(value)
        elif isinstance(value, bool | int | str):
            found[field.name] = value
        elif field.name not in ("nats", "kafka", "sources"):
            found[field.name] = text_of(value)
    return found


def _row(variable: Variable) -> str:
    cells = (f"`{variable.name}`", _default(variable), meaning(variable))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _default(variable: Variable) -> str:
    if worded := variable.note("default"):
        return worded
    return "" if variable.default in (None, ()) else f"`{text_of(variable.default)}`"


def meaning(variable: Variable) -> str:
    """The description with what may be set: choices, limits, an example."""
    text = str(variable.meta.description)
    if variable.choices and not all(f"`{choice}`" in text for choice in variable.choices):
        text += f" One of {', '.join(f'`{choice}`' for choice in variable.choices)}."
    if variable.limits:
        text += f" From {variable.limits}."
    if variable.meta.examples:
        text += f" Example: {' or '.join(f'`{example}`' for example in variable.meta.examples)}."
    if variable.secret:
        text += " Secret."
    return text


def _example(variable: Variable) -> str:
    if variable.secret:
        return variable.note("placeholder")
    if variable.field == "sources":
        return ",".join(source.name for source in variable.default)
    if variable.default not in (None, ()):
        return text_of(variable.default)
    return str(variable.meta.examples[0]) if variable.meta.examples else ""


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2))
