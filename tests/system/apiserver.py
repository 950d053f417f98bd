"""A real Kubernetes API server on loopback: etcd and kube-apiserver, as setup.sh made them.

There are no nodes: objects are validated, admitted and stored, pods never run.
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import wait_until
from tests.servers import free_ports
from tests.system.containers import CACHE
from tests.system.crds import definitions

_TOKEN = "admin"


class ApiServer:
    """Requests to it, as its administrator."""

    def __init__(self, port: int) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.helm_flags = ("--kube-apiserver", self.url, "--kube-insecure-skip-tls-verify", "--kube-token", _TOKEN)
        headers = {"authorization": f"Bearer {_TOKEN}"}
        self._client = httpx.Client(base_url=self.url, headers=headers, verify=False, timeout=30)

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("/readyz").status_code == 200
        return False

    def get(self, path: str) -> dict[str, Any]:
        answer = self._client.get(path)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def post(self, path: str, content: dict[str, Any]) -> httpx.Response:
        return self._client.post(path, json=content, params={"fieldValidation": "Strict"})

    def find(self, path: str) -> dict[str, Any] | None:
        """None if there is no such object."""
        answer = self._client.get(path)
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    def lists(self, group: str, plural: str) -> bool:
        """Whether clients are told of these resources, and get them."""
        with contextlib.suppress(AssertionError):  # 503 while it takes a definition in
            told = (self.find(group) or {}).get("resources", ())
            return any(one["name"] == plural for one in told) and self.find(f"{group}/{plural}") is not None
        return False

    def patch(self, path: str, content: dict[str, Any]) -> None:
        kind = {"content-type": "application/merge-patch+json"}
        answer = self._client.patch(path, content=json.dumps(content), headers=kind)
        assert answer.status_code == 200, answer.text

    def make_namespace(self, name: str, **labels: str) -> None:
        metadata = {"name": name, "labels": {key.replace("__", "/"): value for key, value in labels.items()}}
        answer = self.post("/api/v1/namespaces", {"metadata": metadata})
        assert answer.status_code == 201, answer.text

    def make_custom_resources(self) -> None:
        """Take the definitions and return when they are served."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in definitions():
            answer = self.post(path, definition)
            assert answer.status_code == 201, answer.text
            spec = definition["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    group = f"/apis/{spec['group']}/{version['name']}"
                    wait_until(lambda group=group, plural=spec["names"]["plural"]: self.lists(group, plural))


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Running inside."""
    etcd, server = shutil.which("etcd"), CACHE / "bin" / "kube-apiserver"
    if etcd is None or not server.exists():
        pytest.fail("etcd or kube-apiserver is missing: run `make system`")
    port, etcd_port, peer_port = free_ports(3)
    etcd_url = f"http://127.0.0.1:{etcd_port}"
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
    commands: list[Sequence[str]] = [
        [
            etcd,
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        ],
        [
            str(server),
            f"--etcd-servers={etcd_url}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder}/certs",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://localhost",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            f"--token-auth-file={folder}/tokens.csv",
        ],
    ]
    with contextlib.ExitStack() as running:
        processes = [running.enter_context(_child(command, folder)) for command in commands]
        api = ApiServer(port)
        running.callback(api.close)

        def up() -> bool:
            for process in processes:
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
            return api.ready()

        wait_until(up, 120)
        yield api


@contextlib.contextmanager
def _child(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Ended with the test run, however that ends."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
