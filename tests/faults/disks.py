"""Disks that are full, and system calls that fail. Needs root, `mount` and `strace`."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Disk", "FailingSync"]

_MIB = 1024 * 1024


class Disk:
    """A small file system of its own.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, folder: Path, size_mib: int) -> None:
        """Not mounted yet.

        Args:
            folder: for the image and the mount.
            size_mib: what the image has; a twentieth of it is the file system's own.
        """
        self._image = folder / "disk.img"
        self._size_mib = size_mib
        self.path = folder / "disk"

    @contextlib.contextmanager
    def mounted(self) -> Iterator["Disk"]:
        with self._image.open("wb") as image:
            image.truncate(self._size_mib * _MIB)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(self._image)], check=True)
        self.path.mkdir()
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.path)], check=True)
        try:
            yield self
        finally:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    @property
    def free_bytes(self) -> int:
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Somebody else's file takes the room."""
        block = b"x" * 65_536
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while self.free_bytes > leave_bytes:
                ballast.write(block)

    def clear(self) -> None:
        """That file is gone."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"


class FailingSync:
    """Runs a command whose fsync and fdatasync fail, kill or take long from some call on, by each thread."""

    def __init__(self, log: Path, what: str) -> None:
        """Not run yet.

        Args:
            log: what was called and when.
            what: as `strace -e inject` takes it: `error=EIO:when=40+`.
        """
        self._log = log
        tracing = ["-e", "trace=fsync,fdatasync", "-e", f"inject=fsync,fdatasync:{what}"]
        self.within = ("strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-o", str(log), *tracing)

    def first_failure(self) -> float | None:
        """When, in unix time."""
        found = re.search(r"^\d+ +(\S+) .*\((INJECTED|DELAYED)\)", self._log.read_text(), re.MULTILINE)
        return None if found is None else float(found[1])
