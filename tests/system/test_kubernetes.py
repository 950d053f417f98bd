"""The chart on a real Kubernetes API server."""

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import load
from tests.brokers import NatsServer
from tests.processes import BridgeProcess, wait_until
from tests.system.apiserver import ApiServer, api_server
from tests.system.helm import CHART, NAMESPACE, RELEASE, ci_files, helm, rendered, template, workload_pod

INGRESS, MINIMAL, PROBE, SIGNING = (
    CHART / "ci" / f"{name}-values.yaml" for name in ("ingress", "00-minimal", "probe", "signing-sources")
)
SECRETS = "/etc/webhook-bridge"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-webhook-bridge"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        server.make_custom_resources()
        for name in (NAMESPACE, "all"):
            server.make_namespace(name)
        server.make_namespace("restricted", **{"pod-security.kubernetes.io__enforce": "restricted"})
        yield server


def test_install_upgrade_and_rollback(api: ApiServer) -> None:
    def release(*arguments: str) -> str:
        return helm(*arguments, *api.helm_flags, "--namespace", NAMESPACE).stdout

    notes = release("install", RELEASE, str(CHART), "-f", str(INGRESS))
    assert "chatlevel: https://hooks.example.com/webhooks/chatlevel/<token>" in notes
    assert f"kubectl get secret -n {NAMESPACE} webhook-bridge" in notes
    assert f"kubectl port-forward -n {NAMESPACE} deployment/{RELEASE}-webhook-bridge 8081" in notes
    first = api.get(DEPLOYMENT)["spec"]
    ingress = api.get(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses/{RELEASE}-webhook-bridge")
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/webhooks"

    change = ["--set", "routes[0]=chatlevel:message.* -> whatsapp", "--set", "replicas=3"]
    release("upgrade", RELEASE, str(CHART), "-f", str(MINIMAL), *change)
    second = api.get(DEPLOYMENT)["spec"]
    assert second["replicas"] == 3
    env = {entry["name"]: entry["value"] for entry in second["template"]["spec"]["containers"][0]["env"]}
    assert env["BRIDGE_ROUTES"] == "chatlevel:message.* -> whatsapp"

    release("rollback", RELEASE, "1")
    assert api.get(DEPLOYMENT)["spec"] == first
    assert "superseded" in release("history", RELEASE)


def test_an_upgrade_turns_persistence_on_and_off_and_autoscaling_on(api: ApiServer) -> None:
    """And leaves one workload each time."""
    api.make_namespace("turned")
    options = ["upgrade", "--install", "turned", str(CHART), "-f", str(MINIMAL), "--namespace", "turned"]
    for change, kind in (("", "Deployment"), ("persistence", "StatefulSet"), ("autoscaling", "Deployment")):
        helm(*options, *api.helm_flags, *(["--set", f"{change}.enabled=true"] if change else []))
        lists = [api.get(f"/apis/apps/v1/namespaces/turned/{name}") for name in ("deployments", "statefulsets")]
        assert [found["kind"] for found in lists if found["items"]] == [f"{kind}List"]


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ("ingress+http-route", "chatlevel: https://hooks.example.com/webhooks/chatlevel/<token>"),
        ("ingress+http-route", "chatlevel: https://hooks.example.org/webhooks/chatlevel/<token>"),
        ("persistence", f"statefulset/{RELEASE}-webhook-bridge 8081"),
        ("tls", "chatlevel: https://<the public name>/webhooks/chatlevel/<token>"),
        ("00-minimal", "chatlevel: http://<the public name>/webhooks/chatlevel/<token>"),
        (
            "signing-sources",
            "github: http://<the public name>/webhooks/github\n    its secret: kubectl get secret -n all",
        ),
        ("signing-sources", "support: https://support.example.com/webhooks/support\n    its secret: kubectl"),
        ("signing-sources", "    its verify token: kubectl get secret -n all meta -o go-template="),
    ],
)
def test_the_notes_follow_the_values(api: ApiServer, feature: str, said: str) -> None:
    values = [option for name in feature.split("+") for option in ("-f", str(CHART / "ci" / f"{name}-values.yaml"))]
    options = ["--dry-run=server", "--namespace", "all", *api.helm_flags]
    assert said in helm("install", RELEASE, str(CHART), *values, *options).stdout


