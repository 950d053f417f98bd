"""One variable after the other out of the environment, collecting problems instead of raising the first."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import msgspec

from bridge.config.secrets import Secret, read_secret_file, split_secrets
from bridge.config.values import Unfit, shown
from bridge.config.variables import Variable
from bridge.errors import Problem

__all__ = ["Reader"]

_WHOLE_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)  # msgspec alone also takes 1e3 and 400 digits


class Reader:
    """Reads variables and remembers what it saw.

    Attributes:
        problems: what was wrong so far.
        known: every name that means something, set or not.
        given: variable -> the name it was set by, itself or its `_FILE` twin.
        broken: variables whose value could not be used; their default stands in until the problems are reported.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[Problem] = []
        self.known: set[str] = set()
        self.given: dict[str, str] = {}
        self.broken: set[str] = set()

    def read(self, variable: Variable, name: str) -> Any:  # noqa: ANN401 -- the field's type
        """The value of the variable under this name, or its default."""
        if variable.note("empty") and not self._env.get(name, "-").strip():
            self.known.add(name)
            self.given[name] = name
            return None
        text, path = self._secret(name) if variable.secret else (self.text(name, variable.expected), None)
        if text is None:
            return variable.default
        if variable.type is Secret:
            return Secret(text, path)
        if variable.type == tuple[Secret, ...]:
            return self._several(variable, name, text, path)
        try:
            return _converted(variable, text)
        except Unfit as unfit:
            self.problem(name, unfit.found or f"is {shown(text)}", unfit.expected)
            return variable.default

    def _several(self, variable: Variable, name: str, text: str, path: Path | None) -> tuple[Secret, ...]:
        secrets = split_secrets(text, path)
        if not secrets:
            self.broken.add(name)
            self.problem(self.given[name], "has separators and nothing between them", variable.expected)
        return secrets

    def text(self, name: str, expected: str) -> str | None:
        """The variable's text without spaces around it, None if unset.

        Set but empty is a problem: it is a template that went wrong more often than it is meant, and for some
        settings (devices) empty would open what was to be closed.
        """
        self.known.add(name)
        text = self._env.get(name)
        if text is None:
            return None
        self.given.setdefault(name, name)
        text = text.strip()
        if not text:
            self.problem(name, "is set but empty", f"{expected}; or the variable unset for its default")
            return None
        return text

    def problem(self, name: str, found: str, expected: str) -> None:
        """Note it; the variable is broken from now on."""
        self.broken.add(name)
        self.problems.append(Problem(name, found, expected))

    def _secret(self, name: str) -> tuple[str | None, Path | None]:
        """The secret's text, never stripped of more than line ends, and the file it came from."""
        twin = f"{name}_FILE"
        self.known |= {name, twin}
        if name in self._env and twin in self._env:
            self.given[name] = name
            self.broken.add(name)
            self.problem(twin, f"is set beside {name}", "one of the two")
            return None, None
        if twin in self._env:
            self.given[name] = twin
            text, path = self._from_file(twin)
            if text is None:
                self.broken.add(name)
            return text, path
        text = self._env.get(name)
        if text is None:
            return None, None
        self.given[name] = name
        if not text.strip():
            self.problem(name, "is set but empty", "the secret; or the variable unset")
            return None, None
        return text.rstrip("\r\n"), None

    def _from_file(self, twin: str) -> tuple[str | None, Path | None]:
        expected = "the path of a readable file with the secret in it"
        text = self.text(twin, expected)
        if text is None:
            return None, None
        try:
            path = _path(text, expected)
            return read_secret_file(path), path
        except Unfit as unfit:
            self.problem(twin, unfit.found or "is no path", expected)
        except OSError as error:
            self.problem(twin, f"{_shown_path(text)} cannot be read: {error.strerror}", expected)
        except ValueError as error:
            self.problem(twin, f"{_shown_path(text)} {error}", expected)
        return None, None


def _converted(variable: Variable, text: str) -> Any:  # noqa: ANN401 -- the field's type
    kind = variable.type
    if hasattr(kind, "parse"):
        return kind.parse(text)
    if kind is Path:
        return _path(text, variable.expected)
    if kind == tuple[str, ...]:
        if parts := tuple(text.replace(",", " ").split()):
            return parts
        raise Unfit(variable.expected)
    if kind is int and not _WHOLE_NUMBER.fullmatch(text):
        raise Unfit(variable.expected)
    if get_origin(kind) is Literal:
        text = text.lower()  # INFO and Token are meant
    try:
        return msgspec.convert(text, Annotated[kind, variable.meta], strict=False)
    except (msgspec.ValidationError, UnicodeError):  # an environment's bytes that are not UTF-8 are surrogates here
        raise Unfit(variable.expected) from None


def _path(text: str, expected: str) -> Path:
    try:
        if b"\0" in os.fsencode(text):
            raise Unfit(expected, "has a NUL byte in it")
        return Path(text).expanduser()  # no shell has done it in a .env file or a container's spec
    except (RuntimeError, UnicodeError):
        raise Unfit(expected, "names no home directory, or has characters that no path has") from None


def _shown_path(text: str) -> str:
    """The path, unless it may be the secret itself, put into the wrong one of the two variables."""
    if text.startswith(("/", "./", "../")) or Path(text).is_absolute():
        return repr(text)
    return "the file (not shown: the value does not begin with / or ./, so it may be the secret itself)"
