"""The progress bar of commands that take a while, on a terminal alone."""

import contextlib
import time
from collections.abc import Callable, Iterator
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bridge.cli.sender import Plan, Sender
from bridge.cli.tally import Tally

__all__ = ["Shown", "following", "progressing"]

_REFRESH_S = 0.1

Shown = Callable[[], tuple[float, float | None, str]]
"""How far it is, of how much as far as that is known, and a text with markup."""


@contextlib.contextmanager
def following(plan: Plan, sender: Sender, tally: Tally, *, shown: bool) -> Iterator[None]:
    """Show how far `send` is."""
    total = plan.total if plan.total is not None else plan.duration_s
    timed, began = plan.total is None, time.monotonic()

    def state() -> tuple[float, float | None, str]:
        return time.monotonic() - began if timed else tally.sent, total, _state(sender, tally)

    with progressing("sending", state, counted=not timed, shown=shown):
        yield


@contextlib.contextmanager
def progressing(what: str, state: Shown, *, counted: bool = True, shown: bool) -> Iterator[None]:
    """Show how far it is, on standard error, which stays free of it when it is no terminal.

    Args:
        what: is done.
        state: asked again and again, by another thread.
        counted: whether the numbers are counts, and shown.
        shown: False: nothing at all.
    """
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield
        return
    columns = (TextColumn(what), BarColumn(), *((MofNCompleteColumn(),) if counted else ()), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.description}"), console=console, transient=True)
    task, done = progress.add_task("", total=None), Event()

    def refresh() -> None:
        while not done.wait(_REFRESH_S):
            completed, total, text = state()
            progress.update(task, completed=completed, total=total, description=text)

    # A thread: the loop is busy with the work, and what the terminal takes must not delay it.
    thread = Thread(target=refresh, name="progress")
    with progress:
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _state(sender: Sender, tally: Tally) -> str:
    parts = [f"[green]{tally.accepted} accepted[/green]"]
    if tally.failed:
        parts.append(f"[red]{tally.failed} failed[/red]")
    if sender.waiting:
        parts.append(f"[yellow]{sender.waiting} wait to be tried again[/yellow]")
    return ", ".join(parts)
