"""The configuration as far as it can be read, and the source a command is about."""

import os

import click
import msgspec

from bridge.config import Config, SourceConfig, make_tables, survey
from bridge.errors import ConfigError, Problem
from bridge.providers import PROVIDERS
from bridge.routing import DEFAULT_TEMPLATE, Table

__all__ = ["ROUTING", "Surveyed", "source_named", "surveyed", "tell_ignored"]

ROUTING = (
    "BRIDGE_SOURCES",
    "BRIDGE_ROUTES",
    "BRIDGE_TOPIC_TEMPLATE",
    "BRIDGE_DEAD_LETTER_TOPIC",
    "BRIDGE_RAW_TOPIC",
)
"""The variables without which it is not known where events go."""


class Surveyed(msgspec.Struct, frozen=True):
    """What could be read.

    Attributes:
        config: with defaults for what could not.
        tables: by source; by the default template alone where the rules could not be used.
        problems: all there are.
    """

    config: Config
    tables: dict[str, Table]
    problems: tuple[Problem, ...]


def surveyed() -> Surveyed:
    """Read the environment; whatever is wrong prevents nothing."""
    config, problems = survey(os.environ)
    try:
        tables = make_tables(config, PROVIDERS)
    except ConfigError as error:
        problems = tuple(dict.fromkeys((*problems, *error.problems)))
        plain = msgspec.structs.replace(
            config, routes=None, topic_template=DEFAULT_TEMPLATE, dead_letter_topic=None, raw_topic=None
        )
        tables = make_tables(plain, PROVIDERS)
    return Surveyed(config, tables, problems)


def source_named(config: Config, name: str | None, *, hint: str = "--source") -> SourceConfig:
    """The source that the user names; the first one of BRIDGE_SOURCES for None.

    Raises:
        click.BadParameter: there is none of that name.
    """
    if name is None:
        return config.sources[0]
    try:
        return config.source(name)
    except KeyError:
        names = ", ".join(source.name for source in config.sources)
        raise click.BadParameter(f"{name!r} is not a source; BRIDGE_SOURCES has {names}", param_hint=hint) from None


def tell_ignored(problems: tuple[Problem, ...]) -> None:
    """Say on standard error what was left out of account."""
    for problem in problems:
        click.echo(f"ignored: {problem}", err=True)
