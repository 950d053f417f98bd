"""What SQLite's errors mean: the file, the disk, or somebody else."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from bridge.errors import ConfigError, Problem, SpoolFailed, SpoolFull
from bridge.spool.sql import Driver

__all__ = ["Damaged", "opening", "using"]

_PERM, _BUSY, _READONLY, _IOERR, _FULL, _CANTOPEN = 3, 5, 8, 10, 13, 14
_IOERR_SHORT_READ = 522
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Damaged(Exception):
    """A file is not what was written; the message says where."""


@contextlib.contextmanager
def opening(path: Path, driver: Driver) -> Iterator[None]:
    """While a file is looked at: what is wrong with its content is `Damaged`.

    Raises:
        Damaged: the content.
        ConfigError: it is not ours to use.
        SpoolFull, SpoolFailed: the disk.
    """
    try:
        yield
    except driver.error as error:
        code = driver.code(error)
        kind = code & 0xFF
        if kind == _BUSY:
            found = f"{path.parent} is in use by another process, which holds {path}"
            raise ConfigError([Problem("BRIDGE_DATA_DIR", found, "a directory of this bridge alone")]) from error
        if kind in (_PERM, _READONLY, _CANTOPEN):
            raise _denied(path, str(error)) from error
        if kind == _FULL or (kind == _IOERR and code != _IOERR_SHORT_READ):
            raise _of_the_disk(path, error, code) from error
        raise Damaged(f"SQLite says of it: {error}") from error
    except UnicodeDecodeError as error:  # of a message of SQLite's that quotes the file
        raise Damaged("SQLite says something of it that is no text") from error
    except OSError as error:
        if error.errno in _DENIED:
            raise _denied(path, str(error.strerror)) from error
        raise _of_the_system(path, error) from error


@contextlib.contextmanager
def using(path: Path, driver: Driver) -> Iterator[None]:
    """While a store is in use.

    Raises:
        SpoolFull: no room; SQLite has rolled back.
        SpoolFailed: all else.
    """
    try:
        yield
    except driver.error as error:
        raise _of_the_disk(path, error, driver.code(error)) from error
    except OSError as error:
        raise _of_the_system(path, error) from error


def _of_the_disk(path: Path, error: Exception, code: int) -> SpoolFull | SpoolFailed:
    if code & 0xFF == _FULL:
        return SpoolFull(f"there is no room for {path}")
    return SpoolFailed(f"{path}: {error} (SQLite's code {code})")


def _of_the_system(path: Path, error: OSError) -> SpoolFull | SpoolFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpoolFull(f"there is no room in {path.parent}")
    return SpoolFailed(f"{error.filename or path.parent}: {error.strerror}")


def _denied(path: Path, reason: str) -> ConfigError:
    return ConfigError([Problem("BRIDGE_DATA_DIR", f"{path} cannot be used: {reason}", "files that can be written")])