@pytest.mark.parametrize("values", ci_files(), ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_server_takes_every_feature(api: ApiServer, values: Path) -> None:
    """Validated and admitted for real: names, selectors, probes, custom resources."""
    release = values.name.removesuffix("-values.yaml").lstrip("0-")
    helm("install", release, str(CHART), "-f", str(values), "--namespace", "all", *api.helm_flags)
    helm("upgrade", release, str(CHART), "-f", str(values), "--namespace", "all", *api.helm_flags)


def test_helm_waits_for_the_tests_pod_and_leaves_it_for_its_logs(api: ApiServer) -> None:
    """`helm test --logs` reads them after all is over, and fails where a pod that succeeded is deleted by then."""
    api.make_namespace("tested")
    flags = ["--namespace", "tested", *api.helm_flags]
    helm("install", "tested", str(CHART), "-f", str(PROBE), *flags)
    pod = "/api/v1/namespaces/tested/pods/tested-webhook-bridge-probe"
    for _ in range(2):  # the second run replaces the pod of the first
        with ThreadPoolExecutor() as threads:
            tested = threads.submit(helm, "test", "tested", *flags)
            wait_until(lambda: (api.find(pod) or {}).get("status", {}).get("phase") == "Pending")
            api.patch(f"{pod}/status", {"status": {"phase": "Succeeded"}})  # what its kubelet would
            assert "Phase:          Succeeded" in tested.result().stdout
        assert api.get(pod)["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize("values", ci_files(), ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_every_pod_is_let_into_a_namespace_that_enforces_restricted(api: ApiServer, values: Path) -> None:
    manifests = rendered(values)
    pods = [workload_pod(manifests), *(manifest for manifest in manifests if manifest["kind"] == "Pod")]
    for number, pod in enumerate(pods):
        name = f"{values.name.removesuffix('-values.yaml')}-{number}"
        answer = api.post("/api/v1/namespaces/restricted/pods", _named(pod, name))
        assert answer.status_code == 201, answer.text


def test_that_namespace_refuses_what_is_not_restricted(api: ApiServer) -> None:
    """The counter-proof: it is this chart's security context that lets the pods in."""
    pod = copy.deepcopy(workload_pod(rendered(MINIMAL)))
    del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    answer = api.post("/api/v1/namespaces/restricted/pods", _named(pod, "loose"))
    assert answer.status_code == 403
    assert 'violates PodSecurity \\"restricted' in answer.text


def _named(pod: dict[str, Any], name: str) -> dict[str, Any]:
    spec = {key: value for key, value in pod["spec"].items() if key != "priorityClassName"}  # needs the class
    # the claim of a StatefulSet's pod is made by its controller
    names = {volume["name"] for volume in spec["volumes"]}
    mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    claims = [{"name": missing, "persistentVolumeClaim": {"claimName": "x"}} for missing in mounted - names]
    volumes = [*spec["volumes"], *claims]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec | {"volumes": volumes}}


class _Cluster:
    """What the chart's containers would meet, on this machine: their files, the broker, the Service."""

    def __init__(self, manifests: list[dict[str, Any]], folder: Path, broker: str) -> None:
        self.manifests = manifests
        self._folder = folder
        self._broker = broker
        (container,) = workload_pod(manifests)["spec"]["containers"]
        mounted = [Path(entry["value"]) for entry in container["env"] if entry["value"].startswith(f"{SECRETS}/")]
        for number, path in enumerate(mounted):
            (folder / path.name).write_text(f"k7Jq2mX9vB4tR8wZ1nL{number}\n")

    def env(self, container: dict[str, Any]) -> dict[str, str]:
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        env = {name: value.replace(SECRETS, str(self._folder)) for name, value in env.items()}
        return env | {"BRIDGE_BROKER": self._broker}


HTTPS = [f"secrets.BRIDGE_TLS_{file}_FILE.{part}=x" for file in ("CERT", "KEY") for part in ("name", "key")]
UNPROVEN = ["probe.secrets=null", "probe.config.VERIFY=none"]


@pytest.mark.parametrize(
    "release",
    [(PROBE, [], "http"), (PROBE, HTTPS, "https"), (SIGNING, [], "http"), (PROBE, UNPROVEN, "http")],
    ids=["token", "https", "signed", "unproven"],
)
def test_the_helm_test_passes_against_the_release_and_fails_without(
    bridge: Callable[..., BridgeProcess],
    nats_process: NatsServer,
    tmp_path: Path,
    certificate: tuple[str, str, str],
    release: tuple[Path, list[str], str],
) -> None:
    """Its command as it stands in the manifest, in a process of this machine; only addresses and paths differ."""
    nats_process.start()
    values, changes, scheme = release
    chosen = [option for change in changes for option in ("--set", change)]
    manifests = [manifest for manifest in yaml.safe_load_all(template("-f", str(values), *chosen).stdout) if manifest]
    cluster = _Cluster(manifests, tmp_path, nats_process.url)
    authority, *pair = certificate
    for name, file in zip(("CERT", "KEY"), pair, strict=True):
        shutil.copy(file, tmp_path / f"BRIDGE_TLS_{name}_FILE")
    (container,) = workload_pod(manifests)["spec"]["containers"]
    (test_pod,) = (manifest for manifest in manifests if manifest["kind"] == "Pod")
    (probe,) = test_pod["spec"]["containers"]
    settings = cluster.env(container) | {"BRIDGE_PROVISION": "create"}
    del settings["BRIDGE_DATA_DIR"]
    for own in ("BRIDGE_LISTEN", "BRIDGE_OPS_LISTEN"):
        del settings[own]
    running = bridge(**settings)
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]  # the chart gives a file
    running.start()

    def run_probe(**other: str) -> subprocess.CompletedProcess[str]:
        here = {
            f"{scheme}://{RELEASE}-webhook-bridge:80": f"{scheme}://localhost:{running.port}",
            "/etc/webhook-bridge-ca/ca.crt": authority,
        }
        options = (argument.partition("=") for argument in probe["args"])
        arguments = [f"{name}{sign}{here.get(value, value)}" for name, sign, value in options]
        assert f"--url={scheme}://localhost:{running.port}" in arguments
        env = {**os.environ, **cluster.env(probe), "BRIDGE_DATA_DIR": str(tmp_path / "none"), **other}
        command = [sys.executable, "-m", "bridge", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    done = run_probe()
    assert done.returncode == 0, done.stderr
    assert "came through to events.probe." in done.stdout
    if changes != UNPROVEN:  # it is the mounted secret that proves it
        kind = "SECRET_FILE" if values == SIGNING else "TOKEN_FILE"
        (tmp_path / "another").write_text("another-7f3a9c1e5b8d2460")
        done = run_probe(**{f"BRIDGE_SOURCE_PROBE_{kind}": str(tmp_path / "another")})
        assert "answered 401" in done.stderr
    running.stop()
    assert run_probe().returncode == 1


def test_the_init_container_checks_what_the_bridge_will_read(tmp_path: Path) -> None:
    """Its command as it stands in the manifest: right passes, a missing token ends it with the variable's name."""
    manifests = rendered(MINIMAL)
    cluster = _Cluster(manifests, tmp_path, "nats://127.0.0.1:4222")
    (check,) = workload_pod(manifests)["spec"]["initContainers"]
    env = cluster.env(check) | {"BRIDGE_DATA_DIR": str(tmp_path / "none")}
    load(env)

    def run_check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bridge", *check["args"]]
        return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False)

    assert run_check().returncode == 0
    (tmp_path / "BRIDGE_SOURCE_CHATLEVEL_TOKEN").unlink()
    done = run_check()
    assert done.returncode != 0
    assert "BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE" in done.stdout + done.stderr
