"""The spool's directory: made so that it survives a power cut, on a file system that can keep a promise, ours alone."""

import os
import re
from pathlib import Path

from bridge.errors import ConfigError, Problem

__all__ = ["file_system", "lock", "make_directory", "refuse_unfit", "replace_file", "reserve", "sync_directory"]

_VARIABLE = "BRIDGE_DATA_DIR"
# Locks and fsync of the network ones are not what SQLite needs; the others forget.
_UNFIT = re.compile(r"nfs\d?|cifs|smb\w*|9p|tmpfs|ramfs|ncpfs|afs|fuse\.(sshfs|s3fs|gcsfuse|rclone|smbnetfs)")
_MOUNTS = Path("/proc/self/mountinfo")


def make_directory(directory: Path) -> None:
    """Make it, for the owner alone, and have each new name on disk: a file in it is lost with its directory's name.

    Raises:
        ConfigError: it cannot be made.
    """
    absolute = directory.absolute()
    missing = [path for path in (absolute, *absolute.parents) if not path.exists()]
    try:
        absolute.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in missing:
            sync_directory(made.parent)
        sync_directory(absolute)
    except OSError as error:
        found = f"{directory} cannot be used: {error.strerror}"
        raise ConfigError([Problem(_VARIABLE, found, "a directory that can be written")]) from error


def refuse_unfit(directory: Path) -> None:
    """Nothing, on a file system that may be durable; whether its volume is, only the operator knows.

    Raises:
        ConfigError: it forgets at a restart, or is somebody else's over a network.
    """
    kind = file_system(directory)
    if kind is not None and _UNFIT.fullmatch(kind):
        found = f"{directory} is on {kind}, where the spool's events are not safe"
        expected = "a directory on a disk of this machine or on a block volume (ext4, xfs), or BRIDGE_SPOOL=off"
        raise ConfigError([Problem(_VARIABLE, found, expected)])


def file_system(path: Path, mounts: Path | None = None) -> str | None:
    """The type of the file system that the path is or would be on; None where the system does not tell."""
    try:
        lines = (mounts or _MOUNTS).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    target = os.path.realpath(path)
    found: tuple[int, str] | None = None
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), mount.split(" ")[4])
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and (found is None or len(point) >= found[0]):  # of equal ones the last is on top
            found = (len(point), rest.split(" ")[0])
    return None if found is None else found[1]


def lock(path: Path) -> int:
    """Make the spool ours until the returned descriptor is closed, which our end does too.

    Beside SQLite's own lock, which is on a file that a repair exchanges.

    Raises:
        ConfigError: it is another bridge's.
    """
    import fcntl  # noqa: PLC0415 -- not on Windows, where the rest of this program can be imported

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        found = f"{path.parent} is in use by another bridge, which holds {path}"
        raise ConfigError(
            [Problem(_VARIABLE, found, "a directory of this bridge alone, which drains its spool itself while it runs")]
        ) from error
    return descriptor


def replace_file(path: Path, content: bytes) -> None:
    """Write it whole or not at all. Not synced: after a power cut it may be what it was before, or nothing."""
    draft = path.with_name(f"{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    draft.replace(path)


def reserve(path: Path, size_bytes: int) -> None:
    """A file that takes up so much room, for nothing but to be removed.

    Raises:
        OSError: there is not so much.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Have the names in it on disk."""
    descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
