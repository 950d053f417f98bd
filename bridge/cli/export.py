"""`export`: the contract for consumers, and this environment's settings for elsewhere."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from bridge.cli.command import Command
from bridge.cli.settings import ROUTING, surveyed, tell_ignored
from bridge.config import env_file, helm_values, survey
from bridge.contract import asyncapi as make_asyncapi
from bridge.contract import schemas as make_schemas
from bridge.contract import violations
from bridge.errors import ConfigError, Problem
from bridge.providers import PROVIDERS

__all__ = ["asyncapi", "env", "export", "helm", "schemas"]


@click.group()
def export() -> None:
    """Write what consumers build on, and the settings of this environment for elsewhere."""


@export.command(
    cls=Command,
    examples=[
        ("webhook-bridge export asyncapi | jq -r '.channels[].address'", "the topics, as the document has them"),
    ],
)
def asyncapi() -> None:
    """Print the topics of these settings as an AsyncAPI 3.0 document.

    Channels with their messages, schemas, headers and keys, and the broker without credentials: what
    /asyncapi.json on the ops port says of a bridge with the same settings, byte for byte. No broker is asked.
    """
    found = surveyed()
    if concerned := [problem for problem in found.problems if problem.variable in ROUTING]:
        raise ConfigError(concerned)
    tell_ignored(found.problems)
    click.echo(make_asyncapi(found.config, PROVIDERS), nl=False)


@export.command(
    cls=Command,
    examples=[
        ("webhook-bridge export schemas --to contract", "the schemas that this version can publish, as files"),
        ("webhook-bridge export schemas --check contract", "whether they still hold, for a consumer's CI"),
    ],
)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Write one file each below this folder.")
@click.option(
    "--check",
    "old",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare with the schemas in this folder, which --to made, all or some of them.",
)
def schemas(*, to: Path | None, old: Path | None) -> None:
    """Print the schemas of everything this version can publish, write them to a folder, or check one against them.

    Printed they are one JSON object, by path. --check is for consumers: keep the schemas you rely on beside your
    code, and run it with the version of the bridge that is to be deployed. Within a major only optional properties
    may be added; whatever else happened is named by schema and place, with what would be right, and the exit code is
    1. With --to too, nothing is written then.
    """
    found = make_schemas(PROVIDERS)
    if old is not None:
        broken = violations(_read(old), {path: msgspec.json.decode(content) for path, content in found.items()})
        for violation in broken:
            click.echo(str(violation), err=True)
        if broken:
            sys.exit(1)
    if to is not None:
        _write(to, found)
    elif old is None:
        by_path = {path: msgspec.Raw(content) for path, content in found.items()}
        click.echo(msgspec.json.format(msgspec.json.encode(by_path), indent=2))


@export.command(
    cls=Command,
    examples=[("webhook-bridge export env", "the settings as a file for docker compose, docker run or systemd")],
)
def env() -> None:
    """Print the settings of this environment as an environment file.

    What is set stands there; all else is commented out, with its default and its meaning. Secrets are not written.
    """
    config, problems = survey(os.environ)
    tell_ignored(problems)
    click.echo(env_file(config, _right(problems)), nl=False)


@export.command(
    "helm-values",
    cls=Command,
    examples=[("webhook-bridge export helm-values", "the settings as values of the Helm chart")],
)
def helm() -> None:
    """Print the settings of this environment as values of the Helm chart.

    What is set and not its default. Secrets are not written: the values name keys of a Secret, and how to make it.
    """
    config, problems = survey(os.environ)
    tell_ignored(problems)
    click.echo(helm_values(config, _right(problems)), nl=False)


def _right(problems: Iterable[Problem]) -> dict[str, str]:
    """The environment without what is wrong, for that may be a secret which stands where none belongs."""
    wrong = {problem.variable for problem in problems}
    return {name: text for name, text in os.environ.items() if name not in wrong}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    except OSError as error:
        found = f"{error.filename} cannot be written: {error.strerror}; expected a folder of yours"
        raise click.BadParameter(found, param_hint="--to") from error


def _read(folder: Path) -> dict[str, Any]:
    """The schemas of a folder, by path."""
    found = {}
    for file in sorted(folder.glob("*/*/v*.*.json")):
        try:
            found[file.relative_to(folder).as_posix()] = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{file} is no JSON Schema: {error}", param_hint="--check") from error
    if not found:
        expected = "<domain>/<type>/v1.0.json, as --to writes them"
        raise click.BadParameter(f"{folder} has no schemas; expected {expected}", param_hint="--check")
    return found
