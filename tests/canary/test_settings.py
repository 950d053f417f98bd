"""No command shows a secret of its settings, right or wrong, by whatever way it was given. See `tests.canary.watch`."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge.cli.main import COMMANDS
from bridge.config import describe, survey
from tests.canary.places import LOGINS, every_secret, in_files, misplaced, mistakes, of_sources, one_by_one, unusual
from tests.canary.watch import WATCH, is_secret
from tests.processes import run_here

LONG_RUNNING = {"serve"}  # see `test_served`
ARGUMENTS: Mapping[str, list[list[str]]] = {
    "check": [[], ["--json"], ["--connect", "--timeout", "0.3"], ["--connect", "--timeout", "0.3", "--json"]],
    "explain": [["-"], ["-", "--json"], ["-", "--request"]],
    "replay": [["--dry-run", "--timeout", "0.3"], ["--dry-run", "--from", "raw"]],
    "selftest": [["--timeout", "0.3"]],
    "tail": [["--all", "--count", "1", "--json"]],
    "drain": [["--timeout", "0.3"]],
    "export": [["asyncapi"], ["env"], ["helm-values"], ["schemas"]],
}


def commands() -> list[list[str]]:
    """All there are, a new one without arguments."""
    return [
        [name, *arguments] for name in COMMANDS if name not in LONG_RUNNING for arguments in ARGUMENTS.get(name, [[]])
    ]


def run(env: Mapping[str, str], *command: str) -> str:
    """What the command said, whatever became of it."""
    return run_here(*command, env=env, stdin=b'{"event": "call"').output


def test_every_secret_of_the_settings_is_given(tmp_path: Path) -> None:
    given = [env for login in LOGINS.values() for env in (login, of_sources())]
    names = {name for env in given for name in env if is_secret(name)}
    of_source = re.compile("BRIDGE_SOURCE_(?:" + "|".join(sorted(_sources(given[1]), key=len, reverse=True)) + ")_")
    assert {of_source.sub("BRIDGE_SOURCE_<NAME>_", name) for name in names} == every_secret()


def _sources(env: Mapping[str, str]) -> list[str]:
    return [name.upper().replace("-", "_") for name in env["BRIDGE_SOURCES"].split(",")]


@pytest.mark.parametrize("login", LOGINS)
def test_no_command_shows_a_secret_it_was_given(login: str, tmp_path: Path) -> None:
    env = {**of_sources(), **LOGINS[login], "BRIDGE_DATA_DIR": str(tmp_path / "data"), "BRIDGE_RAW_TOPIC": "raw"}
    WATCH.given_in(env)
    env = in_files(env, tmp_path) if "Kafka" in login else env
    for command in commands():
        run(env, *command)
    assert run_here("check", env=env).exit_code == 0, run(env, "check")
    assert WATCH.found == []


def test_no_report_of_a_mistake_shows_the_secret() -> None:
    """Every command prints these problems, and `serve` these settings."""
    reported = set()
    for right in (*one_by_one(), *LOGINS.values()):
        WATCH.given_in(right)
        for name in filter(is_secret, right):
            for changes in mistakes(name, right[name]):
                config, problems = survey({key: text for key, text in {**right, **changes}.items() if text is not None})
                reported |= {problem.variable for problem in problems}
                WATCH.look(" and ".join(changes), f"{problems} {config} {describe(config)}", *problems)
        assert WATCH.end() == []
    assert len(reported) > 20, "a mistake that nobody reports is none"


def test_a_secret_where_none_belongs_is_not_shown_and_not_exported() -> None:
    right = {"BRIDGE_SOURCE_CHATLEVEL_TOKEN": unusual(), **LOGINS["NATS by password"]}
    WATCH.given_in(right)
    for changes in misplaced(right["BRIDGE_NATS_PASSWORD"]):
        assert run_here("check", env={**right, **changes}).exit_code > 0
        for command in (["routes"], ["export", "env"], ["export", "helm-values"]):
            run({**right, **changes}, *command)
    assert WATCH.found == []


def test_a_secret_that_no_request_can_carry_is_not_shown_by_send() -> None:
    env = {"BRIDGE_SOURCES": "telegram", "BRIDGE_SOURCE_TELEGRAM_SECRET": f"{unusual()}é"}
    result = run_here("send", env=env)
    assert result.exit_code == 1
    assert "no request can be made of it" in result.stderr
    assert WATCH.found == []
