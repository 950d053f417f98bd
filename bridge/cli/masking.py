"""Events as they are shown to people: no credentials unless asked for, nothing that a terminal would obey."""

import re
from typing import Any

import msgspec
from rich.markup import escape

__all__ = ["TOO_DEEP", "masked", "one_line", "plain", "pretty", "printable"]

TOO_DEEP = "(nested too deeply to be shown)"
_HIDDEN = "(hidden: a credential; --show-credentials shows it)"
_CREDENTIAL = re.compile(r"qr|pair", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def masked(data: Any, *, hide: bool = False) -> Any:  # noqa: ANN401 -- any JSON value
    """Without credentials, also where a provider calls them by another name.

    Args:
        data: of an event.
        hide: all of it is a credential, but for the device's id.

    Raises:
        RecursionError: it is nested too deeply to be looked through.
    """
    if isinstance(data, dict):
        return {
            name: value if name == "device_id" else masked(value, hide=hide or bool(_CREDENTIAL.search(name)))
            for name, value in data.items()
        }
    if isinstance(data, list):
        return [masked(item, hide=hide) for item in data]
    return _HIDDEN if hide and data is not None else data


def pretty(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    """JSON on several lines."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except RecursionError:  # as deep as can be decoded, and seen by nobody
        return TOO_DEEP
    return printable(text)


def printable(text: str) -> str:
    """Without what moves a terminal's cursor, but for line ends."""
    return _CONTROL.sub("�", text)


def one_line(text: str) -> str:
    """Without what moves a terminal's cursor, line ends among it."""
    return printable(text).replace("\n", "�")


def plain(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    """On one line, as markup that has no meaning."""
    return escape(one_line(str(value)))
