"""The tables of docs/delivery.md, from tests/delivery.toml: what is answered in which state, and what proves it."""

from pathlib import Path

import msgspec

from bridge.ingest.outcomes import ACCEPTED, DEAD_LETTERED, OUTCOMES

__all__ = ["ROWS", "Row", "proofs_table", "truth_table"]

_SUCCESS = {ACCEPTED.code, DEAD_LETTERED.code}
_STATUS = {outcome.code: outcome.status for outcome in OUTCOMES}


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state.

    Attributes:
        state: of the broker, the spool or the delivery.
        setting: what it depends on; empty: nothing.
        answers: the codes of those that there can be; none: the connection is refused or breaks.
        within: when the answer is there, at the latest.
        where: the event is, when the answer is there.
        retry: what the provider's next attempt does.
        tests: what proves the row, `file::name`.
    """

    state: str
    setting: str
    answers: list[str]
    within: str
    where: str
    retry: str
    tests: list[str]


_CONTENT = (Path(__file__).parent / "delivery.toml").read_bytes()
ROWS = msgspec.toml.decode(_CONTENT, type=dict[str, list[Row]])["row"]
"""All of them, in the order of the page."""


def _answer(code: str) -> str:
    return "success" if code in _SUCCESS else f"{_STATUS[code]} `{code}`"


def truth_table() -> str:
    """What happens in which state."""
    lines = [
        "|  | state | setting | answer | within | where the event is | the provider's retry |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(ROWS, start=1):
        answers = " or ".join(map(_answer, row.answers)) or "none"
        cells = (row.state, row.setting, answers, row.within, row.where, row.retry)
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return "\n".join(lines)


def proofs_table() -> str:
    """Which tests stand behind each row."""
    lines = ["|  | tests |", "|---|---|"]
    for number, row in enumerate(ROWS, start=1):
        lines.append(f"| {number} | {'<br>'.join(f'`{test}`' for test in row.tests)} |")
    return "\n".join(lines)
