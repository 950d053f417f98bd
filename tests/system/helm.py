"""The helm program, and the chart as it renders."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.containers import CACHE, ROOT

CHART = ROOT / "helm" / "webhook-bridge"
GOLDENS = Path(__file__).parent / "goldens"
RELEASE, NAMESPACE = "bridge", "hooks"
KUBE_VERSIONS = ("1.30", "1.34", "1.37")  # the oldest that the chart allows, the API server's, the newest


def ci_files() -> list[Path]:
    """One values file a feature, the plainest first."""
    return sorted((CHART / "ci").glob("*-values.yaml"))


def golden_of(values: Path) -> Path:
    """What the chart makes of it."""
    return GOLDENS / f"{values.name.removesuffix('-values.yaml')}.yaml"


def find_helm() -> str | None:
    """Where helm is: as setup.sh built it, else on the PATH."""
    built = CACHE / "bin" / "helm"
    return str(built) if built.exists() else shutil.which("helm")


def helm(*arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run helm; a failure shows what it said."""
    program = find_helm()
    if program is None:
        pytest.fail("helm is missing: run `make system`")
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def template(*arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """`helm template`; helm from Go's tools believes in Kubernetes 1.20, so the version is said."""
    options = ["--namespace", NAMESPACE, "--kube-version", KUBE_VERSIONS[1]]
    return helm("template", RELEASE, str(CHART), *options, *arguments, stdin=stdin, check=check)


def rendered(values: Path) -> list[dict[str, Any]]:
    """The manifests of a values file."""
    return [manifest for manifest in yaml.safe_load_all(template("-f", str(values)).stdout) if manifest]


def workload_pod(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod template among them."""
    (workload,) = (m for m in manifests if m["kind"] in ("Deployment", "StatefulSet"))
    pod: dict[str, Any] = workload["spec"]["template"]
    return pod
