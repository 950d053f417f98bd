"""The console that commands print to."""

import os
import sys

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

__all__ = ["PersonConsole"]

_NO_LIMIT = 10_000  # characters


class PersonConsole(Console):
    """Never wraps or colours by guessing; ends quietly when its reader has gone (`tail | head`)."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True)

    def print_table(self, table: Table) -> None:
        """As wide as it is: a topic's name must not be broken, for it is copied, and searched for with grep."""
        for column in table.columns:
            column.no_wrap = True
        needed = Measurement.get(self, self.options.update(max_width=_NO_LIMIT), table).maximum
        self.width = max(self.width, needed)
        self.print(table, crop=False)

    def on_broken_pipe(self) -> None:
        """Success: whoever closes the pipe has seen enough."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0)
