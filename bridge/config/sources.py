"""BRIDGE_SOURCES and the variables of each source it names."""

import difflib
import re
from collections.abc import Iterable, Mapping

import msgspec

from bridge.config.reader import Reader
from bridge.config.source_rules import problems_of
from bridge.config.source_settings import SourceConfig
from bridge.config.values import shown
from bridge.config.variables import Variable, own_variables, variables
from bridge.providers.base import Provider

__all__ = ["clashes", "read_sources"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_MAX_NAME = 40  # a part of every topic and of the environment's names
_EXPECTED = "a provider's name, or name=provider, separated by commas: shop1=chatlevel,shop2=chatlevel"


def read_sources(reader: Reader, providers: Mapping[str, Provider], *, dedup_window_s: int) -> tuple[SourceConfig, ...]:
    """The sources that could be read; what is wrong is in the reader's problems.

    Args:
        reader: of the settings.
        providers: name -> provider.
        dedup_window_s: of the sources that have no window of their own.
    """
    text = reader.text("BRIDGE_SOURCES", _EXPECTED)
    named = _named(reader, "chatlevel" if text is None else text, providers)
    fields = variables(SourceConfig)
    own = {name: own_variables(code.settings) for name, code in named.items() if code.settings is not None}
    for variable, names in clashes(named, fields, own).items():
        reader.problem(
            "BRIDGE_SOURCES", f"makes {variable} mean two things, for {' and '.join(names)}", "another name for one"
        )
    return tuple(_source(reader, name, code, dedup_window_s) for name, code in named.items())


def clashes(
    names: Iterable[str], fields: Iterable[Variable], own: Mapping[str, Iterable[Variable]] | None = None
) -> dict[str, list[str]]:
    """Variables that would belong to more than one source.

    Source `a` with a field `B_TOKEN` and source `a-b` with a field `TOKEN` would share BRIDGE_SOURCE_A_B_TOKEN.

    Args:
        names: of the sources.
        fields: that every source has.
        own: by source, what its provider has besides.
    """
    fields = tuple(fields)
    owners: dict[str, list[str]] = {}
    for name in names:
        source = SourceConfig(name=name, provider="")
        for field in (*fields, *(own or {}).get(name, ())):
            for suffix in ("", "_FILE") if field.secret else ("",):
                owners.setdefault(source.variable(field.field) + suffix, []).append(name)
    return {variable: sources for variable, sources in owners.items() if len(sources) > 1}


def _named(reader: Reader, text: str, providers: Mapping[str, Provider]) -> dict[str, Provider]:
    """Name -> provider of the entries that are right."""
    named: dict[str, Provider] = {}
    for entry in text.split(","):
        name, equals, provider = (part.strip() for part in entry.partition("="))
        provider = provider if equals else name
        if not name or not provider:
            reader.problem("BRIDGE_SOURCES", f"has an incomplete entry {shown(entry.strip())}", _EXPECTED)
        elif provider not in providers:
            reader.problem(
                "BRIDGE_SOURCES", f"names no provider of this version: {shown(provider)}", _nearest(provider, providers)
            )
        elif len(name) > _MAX_NAME or not _NAME.fullmatch(name):
            expected = f"a-z, 0-9 and single - inside, a letter first, {_MAX_NAME} characters at most"
            reader.problem("BRIDGE_SOURCES", f"has the name {shown(name)}", expected)
        elif name in named:
            reader.problem("BRIDGE_SOURCES", f"has the name {shown(name)} twice", "name=provider with different names")
        else:
            try:
                named[name] = providers[provider]
            except ImportError as error:
                reader.problem(
                    "BRIDGE_SOURCES", f"names a provider that does not load: {error}", "its package repaired"
                )
    return named


def _nearest(provider: str, providers: Iterable[str]) -> str:
    if near := difflib.get_close_matches(provider.lower(), providers, 1):
        return f"{near[0]}, perhaps"
    return f"one of {', '.join(sorted(providers))}"


def _source(reader: Reader, name: str, code: Provider, dedup_window_s: int) -> SourceConfig:
    empty = SourceConfig(name=name, provider=code.name)
    own = None
    if code.settings is not None:
        read = {field.field: reader.read(field, empty.variable(field.field)) for field in own_variables(code.settings)}
        own = code.settings(**read)
    faults = tuple(code.faults(own))
    for fault in faults:
        reader.problem(empty.variable(fault.field), fault.found, fault.expected)
    code = code.configured(own)  # faulty or not: whether it signs says which secret is missing
    defaults = {
        "dedup_window_s": dedup_window_s,
        "success_status": code.success_status,
        "deadline_ms": code.deadline_ms,
        "verify": "secret" if code.signs else "token",
    }
    values = {field.field: reader.read(field, empty.variable(field.field)) for field in variables(SourceConfig)}
    values |= {field: value for field, value in defaults.items() if empty.variable(field) not in reader.given}
    source = msgspec.structs.replace(empty, **values, own=own)
    for problem in () if faults else problems_of(source, code):
        if problem.variable not in reader.broken:
            reader.problem(problem.variable, problem.found, problem.expected)
    return source
