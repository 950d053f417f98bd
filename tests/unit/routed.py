"""Tables for tests, in as few words as possible."""

import pytest

from bridge.errors import ConfigError
from bridge.events.messaging import TYPES
from bridge.routing import DEFAULT_TEMPLATE, RoutedSource, Table, build_tables
from tests.open_provider import FALLBACK, KNOWN

__all__ = ["CHATLEVEL", "HUB", "problems", "tables", "where"]

CHATLEVEL = RoutedSource(name="chatlevel", types=TYPES)
HUB = RoutedSource(name="hub", types=(KNOWN, FALLBACK), open_types=True)


def tables(
    routes: str | None = None,
    *sources: RoutedSource,
    template: str = DEFAULT_TEMPLATE,
    open_topics: bool = True,
) -> dict[str, Table]:
    return build_tables(sources or (CHATLEVEL,), routes=routes, template=template, open_topics=open_topics)


def problems(
    routes: str | None = None, *sources: RoutedSource, template: str = DEFAULT_TEMPLATE
) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        tables(routes, *sources, template=template)
    return [(problem.variable, f"{problem.found}; {problem.expected}") for problem in raised.value.problems]


def where(table: Table, name: str) -> list[tuple[str, str]]:
    return [(route.topic, route.key) for route in table.find(name).routes]
