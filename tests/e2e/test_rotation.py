"""Changed secret and certificate files are taken up without a restart; a bad one keeps the old and says so."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme
from prometheus_client import generate_latest

from bridge.rotation import Rotating, Rotation
from bridge.telemetry.facts import Facts
from bridge.telemetry.metrics import Metrics
from tests.e2e.test_flow import logged, sample
from tests.processes import TOKEN, BridgeProcess, wait_until

Make = Callable[..., BridgeProcess]
NEXT = "next-canary-81b2c3d4e5f60718"
VARIABLE = "BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE"


class Mounted:
    """A folder as the kubelet mounts a Secret: files are links into a version, which one rename exchanges."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = 0
        folder.mkdir()

    def put(self, **files: str) -> None:
        self._versions += 1
        version = self.folder / f"..v{self._versions}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_text(content)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        draft = self.folder / "..data_tmp"
        draft.symlink_to(version.name)
        draft.rename(self.folder / "..data")


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path / "secret")


def with_token_file(bridge: Make, mounted: Mounted) -> BridgeProcess:
    mounted.put(token=f"{TOKEN}\n")
    running = bridge(**{VARIABLE: str(mounted.folder / "token")})
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    return running.start()


def status(running: BridgeProcess, token: str) -> int:
    return httpx.post(running.url.replace(TOKEN, token), content=sample()).status_code


def test_a_changed_token_file_is_taken_up_within_seconds(bridge: Make, mounted: Mounted) -> None:
    running = with_token_file(bridge, mounted)
    assert (status(running, TOKEN), status(running, NEXT)) == (200, 401)
    mounted.put(token=f"{NEXT}\n{TOKEN}\n")  # both, until the provider has the new URL
    wait_until(lambda: status(running, NEXT) == 200, 5)
    assert status(running, TOKEN) == 200
    mounted.put(token=NEXT)
    wait_until(lambda: status(running, TOKEN) == 401, 5)
    assert status(running, NEXT) == 200
    wait_until(lambda: [line["variable"] for line in logged(running, "file_taken_up")] == [VARIABLE, VARIABLE])
    assert NEXT not in running.log.read_text()


@pytest.mark.parametrize("content", ["short", " , "])
def test_a_bad_token_file_keeps_the_old_token_and_says_so(bridge: Make, mounted: Mounted, content: str) -> None:
    running = with_token_file(bridge, mounted)

    def warnings() -> str:
        return " ".join((running.readiness() or {})["warnings"])

    mounted.put(token=content)
    wait_until(lambda: VARIABLE in warnings(), 5)
    assert (status(running, TOKEN), status(running, NEXT)) == (200, 401)
    assert running.ready()
    metrics = httpx.get(f"http://127.0.0.1:{running.ops_port}/metrics").text
    assert f'bridge_files_reread_total{{outcome="refused",variable="{VARIABLE}"}} 1.0' in metrics
    mounted.put(token=NEXT)
    wait_until(lambda: VARIABLE not in warnings(), 5)
    assert status(running, NEXT) == 200
    (refused,) = wait_until(lambda: logged(running, "file_refused"))
    assert refused["reason"]
    assert "short" not in refused["reason"]


def test_a_renewed_certificate_is_shown_to_new_connections_and_a_bad_pair_is_not(
    bridge: Make, mounted: Mounted
) -> None:
    authority = trustme.CA()
    first, second, third = (authority.issue_cert("localhost", "127.0.0.1") for _ in range(3))

    def pems(issued: trustme.LeafCert) -> dict[str, str]:
        return {"crt": issued.cert_chain_pems[0].bytes().decode(), "key": issued.private_key_pem.bytes().decode()}

    mounted.put(**pems(first))
    files = {"BRIDGE_TLS_CERT_FILE": "crt", "BRIDGE_TLS_KEY_FILE": "key"}
    running = bridge(**{name: str(mounted.folder / file) for name, file in files.items()}).start()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def shown(host: str) -> str:
        with (
            socket.create_connection(("127.0.0.1", running.port)) as connection,
            trusting.wrap_socket(connection, server_hostname=host) as secured,
        ):
            return ssl.DER_cert_to_PEM_cert(secured.getpeercert(True) or b"")

    def certificate(issued: trustme.LeafCert) -> str:
        return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pems(issued)["crt"]))

    hosts = ("localhost", "127.0.0.1")  # the second one names no host in its handshake
    assert {shown(host) for host in hosts} == {certificate(first)}
    mounted.put(**pems(second))
    wait_until(lambda: shown("localhost") == certificate(second), 5)
    assert {shown(host) for host in hosts} == {certificate(second)}
    mounted.put(crt=pems(third)["crt"], key=pems(first)["key"])
    (refused,) = wait_until(lambda: logged(running, "file_refused"), 5)
    assert "do not load as a pair" in refused["reason"]
    assert {shown(host) for host in hosts} == {certificate(second)}
    mounted.put(**pems(third))
    wait_until(lambda: shown("localhost") == certificate(third), 5)
    assert httpx.post(running.url.replace("http:", "https:"), content=sample(), verify=trusting).status_code == 200


async def test_a_file_that_is_still_being_written_is_not_taken_up(tmp_path: Path) -> None:
    file, taken = tmp_path / "token", []
    file.write_text("a")
    rotation = Rotation([Rotating("X", (file,), lambda: taken.append(file.read_text()))], Facts(Metrics()))
    await rotation.look()
    for length in range(2, 5):
        file.write_text("a" * length)
        await rotation.look()
    assert taken == ["a"]
    await rotation.look()
    await rotation.look()
    assert taken == ["a", "aaaa"]


async def test_what_passes_by_itself_is_tried_again_and_said_once(tmp_path: Path) -> None:
    file, metrics, trials = tmp_path / "token", Metrics(), 0
    file.write_text("a")
    unreadable = False

    def take_up() -> None:
        nonlocal trials
        trials += 1
        if unreadable:
            raise OSError(5, "Input/output error")

    rotation = Rotation([Rotating("X", (file,), take_up)], Facts(metrics))
    await rotation.look()
    file.write_text("ab")
    unreadable = True
    for _look in range(4):
        await rotation.look()
    assert set(rotation.refused) == {"X"}
    unreadable = False
    await rotation.look()
    assert not rotation.refused
    before = trials
    await rotation.look()
    assert trials == before, "what is in use is not taken up again"
    assert b'outcome="refused",variable="X"} 1.0' in generate_latest(metrics.registry)


async def test_a_good_file_that_comes_back_as_it_was_is_named_no_longer(tmp_path: Path) -> None:
    file, aside = tmp_path / "token", tmp_path / "aside"
    file.write_text("a")
    rotation = Rotation([Rotating("X", (file,), file.read_text)], Facts(Metrics()))
    await rotation.look()
    file.rename(aside)
    for _look in range(2):
        await rotation.look()
    assert rotation.refused == {"X": "FileNotFoundError"}
    aside.rename(file)
    for _look in range(2):
        await rotation.look()
    assert not rotation.refused
