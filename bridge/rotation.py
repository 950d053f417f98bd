"""Files of secrets and certificates that change while the bridge runs.

Kubernetes exchanges a mounted Secret behind a symbolic link, others rename a file or write into it. No notice is common
to all of these, so the files are looked at each second, and taken up once they have stood still for one.

Not here: what is to be done with a change, which its owner says.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from bridge.errors import ConfigError
from bridge.telemetry.facts import Facts

__all__ = ["Rotating", "Rotation"]

_LOOK_S = 1.0

_State = tuple[tuple[int, int, int] | None, ...]


class Rotating(msgspec.Struct, frozen=True):
    """Files that change together.

    Attributes:
        variable: that names them.
        paths: of the files.
        take_up: uses what they say now, wholly or not at all; called outside the event loop. What it raises is why not.
    """

    variable: str
    paths: tuple[Path, ...]
    take_up: Callable[[], object]


class Rotation:
    """Looks after changing files. A bad one changes nothing, and is named until it is good.

    It is tried again at each look, for some reasons pass without another change of the file.

    Attributes:
        refused: variable -> why what its file says now is not in use.
    """

    def __init__(self, files: Iterable[Rotating], facts: Facts) -> None:
        self._files = tuple(files)
        self._facts = facts
        self._used: dict[str, _State] = {}
        self._seen: dict[str, _State] = {}
        self._told: dict[str, tuple[_State, str]] = {}
        self.refused: dict[str, str] = {}

    async def run(self) -> NoReturn:
        """Look, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Take up what has changed and stood still since the look before.

        The first look takes up everything, for it may have changed since it was read at the start.
        """
        for file in self._files:
            await self._look_at(file)

    async def _look_at(self, file: Rotating) -> None:
        variable = file.variable
        state = await asyncio.to_thread(_state, file.paths)
        still = state == self._seen.get(variable, state)
        self._seen[variable] = state
        if not still or (state == self._used.get(variable) and variable not in self.refused):
            return
        try:
            await asyncio.to_thread(file.take_up)
        except Exception as error:  # noqa: BLE001 -- whatever it is, what was in use before stays so
            self._refuse(file, state, error)
            return
        first = variable not in self._used and variable not in self.refused
        self._used[variable] = state
        self.refused.pop(variable, None)
        if not first:
            self._facts.file_taken_up(variable)

    def _refuse(self, file: Rotating, state: _State, error: Exception) -> None:
        """Say so, once for each state of the files and each reason."""
        reason = _reason(file.variable, error)
        if self._told.get(file.variable) != (state, reason) or file.variable not in self.refused:
            self._told[file.variable] = state, reason
            self._facts.file_refused(file.variable, reason)
        self.refused[file.variable] = reason


def _state(paths: Sequence[Path]) -> _State:
    return tuple(map(_stat, paths))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _reason(variable: str, error: Exception) -> str:
    """In words without content: only our own errors are known to have none."""
    if isinstance(error, ConfigError):
        return "; ".join(
            f"{'' if problem.variable == variable else f'({problem.variable}) '}{problem.found}, "
            f"expected {problem.expected}"
            for problem in error.problems
        )
    return type(error).__name__
