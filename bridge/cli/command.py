"""What the commands share: examples, in `--help` and, rendered from the same place, in the README."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

__all__ = ["Command", "Example", "broker_timeout"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Example(NamedTuple):
    """A line to type, and what it does."""

    line: str
    what: str


class Command(click.Command):
    """A command with examples."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.examples = tuple(Example(*example) for example in examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the examples below the options."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write_text(f"# {example.what}")
                    formatter.write_text(example.line)


def broker_timeout(meaning: str) -> Callable[[_F], _F]:
    """The option of commands that wait for a broker; they get it as `timeout_s`."""
    kind = click.FloatRange(min=0.1, max=600)
    return click.option("--timeout", "timeout_s", type=kind, default=10.0, show_default=True, help=meaning)
