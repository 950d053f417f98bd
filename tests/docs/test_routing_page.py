"""docs/routing.md: each configuration on the page makes the table, or the problems, that stand below it."""

import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from bridge.config import load, make_tables
from bridge.errors import ConfigError
from bridge.ingest.pipeline import Pipeline
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.publishers.base import HeaderDialect
from bridge.publishers.kafka import KafkaPublisher
from bridge.publishers.nats import NatsPublisher

PAGE = (Path(__file__).parent.parent.parent / "docs" / "routing.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```\n\n(?:```text\n(.*?)```|((?:\|[^\n]*\n)+))", PAGE, re.DOTALL)
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


class Row(NamedTuple):
    """A line of a table: globs for source and type, the topics with placeholders, the key."""

    source: str
    type: str
    topics: str
    key: str


def rows(table: str) -> list[Row]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
    assert lines[0] == ["source", "type", "topics", "key"]
    return [Row(*line) for line in lines[2:]]


def test_every_configuration_is_followed_by_what_it_makes() -> None:
    assert len(BLOCKS) == PAGE.count("```yaml")
    assert sum(bool(table) for _, _, table in BLOCKS) >= 7


@pytest.mark.parametrize(("settings", "table"), [(block, table) for block, _, table in BLOCKS if table])
def test_the_table_is_what_the_code_makes(settings: str, table: str) -> None:
    tables = make_tables(load(yaml.safe_load(settings)), PROVIDERS)
    listed, used = rows(table), set()
    for source, routed in tables.items():
        for name, found in routed.known.items():
            row = next(row for row in listed if fnmatchcase(source, row.source) and fnmatchcase(name, row.type))
            used.add(row)
            topics = row.topics.replace("{source}", source).replace("{type}", name)
            assert ", ".join(route.topic for route in found.routes) == topics.replace("drop", "")
            assert {route.key for route in found.routes} == {row.key} - {""}
    assert used == set(listed)


@pytest.mark.parametrize(("settings", "said"), [(block, said) for block, said, _ in BLOCKS if said])
def test_the_problems_are_what_the_code_says(settings: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(yaml.safe_load(settings))
    assert [str(problem) for problem in raised.value.problems] == said.strip().splitlines()


@pytest.mark.parametrize(
    ("column", "dialect", "mode"),
    [
        (1, KafkaPublisher.dialect, "structured"),
        (2, NatsPublisher.dialect, "structured"),
        (3, KafkaPublisher.dialect, "binary"),
        (4, NatsPublisher.dialect, "binary"),
    ],
)
def test_the_headers_are_those_of_the_page(column: int, dialect: HeaderDialect, mode: str) -> None:
    provider = PROVIDERS["chatlevel"]
    pipeline = Pipeline(
        source="chatlevel",
        provider=provider,
        table=make_tables(load({}), PROVIDERS)["chatlevel"],
        dialect=dialect,
        event_format=mode,  # type: ignore[arg-type]
    )
    sent: set[str] = set()
    for name in provider.sample_events:
        for item in pipeline.prepare(Delivery(provider.sample(name, now=NOW), {}, NOW), "00-trace"):
            sent.update(*(record.headers for record in item.records))
    table = PAGE[PAGE.index("| attribute |") :].split("\n\n")[0]
    listed = [re.findall(r"`([^`]+)`", line.split("|")[column + 1]) for line in table.splitlines()[2:]]
    assert sorted(sent) == sorted(name for names in listed for name in names)


def test_every_link_and_variable_of_the_page_is_there() -> None:
    names = set(re.findall(r"`(BRIDGE_[A-Z_]+)", PAGE))
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    assert all(f"`{name}" in readme for name in names)
    assert "docs/routing.md" in readme
