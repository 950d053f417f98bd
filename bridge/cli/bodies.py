"""What `send` posts: events made up anew each time, files, folders, lines, standard input; and captured requests."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import click

from bridge.providers.base import Provider
from bridge.providers.captured import read_captured
from bridge.providers.public_url import PROXY_HEADERS

__all__ = ["Body", "Supply"]


class Body(NamedTuple):
    """One request's body.

    Attributes:
        name: what it is, for people.
        content: the bytes.
        headers: that say something about it, in lower case.
    """

    name: str
    content: bytes
    headers: Mapping[str, str] = MappingProxyType({})


Maker = Callable[[], Body]

_MILLISECOND = timedelta(milliseconds=1)
# Of a captured request, what belongs to the connection it came over; its proof is made anew.
_OF_CONNECTION = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "transfer-encoding"}
    | {name.decode() for name in PROXY_HEADERS}
)


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
        yield lambda: _with_headers(provider, what, what, provider.sample(what, now=now()))
    elif what == "-":
        yield from _fixed(provider, "-", sys.stdin.buffer.read(), lines=lines)
    elif (path := Path(what)).is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                yield from _of_file(provider, file, lines=lines)
    elif path.is_file():
        yield from _of_file(provider, path, lines=lines)
    else:
        known = ", ".join(provider.sample_events)
        raise click.BadParameter(
            f"{what!r} is neither a file or folder nor an event of {provider.name}; events: {known}", param_hint="WHAT"
        )


def _with_headers(provider: Provider, name: str, event: str, content: bytes) -> Body:
    """The body with what the provider says of that event in headers."""
    return Body(name, content, provider.sample_headers(event, content))


def _of_file(provider: Provider, path: Path, *, lines: bool) -> Iterator[Maker]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint="WHAT") from error
    if path.suffix == ".http":
        yield partial(_captured, path, content)
    else:
        yield from _fixed(provider, str(path), content, lines=lines)


def _captured(path: Path, content: bytes) -> Body:
    """A whole request as it was captured."""
    try:
        request = read_captured(content)
    except ValueError as error:
        raise click.BadParameter(f"{path} is no HTTP request: {error}", param_hint="WHAT") from None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    kept = {name: value for name, value in headers.items() if name not in _OF_CONNECTION}
    return Body(str(path), request.body, kept)


def _fixed(provider: Provider, name: str, content: bytes, *, lines: bool) -> Iterator[Maker]:
    """A file's name says which event it is, where the provider says it in a header: `push.json`."""
    event = Path(name).stem.removesuffix(".in") if name != "-" else provider.sample_events[0]
    if not lines:
        yield partial(_with_headers, provider, name, event, content)
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield partial(_with_headers, provider, f"{name}:{number}", event, line)
