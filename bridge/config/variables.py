"""The fields of `settings` as a list of environment variables: what the loader and the renderers walk."""

import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import FieldInfo

from bridge.config.broker_settings import KafkaConfig, NatsConfig
from bridge.config.secrets import Secret
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig

__all__ = ["SOURCE_PREFIX", "Variable", "built_in_variables", "of_providers", "own_variables", "text_of", "variables"]

SOURCE_PREFIX = "BRIDGE_SOURCE_<NAME>_"


class Variable(msgspec.Struct, frozen=True):
    """One environment variable.

    Attributes:
        owner: the struct that has it.
        name: `BRIDGE_LISTEN`; for a source's `BRIDGE_SOURCE_<NAME>_TOKEN`.
        field: its name in the struct.
        group: the heading it is listed under.
        type: the field's type, without its `Meta` and without None.
        default: the value if unset.
        meta: description, examples and limits.
    """

    owner: type[msgspec.Struct]
    name: str
    field: str
    group: str
    type: Any
    default: Any
    meta: msgspec.Meta

    @property
    def secret(self) -> bool:
        """Whether the value is never shown, and `<name>_FILE` reads it from a file."""
        return self.type in (Secret, tuple[Secret, ...])

    @property
    def choices(self) -> tuple[str, ...]:
        """All values, where they are few."""
        if self.type is bool:
            return ("true", "false")
        return typing.get_args(self.type) if typing.get_origin(self.type) is Literal else ()

    @property
    def limits(self) -> str:
        """`100 to 60000`, or empty."""
        return f"{self.meta.ge} to {self.meta.le}" if self.type is int else ""

    @property
    def expected(self) -> str:
        """What the variable takes, in words for a problem's report."""
        if self.choices:
            return " or ".join(self.choices)
        if self.type is int:
            return f"a whole number from {self.limits}"
        if worded := self.note("expected"):
            return worded
        if self.type is Path:
            return "the path of a file" if self.field.endswith("_file") else "a path"
        return f"a value such as {self.meta.examples[0]}" if self.meta.examples else "a value"

    def note(self, key: str) -> str:
        """One of the notes of the field's `Meta(extra=…)`, empty if it has none of that name."""
        return str((self.meta.extra or {}).get(key, ""))


@cache
def variables(owner: type[msgspec.Struct] | None = None) -> tuple[Variable, ...]:
    """Every variable, or a struct's own, in their order; those of a source once, with `<NAME>` in their names."""
    return tuple(variable for variable in _walk(Config, "BRIDGE_", "") if owner in (None, variable.owner))


@cache
def own_variables(owner: type[msgspec.Struct]) -> tuple[Variable, ...]:
    """Those of a source that its provider alone knows, by the provider's struct."""
    return tuple(_walk(owner, SOURCE_PREFIX, "Sources"))


@cache
def built_in_variables() -> tuple[tuple[Variable, tuple[str, ...]], ...]:
    """Variables that only some of our own providers have, each once, and whose they are."""
    from bridge.providers import BUILT_IN, PROVIDERS  # noqa: PLC0415 -- reading settings must not import every provider

    return of_providers({name: PROVIDERS[name].settings for name in BUILT_IN})


def of_providers(settings: Mapping[str, type[msgspec.Struct] | None]) -> tuple[tuple[Variable, tuple[str, ...]], ...]:
    """The variables in the settings of providers, each once, and whose they are."""
    found: dict[str, tuple[Variable, tuple[str, ...]]] = {}
    for provider, struct in settings.items():
        for variable in own_variables(struct) if struct is not None else ():
            first, owners = found.get(variable.name, (variable, ()))
            found[variable.name] = first, (*owners, provider)
    return tuple(found.values())


def text_of(value: object) -> str:
    """A setting's value as its variable would hold it, without quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path) and not value.is_absolute():
        return f"./{value}"
    if isinstance(value, tuple):
        return ",".join(map(text_of, value))
    return str(value)


def _walk(struct: type[msgspec.Struct], prefix: str, group: str) -> Iterator[Variable]:
    for field in msgspec.structs.fields(struct):
        if field.type is NatsConfig:
            yield from _walk(NatsConfig, "BRIDGE_NATS_", "NATS")
        elif field.type is KafkaConfig:
            yield from _walk(KafkaConfig, "BRIDGE_KAFKA_", "Kafka")
        elif typing.get_origin(field.type) is Annotated:
            variable = _variable(struct, field, prefix, group)
            group = variable.group
            yield variable
            if variable.type == tuple[SourceConfig, ...]:
                yield from _walk(SourceConfig, SOURCE_PREFIX, group)


def _variable(owner: type[msgspec.Struct], field: FieldInfo, prefix: str, group: str) -> Variable:
    plain, meta = typing.get_args(field.type)
    if isinstance(plain, types.UnionType):
        plain = next(member for member in typing.get_args(plain) if member is not types.NoneType)
    return Variable(
        owner=owner,
        name=prefix + field.name.upper(),
        field=field.name,
        group=(meta.extra or {}).get("group", group),
        type=plain,
        default=field.default,
        meta=meta,
    )
