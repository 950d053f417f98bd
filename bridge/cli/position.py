"""How far a replay has come, in a file: so that it goes on after an interruption, and tries again what failed."""

import os
from pathlib import Path
from typing import Self

import msgspec

__all__ = ["Place", "Position", "PositionError"]


class PositionError(ValueError):
    """The file is not that of this replay."""


class Place(msgspec.Struct):
    """In one partition; NATS has the partition 0 alone.

    Attributes:
        next: what is stored from here on was not read yet.
        failed: of what was stored before, what is still to be replayed.
    """

    next: int = 0
    failed: set[int] = msgspec.field(default_factory=set)


class Position(msgspec.Struct, kw_only=True):
    """Of one replay.

    Attributes:
        topic: which it reads.
        source, reason: what it was begun for; another selection is another replay.
        places: by partition.
    """

    topic: str
    source: str | None = None
    reason: str | None = None
    places: dict[int, Place] = {}

    @classmethod
    def load(cls, path: Path, *, topic: str, source: str | None, reason: str | None) -> Self:
        """From the file; at the beginning where there is none.

        Raises:
            PositionError: it cannot be read, or is another replay's.
        """
        fresh = cls(topic=topic, source=source, reason=reason)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return fresh
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PositionError(f"{path} cannot be read as a position: {error}") from error
        if (found.topic, found.source, found.reason) != (topic, source, reason):
            raise PositionError(
                f"{path} is the position of a replay of {found.topic} with --source {found.source or 'any'} and "
                f"--reason {found.reason or 'any'}"
            )
        return found

    def begins(self) -> dict[int, int]:
        """Where to begin reading, by partition; empty at the very beginning."""
        return {number: min(place.failed | {place.next}) for number, place in self.places.items()}

    def wants(self, partition: int, seq: int) -> bool:
        """Whether this record is still to be replayed."""
        place = self.places.get(partition)
        return place is None or seq >= place.next or seq in place.failed

    def passed(self, partition: int, seq: int, *, failed: bool) -> None:
        """This record was read, and replayed or not."""
        place = self.places.setdefault(partition, Place())
        place.next = max(place.next, seq + 1)
        (place.failed.add if failed else place.failed.discard)(seq)

    def save(self, path: Path) -> None:
        """In one step: whatever happens, the file is the one before or this one."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.new")
        with scratch.open("wb") as file:
            file.write(msgspec.json.encode(self))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
