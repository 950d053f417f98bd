"""One spool's accepting and draining as a process that may be killed at any system call: it tells what it was told.

`python -m tests.faults.spool_cycle FOLDER`: lines `took ID` after an append is durable, `gave ID` before a delete is
asked for; exit 0 when it went through, 3 when the spool has failed, with the reason on stderr.
"""

import sys
from pathlib import Path

from bridge.errors import SpoolFailed, SpoolFull
from bridge.spool.sql import encode
from bridge.spool.store import Store
from tests.spool.entries import entry, store_in

GROUPS, ROWS = 4, 5


def main(folder: Path) -> None:
    """Two rounds, so that the log is merged and begins anew in between."""
    store = store_in(folder)
    lanes: dict[tuple[str, str], None] = {}
    store.open(lambda lane, _source, _dedup_id: lanes.setdefault(lane))
    for group in range(GROUPS):
        entries = [entry(group * ROWS + row, key=f"k{row % 2}", size=700 * row + 10) for row in range(ROWS)]
        try:
            store.write([encode(item) for item in entries])
        except SpoolFull as full:
            say("full", str(full))
            continue
        for item in entries:
            lanes.setdefault((item.record.topic, item.record.key))
            say("took", item.record.dedup_id)
        if group % 2:
            drain(store, list(lanes))
            store.checkpoint()
            store.save_totals()
    store.close()


def drain(store: Store, lanes: list[tuple[str, str]]) -> None:
    """Take out most of what there is."""
    for lane in lanes:
        rows = store.read(lane, 4)
        for row in rows:
            say("gave", row.entry.record.dedup_id)
        store.write((), [row.seq for row in rows])


def say(*words: str) -> None:
    """Before anything else happens."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except SpoolFailed as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(3) from error
