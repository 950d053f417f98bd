"""The option value of `--since`: a time, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

import click

__all__ = ["SINCE"]

_AGO = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Since(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """UTC where the text names no zone."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            if ago := _AGO.fullmatch(text):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            time = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither such as 15m, 2h or 7d ago nor 2026-03-02T08:00 (UTC)", param, ctx)
        return time if time.tzinfo else time.replace(tzinfo=UTC)


SINCE = _Since()
