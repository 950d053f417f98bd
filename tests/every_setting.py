"""An environment in which every variable there is has a value that is not its default: for what must carry them all."""

from collections.abc import Iterator
from pathlib import Path

from bridge.config import SourceConfig, variables
from bridge.config.helm import is_file
from bridge.config.variables import SOURCE_PREFIX, Variable, own_variables, text_of
from bridge.providers import BUILT_IN, PROVIDERS

__all__ = ["every_setting"]

# What is not read from its description alone.
_SAID = {
    "BRIDGE_BROKER": "nats://nats.messaging:4222",
    "BRIDGE_SOURCES": ",".join(f"{name}-1={name}" for name in BUILT_IN),
    "BRIDGE_TOPIC_TEMPLATE": "webhooks.{source}.{type}",
    "BRIDGE_ROUTES": "chatlevel-1:call -> drop",
    "BRIDGE_DATA_DIR": "/data",
    "BRIDGE_EMBEDDED_LISTEN": "127.0.0.1:4223",
}


def every_setting(folder: Path) -> dict[str, str]:
    """The variables, sources of every provider of ours among them; secrets and certificates are files in the folder."""
    env = {}
    for variable, name in _named():
        if not is_file(variable):
            env[name] = _SAID.get(name) or _another(variable)
            continue
        path = folder / name
        path.write_text(f"k7Jq2mX9vB4tR8wZ1nLc{len(env)}")
        env[f"{name.removesuffix('_FILE')}_FILE"] = str(path)
    return env


def _named() -> Iterator[tuple[Variable, str]]:
    for variable in variables():
        if not variable.name.startswith(SOURCE_PREFIX):
            yield variable, variable.name
    for provider in BUILT_IN:
        settings = PROVIDERS[provider].settings
        source = SourceConfig(name=f"{provider}-1", provider=provider)
        for variable in (*variables(SourceConfig), *(own_variables(settings) if settings else ())):
            yield variable, source.variable(variable.field)


def _another(variable: Variable) -> str:
    """A value, as text."""
    if variable.choices:
        return next(choice for choice in variable.choices if choice != text_of(variable.default))
    if variable.type is int:
        ge, le = variable.meta.ge, variable.meta.le
        return str(next(value for value in (ge, le) if value != variable.default))
    return str(variable.meta.examples[0]) if variable.meta.examples else f"{text_of(variable.default)}-2"
