"""`webhook-bridge`: the group of commands and what they share.

Exit codes: 0 done, 1 it did not work (an event refused, a problem found), 2 wrong usage or configuration.
"""

import sys
from importlib import import_module
from importlib.metadata import version

import click

from bridge.errors import ConfigError, SpoolError

__all__ = ["COMMANDS", "main"]

COMMANDS = (
    "serve",
    "check",
    "routes",
    "explain",
    "send",
    "tail",
    "register",
    "replay",
    "drain",
    "export",
    "selftest",
)
"""In the order of `--help`. Each is the function of that name in the module of that name."""


class _Group(click.Group):
    """Imports a command when it is called: `check` shall not wait for the web framework of `serve`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"bridge.cli.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Show configuration problems as a list instead of a traceback."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            count = len(error.problems)
            click.echo(f"The configuration has {count} problem{'s' if count > 1 else ''}:", err=True)
            for problem in error.problems:
                click.echo(f"  {problem}", err=True)
            sys.exit(2)
        except SpoolError as error:
            click.echo(f"The spool cannot be used: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("webhook-bridge"), prog_name="webhook-bridge")
def main() -> None:
    """Webhooks in, durable CloudEvents out: one topic per event type.

    All settings are BRIDGE_… environment variables; see the README's table. Start with `webhook-bridge serve`,
    then, in other terminals, `webhook-bridge tail` and `webhook-bridge send`.
    """
