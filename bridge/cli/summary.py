"""What `send` says at its end, for people."""

from typing import Any

from rich.table import Table

from bridge.cli.console import PersonConsole
from bridge.cli.masking import plain

__all__ = ["show_summary"]

_ENOUGH = 0.95


def show_summary(report: dict[str, Any], *, asked_rate: float | None) -> None:
    """The report of a `Tally` as a table of answers and two lines.

    Args:
        report: see `Tally.report`.
        asked_rate: how many a second were asked for.
    """
    console = PersonConsole()
    table = Table("answer", "error", "count", "detail", box=None, pad_edge=False, header_style="dim")
    for answer in report["answers"]:
        colour = "red" if answer["error"] else "green"
        status = "none" if answer["status"] is None else answer["status"]
        detail = plain(answer["detail"] or "")
        table.add_row(f"[{colour}]{status}[/{colour}]", plain(answer["error"] or ""), str(answer["count"]), detail)
    console.print_table(table)
    console.print(
        f"{report['sent']} sent in {report['seconds']:.1f} s ({report['rate']:g}/s): {report['accepted']} accepted, "
        f"{report['failed']} failed, {report['retries']} retries"
    )
    if latency := report["latency_ms"]:
        console.print("latency " + ", ".join(f"{name} {value:.1f} ms" for name, value in latency.items()))
    if asked_rate is not None and report["rate"] < asked_rate * _ENOUGH:
        console.print(
            f"[yellow]{asked_rate:g}/s were asked for: this machine, or --concurrency, does not reach it[/yellow]"
        )
