"""The progress bar of `send`, on a terminal alone."""

import contextlib
import time
from collections.abc import Iterator
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bridge.cli.sender import Plan, Sender
from bridge.cli.tally import Tally

__all__ = ["following"]

_REFRESH_S = 0.1


@contextlib.contextmanager
def following(plan: Plan, sender: Sender, tally: Tally, *, shown: bool) -> Iterator[None]:
    """Show how far it is, on standard error, which stays free of it when it is no terminal."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield
        return
    total = plan.total if plan.total is not None else plan.duration_s
    timed = plan.total is None
    columns = (TextColumn("sending"), BarColumn(), *(() if timed else (MofNCompleteColumn(),)), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.description}"), console=console, transient=True)
    task = progress.add_task("", total=total)
    began, done = time.monotonic(), Event()

    def refresh() -> None:
        while not done.wait(_REFRESH_S):
            elapsed_s = time.monotonic() - began
            progress.update(task, completed=elapsed_s if timed else tally.sent, description=_state(sender, tally))

    # A thread: the loop is busy with sending, and what the terminal takes must not delay it.
    thread = Thread(target=refresh, name="send-progress")
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
