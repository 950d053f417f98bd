"""The container image: built from the Dockerfile without a network, started with a read-only root."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bridge.providers import PROVIDERS
from tests.brokers import NatsServer, stored
from tests.processes import TOKEN, wait_until
from tests.servers import free_ports
from tests.system.containers import ROOT, Buildah, Rootfs
from tests.system.helm import CHART, rendered, workload_pod

MAX_ADDED_MB = 115  # 107, of which cryptography is 17


class Contained:
    """`serve` in the image, on ports of its own."""

    def __init__(self, rootfs: Rootfs, log: Path, env: Mapping[str, str], **mounts: Path) -> None:
        self.port, ops_port = free_ports(2)
        self.log = log
        self.ready_url = f"http://127.0.0.1:{ops_port}/health/ready"
        ours = {"BRIDGE_LISTEN": f"127.0.0.1:{self.port}", "BRIDGE_OPS_LISTEN": f"127.0.0.1:{ops_port}"}
        command = rootfs.command(**mounts, **{**env, **ours})
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.ready_url).status_code == 200
        return False

    def post(self) -> httpx.Response:
        body = PROVIDERS["chatlevel"].sample("message.received", now=datetime.now(UTC))
        return httpx.post(f"http://127.0.0.1:{self.port}/webhooks/chatlevel/{TOKEN}", content=body, timeout=15)

    @property
    def pid(self) -> int:
        """Of the first process inside."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(20)


@contextlib.contextmanager
def serving(rootfs: Rootfs, log: Path, env: Mapping[str, str], **mounts: Path) -> Iterator[Contained]:
    contained = Contained(rootfs, log, env, **mounts)
    try:
        wait_until(contained.ready)
        yield contained
    finally:
        contained.process.kill()  # and with it the first process inside
        contained.process.wait()


def test_a_webhook_reaches_a_broker_from_inside_the_image_with_a_read_only_root(
    image: Rootfs, nats_process: NatsServer, tmp_path: Path
) -> None:
    nats_process.start()
    settings = {"BRIDGE_BROKER": nats_process.url, "BRIDGE_PROVISION": "create", "BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN}
    with serving(image, tmp_path / "log", settings) as contained:
        answer = contained.post()
        assert answer.status_code == 200, answer.text
        status = Path(f"/proc/{contained.pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s+10001\s+10001\s+10001$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert contained.stop() == 0
    (message,) = asyncio.run(stored(nats_process.url, "EVENTS"))
    assert answer.json()["ids"] == [json.loads(message.data)["id"]]
    assert "stopped" in contained.log.read_text()


def test_the_charts_pod_checks_and_serves_in_the_image(image: Rootfs, nats_process: NatsServer, tmp_path: Path) -> None:
    """Arguments and environment as in the manifest, secrets as the kubelet mounts them; only the broker differs."""
    nats_process.start()
    pod = workload_pod(rendered(CHART / "ci" / "00-minimal-values.yaml"))["spec"]
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    token = secrets / "BRIDGE_SOURCE_CHATLEVEL_TOKEN"
    token.write_text(TOKEN)
    token.chmod(0o440)
    os.chown(token, 0, pod["securityContext"]["fsGroup"])
    (check,), (bridge,) = pod["initContainers"], pod["containers"]
    assert bridge["args"] == image.config["Cmd"]
    env = {entry["name"]: entry["value"] for entry in bridge["env"]}
    env |= {"BRIDGE_BROKER": nats_process.url, "BRIDGE_PROVISION": "create"}
    checked = image.run(*check["args"], secrets=secrets, **env)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with serving(image, tmp_path / "log", env, secrets=secrets) as contained:
        assert contained.post().status_code == 200
        assert contained.stop() == 0


def test_nothing_in_the_image_can_be_written_to(image: Rootfs) -> None:
    for path in ("/x", "/data/x", "/tmp/x", "/opt/bridge/x"):
        done = image.run("python", "-c", f"open({path!r}, 'w')", entrypoint=False)
        assert "Read-only file system" in done.stderr


def test_the_image_has_what_runs_and_not_what_builds(image: Rootfs) -> None:
    names = {path.name for path in (image.path / "opt/bridge/bin").iterdir()}
    assert "webhook-bridge" in names
    assert not {"pip", "nats-server", "hatchling"} & names
    assert not (image.path / "build").exists()
    assert not (image.path / "src").exists()
    imports = image.run("python", "-c", "import aiokafka, cramjam, nats, nkeys, uvloop", entrypoint=False)
    assert imports.returncode == 0, imports.stderr
    assert image.run("--version").stdout.startswith("webhook-bridge, version ")


def test_the_image_is_small(image: Rootfs) -> None:
    added = sum(path.lstat().st_size for path in (image.path / "opt/bridge").rglob("*"))
    assert added / 1e6 < MAX_ADDED_MB


def test_a_configuration_problem_ends_the_container_and_names_the_variable(image: Rootfs) -> None:
    done = image.run("serve")
    assert done.returncode == 2
    assert "BRIDGE_BROKER: is not set" in done.stderr


def test_the_image_asked_for_a_broker_serves_with_its_own(buildah: Buildah, base: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 10001, 10001)
    with buildah.mounted(buildah.build("embedded", base, EMBEDDED="true")) as rootfs:
        (port,) = free_ports(1)
        settings = {
            "BRIDGE_BROKER": "embedded:",
            "BRIDGE_EMBEDDED_LISTEN": f"127.0.0.1:{port}",
            "BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN,
        }
        with serving(rootfs, tmp_path / "log", settings, data=data) as contained:
            assert contained.post().status_code == 200
            assert contained.stop() == 0
        assert any(data.iterdir())  # its store


def test_only_what_the_image_is_made_of_is_sent_to_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {"bridge", "requirements", "wheelhouse", "pyproject.toml", "README.md", "LICENSE"}
