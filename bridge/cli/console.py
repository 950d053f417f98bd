"""The console that commands print to."""

import os
import sys

from rich.console import Console

__all__ = ["PersonConsole"]


class PersonConsole(Console):
    """Never wraps or colours by guessing; ends quietly when its reader has gone (`tail | head`)."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Success: whoever closes the pipe has seen enough."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0)
