"""What `send` posts: events made up anew each time, files, folders, lines, standard input."""

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from bridge.providers.base import Provider

__all__ = ["Body", "Supply"]


class Body(NamedTuple):
    """One request's body, and what it is, for people."""

    name: str
    content: bytes


Maker = Callable[[], Body]

_MILLISECOND = timedelta(milliseconds=1)


class Supply:
    """Bodies in the order they were named; after the last one the first again.

    What is made up has new ids each time. What comes from files stays the same byte for byte, and so is the same event
    when it is posted again.
    """

    def __init__(self, provider: Provider, named: Sequence[str], *, lines: bool) -> None:
        """Look at everything that is named.

        Args:
            provider: makes events up.
            named: event names, files, folders, `-`; none: the provider's usual event.
            lines: each line of files and standard input is a body.

        Raises:
            click.BadParameter: one of them is nothing of the kind.
        """
        now = _clock()
        self._makers = [
            maker for what in named or provider.sample_events[:1] for maker in _makers(provider, what, now, lines=lines)
        ]
        if not self._makers:
            raise click.BadParameter("there is nothing to post in it", param_hint="WHAT")

    def __len__(self) -> int:
        """How many were named, each counted once."""
        return len(self._makers)

    def __getitem__(self, number: int) -> Body:
        """The body of that number, from 0 without end."""
        return self._makers[number % len(self._makers)]()


def _clock() -> Callable[[], datetime]:
    """The time, each time a later one: what tells some events from others of their name is their millisecond alone."""
    last = datetime.fromtimestamp(0, UTC)

    def now() -> datetime:
        nonlocal last
        last = max(datetime.now(UTC), last + _MILLISECOND)
        return last

    return now


def _makers(provider: Provider, what: str, now: Callable[[], datetime], *, lines: bool) -> Iterator[Maker]:
    if what in provider.sample_events:
        yield lambda: Body(what, provider.sample(what, now=now()))
    elif what == "-":
        yield from _fixed("-", sys.stdin.buffer.read(), lines=lines)
    elif (path := Path(what)).is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                yield from _of_file(file, lines=lines)
    elif path.is_file():
        yield from _of_file(path, lines=lines)
    else:
        known = ", ".join(provider.sample_events)
        raise click.BadParameter(
            f"{what!r} is neither a file or folder nor an event of {provider.name}; events: {known}", param_hint="WHAT"
        )


def _of_file(path: Path, *, lines: bool) -> Iterator[Maker]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint="WHAT") from error
    return _fixed(str(path), content, lines=lines)


def _fixed(name: str, content: bytes, *, lines: bool) -> Iterator[Maker]:
    if not lines:
        yield partial(Body, name, content)
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield partial(Body, f"{name}:{number}", line)
