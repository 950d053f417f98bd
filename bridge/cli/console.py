"""The console that commands print to."""

import os
import sys

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

__all__ = ["PersonConsole"]

_NO_LIMIT = 10_000  # characters


class PersonConsole(Console):
    """Never wraps or colours by guessing; falls silent when its reader has gone, for the exit code is not its own."""

    def __init__(self, *, for_reader: bool = False) -> None:
        """Make one.

        Args:
            for_reader: what is printed is all that the command does: it ends when the reader has gone (`tail | head`).
        """
        super().__init__(highlight=False, soft_wrap=True)
        self._for_reader = for_reader

    def print_table(self, table: Table) -> None:
        """As wide as it is: a topic's name must not be broken, for it is copied, and searched for with grep."""
        for column in table.columns:
            column.no_wrap = True
        needed = Measurement.get(self, self.options.update(max_width=_NO_LIMIT), table).maximum
        self.width = max(self.width, needed)
        self.print(table, crop=False)

    def on_broken_pipe(self) -> None:
        """Whoever closes the pipe has seen enough; that alone is neither success nor failure."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if self._for_reader:
            raise SystemExit(0)
