"""`webhook-bridge`: the group of commands and what they share.

Exit codes: 0 done, 1 it did not work (an event refused, a problem found), 2 wrong usage or configuration.
"""

import sys
from importlib.metadata import version

import click

from bridge.cli.check import check
from bridge.cli.send import send
from bridge.cli.serve import serve
from bridge.cli.tail import tail
from bridge.errors import ConfigError

__all__ = ["main"]


class _Group(click.Group):
    """Shows configuration problems as a list instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            count = len(error.problems)
            click.echo(f"The configuration has {count} problem{'s' if count > 1 else ''}:", err=True)
            for problem in error.problems:
                click.echo(f"  {problem}", err=True)
            sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("webhook-bridge"), prog_name="webhook-bridge")
def main() -> None:
    """Webhooks in, durable CloudEvents out: one topic per event type.

    All settings are BRIDGE_… environment variables; see the README's table. Start with `webhook-bridge serve`,
    then, in other terminals, `webhook-bridge tail` and `webhook-bridge send`.
    """


main.add_command(serve)
main.add_command(check)
main.add_command(send)
main.add_command(tail)
