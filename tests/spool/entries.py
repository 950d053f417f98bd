"""Entries to spool, and a store for them that takes any file system."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bridge.publishers.base import Record
from bridge.spool.model import Entry
from bridge.spool.store import Store

__all__ = ["AT", "entry", "ids_of", "quick_folder", "store_in"]

AT = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)


def entry(number: int, *, key: str = "480213", topic: str = "t.a", size: int = 100) -> Entry:
    """One of its own."""
    value = (str(number).encode() + b"|").ljust(size, b"x")
    return Entry("shop1", Record(topic, key, value, {"ce-id": f"e{number}"}, f"e{number}@{topic}", 60), AT)


def store_in(folder: Path, **settings: object) -> Store:
    """A store in a directory below; a developer's temporary directory is often a tmpfs, which it would refuse."""
    return Store(folder / "spool", refuse=lambda _path: None, **settings)  # type: ignore[arg-type]


def ids_of(store: Store) -> list[str]:
    """Open it, and give the dedup ids of its rows in their order."""
    found: list[str] = []
    store.open(lambda _lane, _source, dedup_id: found.append(dedup_id))
    return found


@contextlib.contextmanager
def quick_folder() -> Iterator[Path]:
    """One in memory where there is such a thing, for tests that open a spool many times and prove nothing of fsync."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)
