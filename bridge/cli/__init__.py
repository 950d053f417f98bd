"""The command line: one file a command."""

from bridge.cli.main import main

__all__ = ["main"]
