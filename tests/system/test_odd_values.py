"""Values that are odd but legal, and what is wrong in a way that Kubernetes would take without a word."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.providers import BUILT_IN, PROVIDERS
from tests.system.helm import CHART, ci_files, helm, template, workload_pod

MINIMAL: dict[str, Any] = yaml.safe_load((CHART / "ci" / "00-minimal-values.yaml").read_text())
VERSION: str = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
TLS = CHART / "ci" / "tls-values.yaml"


def manifests_of(change: dict[str, Any]) -> list[dict[str, Any]]:
    """What the chart makes of the least values and these."""
    return [m for m in yaml.safe_load_all(template("-f", "-", stdin=json.dumps(MINIMAL | change)).stdout) if m]


def refused(change: dict[str, Any]) -> str:
    """What the chart says to them."""
    done = template("-f", "-", stdin=json.dumps(MINIMAL | change), check=False)
    assert done.returncode
    return done.stderr.replace("\n", " ")


def leaves(values: Any, path: str = "") -> set[str]:
    """Names of the values; what is empty, or a list, is one as a whole."""
    if not isinstance(values, dict) or not values:
        return {path}
    return {leaf for name, value in values.items() for leaf in leaves(value, f"{path}.{name}")}


def test_each_value_is_in_a_golden_manifest() -> None:
    """No value is there that nothing is made of, and each is held against the API server and three versions."""
    set_somewhere: set[str] = set().union(*(leaves(yaml.safe_load(file.read_text())) for file in ci_files()))
    known = leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
    assert {name for name in known if not any(f"{given}.".startswith(f"{name}.") for given in set_somewhere)} == set()


def test_a_version_with_build_metadata_makes_labels_and_a_tag_that_are_allowed(tmp_path: Path) -> None:
    """Such as `helm package --version 1.2.3+4f0c1a2` of a CI; a `+` is allowed in neither."""
    chart = tmp_path / "webhook-bridge"
    shutil.copytree(CHART, chart)
    about = chart / "Chart.yaml"
    about.write_text(about.read_text().replace(f"ersion: {VERSION}\n", f"ersion: {VERSION}+4f0c1a2\n"))
    options = ["-f", str(CHART / "ci" / "00-minimal-values.yaml"), "--kube-version", "1.34"]
    made = helm("template", "bridge", str(chart), *options).stdout
    assert f'app.kubernetes.io/version: "{VERSION}_4f0c1a2"' in made
    assert f'image: "registry.example.com/webhook-bridge:{VERSION}_4f0c1a2"' in made
    assert "+" not in made


def test_it_may_be_part_of_another_chart_twice_beside_global_values(tmp_path: Path) -> None:
    aliases = ("shops", "billing")
    parts = [{"name": "webhook-bridge", "version": VERSION, "alias": alias} for alias in aliases]
    about = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": parts}
    (tmp_path / "Chart.yaml").write_text(json.dumps(about))
    (tmp_path / "values.yaml").write_text(json.dumps({"global": {"team": "a"}} | dict.fromkeys(aliases, MINIMAL)))
    shutil.copytree(CHART, tmp_path / "charts" / "webhook-bridge")
    made = helm("template", "bridge", str(tmp_path), "--kube-version", "1.34").stdout
    workloads = [m for m in yaml.safe_load_all(made) if m and m["kind"] == "Deployment"]
    assert {workload["metadata"]["name"] for workload in workloads} == {"bridge-shops", "bridge-billing"}
    selected = {str(workload["spec"]["selector"]["matchLabels"]) for workload in workloads}
    assert len(selected) == 2


@pytest.mark.parametrize(
    ("given", "extra"),
    [
        ({"config": {"BRIDGE_LOG_LEVEL": "debug"}}, ["BRIDGE_LOG_LEVEL"]),
        ({"secrets": {"BRIDGE_NATS_TOKEN": {"name": "nats", "key": "token"}}}, ["BRIDGE_NATS_TOKEN_FILE"]),
        ({}, ["TZ", "TZ"]),
    ],
    ids=["config", "secrets", "extraEnv"],
)
def test_a_variable_is_set_once(given: dict[str, Any], extra: list[str]) -> None:
    """Of two of a name the last one counts, and a later upgrade may drop both: Kubernetes merges by name."""
    said = refused(given | {"extraEnv": [{"name": name, "value": "x"} for name in extra]})
    assert f"extraEnv: {extra[0]} is set twice" in said


@pytest.mark.parametrize("provider", sorted(BUILT_IN))
def test_a_rollout_waits_for_the_deadline_that_a_provider_has_by_itself(provider: str) -> None:
    deadline_ms = PROVIDERS[provider].deadline_ms
    source = {"name": "a", "provider": provider, "secrets": {"TOKEN": {"name": "a", "key": "b"}}}
    assert manifests_of({"sources": [source], "config": {"BRIDGE_SHUTDOWN_TIMEOUT_MS": deadline_ms}})
    said = refused({"sources": [source], "config": {"BRIDGE_SHUTDOWN_TIMEOUT_MS": deadline_ms - 1}})
    assert f"sources: a has DEADLINE_MS {deadline_ms}, longer than" in said


@pytest.mark.parametrize(
    ("resources", "fit"),
    [({}, False), ({"requests": None}, False), ({"requests": {"cpu": None}}, False), ({"limits": {"cpu": 1}}, True)],
    ids=str,
)
def test_autoscaling_by_a_part_of_no_request_is_refused(resources: dict[str, Any], fit: bool) -> None:  # noqa: FBT001
    """It would never scale; a limit is the request where there is none."""
    scaled = {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}} | resources}
    if fit:
        assert manifests_of(scaled)
    else:
        assert "autoscaling: resources.requests.cpu is not set" in refused(scaled)


@pytest.mark.parametrize(
    "values", [{"ingress": {"hosts": ["https://a.example"]}}, {"httpRoute": {"hostnames": ["a/b"]}}]
)
def test_a_host_that_is_a_url_is_refused(values: dict[str, Any]) -> None:
    assert "does not match pattern" in refused(values)


@pytest.mark.parametrize("name", ["hooks/token", "Hooks", "hooks_token", "-hooks", ""])
def test_a_name_that_no_secret_can_have_is_refused(name: str) -> None:
    """The API server takes it, and the pod would wait for it for ever."""
    source = {"name": "a", "provider": "chatlevel", "secrets": {"TOKEN": {"name": name, "key": "token"}}}
    assert "at '/sources/0/secrets/TOKEN/name'" in refused({"sources": [source]})


@pytest.mark.parametrize("key", [".", "..", "..token", "a/b", ""])
def test_a_key_that_no_secret_can_have_is_refused(key: str) -> None:
    source = {"name": "a", "provider": "chatlevel", "secrets": {"TOKEN": {"name": "hooks", "key": key}}}
    assert "at '/sources/0/secrets/TOKEN/key'" in refused({"sources": [source]})


def test_names_and_keys_that_secrets_have_are_taken() -> None:
    keys = {"TOKEN": {"name": "0.hooks-a.b", "key": ".a_B-c..d"}}
    assert manifests_of({"sources": [MINIMAL["sources"][0] | {"secrets": keys}]})


@pytest.mark.parametrize("repository", ["hooks:1.0", "reg.example.com:5000/hooks:1", f"hooks@sha256:{'0' * 64}"])
def test_a_repository_with_a_tag_is_refused_for_the_tag_has_a_value_of_its_own(repository: str) -> None:
    assert "at '/image/repository'" in refused({"image": {"repository": repository}})


@pytest.mark.parametrize("repository", ["hooks", "reg.example.com:5000/a/hooks", "localhost/hooks", "[::1]:5000/hooks"])
def test_a_repository_is_taken_with_a_port_and_folders(repository: str) -> None:
    (container,) = workload_pod(manifests_of({"image": {"repository": repository}}))["spec"]["containers"]
    assert container["image"] == f"{repository}:{VERSION}"


def test_further_volumes_may_have_any_name_but_the_two_of_the_pod() -> None:
    """The test's pod has one more, which nobody sees in the values; it was `ca`, as a user's own would be called."""
    options = ["-f", str(CHART / "ci" / "extras-values.yaml"), "-f", str(TLS)]
    for manifest in yaml.safe_load_all(template(*options).stdout):
        if manifest["kind"] in ("Deployment", "Pod"):
            pod = workload_pod([manifest]) if manifest["kind"] == "Deployment" else manifest
            names = [volume["name"] for volume in pod["spec"]["volumes"]]
            assert len(names) == len(set(names)) > 2
