"""Where the rest goes: py-spy samples the running bridge, and the samples become a table of functions."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

__all__ = ["recorded", "table"]

_ROWS = 40


@contextlib.contextmanager
def recorded(pid: int, seconds: float) -> Iterator[list[str]]:
    """The stacks sampled while the block runs, as lines `outer;inner count`; complete after it."""
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if py_spy is None:
        raise click.ClickException("py-spy is not installed: .venv/bin/pip install py-spy")
    lines: list[str] = []
    with tempfile.NamedTemporaryFile(mode="r") as out:
        options = ["--duration", str(round(seconds)), "--rate", "500", "--nonblocking", "--format", "raw"]
        with subprocess.Popen([py_spy, "record", "--pid", str(pid), *options, "--output", out.name]) as process:
            yield lines
            process.wait()
        lines += Path(out.name).read_text().splitlines()


def table(lines: list[str]) -> str:
    """Functions by the share of samples they were in, on top of the stack (own) or anywhere (with what they call)."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        within.update(dict.fromkeys(frames, int(count)))
    total = sum(own.values()) or 1
    rows = ["| function | own % | with callees % |", "|---|---|---|"]
    for name, samples in own.most_common(_ROWS):
        rows.append(f"| `{name}` | {samples / total:.1%} | {within[name] / total:.1%} |")
    return "\n".join(rows)
