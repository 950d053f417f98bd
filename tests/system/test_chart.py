"""The chart without a cluster: linted, rendered, held against schemas, and refusing what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import Config, helm_values, load, make_tables, survey
from bridge.providers import PROVIDERS
from tests.every_setting import every_setting
from tests.nats_keys import NatsOperator, new_key
from tests.system.crds import custom_resource_schema, validate_custom_resource
from tests.system.helm import (
    CHART,
    KUBE_VERSIONS,
    ci_files,
    golden_of,
    helm,
    rendered,
    template,
    workload_pod,
)

MINIMAL: dict[str, Any] = yaml.safe_load((CHART / "ci" / "00-minimal-values.yaml").read_text())
IMAGE = ("--set", "image.repository=registry.example.com/webhook-bridge")
SECRETS = Path("/etc/webhook-bridge")
SHOP: dict[str, Any] = {"name": "shop", "secrets": {"TOKEN": {"name": "webhook-bridge", "key": "shop-token"}}}

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
MAPS = sorted(name for name, value in DEFAULTS.items() if isinstance(value, dict))
PROBE = {"enabled": True, "secrets": {"TOKEN": {"name": "webhook-bridge", "key": "probe-token"}}}

each_ci_file = pytest.mark.parametrize("values", ci_files(), ids=lambda path: path.name.removesuffix("-values.yaml"))


@each_ci_file
def test_lint_has_nothing_to_say(values: Path) -> None:
    helm("lint", "--strict", str(CHART), "-f", str(values), "--kube-version", KUBE_VERSIONS[1])


@each_ci_file
def test_manifests_are_the_golden_ones(values: Path) -> None:
    assert golden_of(values).read_text() == template("-f", str(values)).stdout, "see the difference after: make gen"


@pytest.mark.parametrize("version", KUBE_VERSIONS)
@each_ci_file
def test_manifests_are_valid_in_each_kubernetes_version(values: Path, version: str) -> None:
    import kubernetes_validate  # noqa: PLC0415 -- not installed where only `make test` is run, which collects this file

    for manifest in rendered(values):
        if custom_resource_schema(manifest) is not None:
            validate_custom_resource(manifest)
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_first_ci_file_needs_no_custom_resource_and_the_others_need_both() -> None:
    first, *others = ci_files()
    assert not any(custom_resource_schema(manifest) for manifest in rendered(first))
    kinds = {m["kind"] for values in others for m in rendered(values) if custom_resource_schema(m)}
    assert kinds == {"HTTPRoute", "ServiceMonitor"}


def settings_in(values: Path, tmp_path: Path, certificate: tuple[str, str, str]) -> Config:
    """What the bridge reads from the container's environment."""
    authority, chain, key = certificate
    creds = NatsOperator().creds(new_key(b"U"))
    content = {"CA_FILE": authority, "CERT_FILE": chain, "KEY_FILE": key}
    (container,) = workload_pod(rendered(values))["spec"]["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    for name, value in env.items():
        if value.startswith(f"{SECRETS}/"):
            file = tmp_path / name
            kind = next((text for suffix, text in content.items() if name.endswith(suffix)), None)
            file.write_text(Path(kind).read_text() if kind else creds if "CREDS" in name else "k7Jq2mX9vB4tR8wZ1nLc")
            env[name] = str(file)
    env["BRIDGE_DATA_DIR"] = str(tmp_path)
    return load(env)


@each_ci_file
def test_the_bridge_takes_the_environment_that_the_chart_gives(
    values: Path, tmp_path: Path, certificate: tuple[str, str, str]
) -> None:
    """Every variable is one of this version's, and the values are right as they arrive."""
    config = settings_in(values, tmp_path, certificate)
    assert str(config.listen) == ("[::]:8080" if "listenAddress" in values.read_text() else "0.0.0.0:8080")


@pytest.mark.parametrize("off", [(), ("BRIDGE_DEAD_LETTER_TOPIC",)], ids=["set", "off"])
def test_the_exported_values_give_the_pods_every_setting_that_was_set(tmp_path: Path, off: tuple[str, ...]) -> None:
    """Whatever a variable can say the chart can, too; secrets and certificates come from files of Secrets alone."""
    env = every_setting(tmp_path) | dict.fromkeys(off, "")
    env |= {"BRIDGE_LISTEN": "0.0.0.0:8080", "BRIDGE_OPS_LISTEN": "0.0.0.0:8081", "BRIDGE_SHUTDOWN_TIMEOUT_MS": "60000"}
    del env["BRIDGE_EMBEDDED_LISTEN"]  # pods have no broker in them
    config, _ = survey(env)  # several logins do not go together, and are carried all the same
    values = helm_values(config, env)
    manifests = list(yaml.safe_load_all(template("-f", "-", *IMAGE, stdin=values).stdout))
    (container,) = workload_pod(manifests)["spec"]["containers"]
    given = {entry["name"]: entry["value"].replace(str(SECRETS), str(tmp_path)) for entry in container["env"]}
    assert given.keys() == env.keys()
    assert survey(given)[0] == config


def test_the_probes_topics_are_no_other_sources(tmp_path: Path, certificate: tuple[str, str, str]) -> None:
    """Neither by a rule about all sources nor by a template without `{source}`; credentials it never makes."""
    config = settings_in(CHART / "ci" / "probe-and-routes-values.yaml", tmp_path, certificate)
    tables = make_tables(config, PROVIDERS)
    made = {name for name in tables["probe"].known if name != "connection.auth"}
    topics = {route.topic for name in made for route in tables["probe"].find(name).routes}
    assert topics == {f"events.probe.{name}" for name in made}
    assert topics.isdisjoint(topic for topic, _ in tables["chatlevel"].topics())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"broker": None}, "broker: is not set"),
        ({"broker": "nats://user:secret@nats:4222"}, "broker"),
        ({"broker": "embedded:"}, "broker"),
        ({"brokers": "nats://nats:4222"}, "additional properties 'brokers' not allowed"),
        ({"image": None}, "image.repository: is not set"),
        ({"sources": []}, "sources: is empty"),
        ({"sources": [{"name": "Shop"}]}, "sources/0/name"),
        ({"sources": [SHOP, SHOP]}, 'sources: "shop" is there twice'),
        ({"sources": [{"name": "shop", "token": "x"}]}, "additional properties 'token' not allowed"),
        ({"sources": [{"name": "shop", "secrets": {"TOKEN": "plain"}}]}, "got string, want object"),
        ({"sources": [{"name": "shop", "config": {"DEADLINE_MS": 50}}]}, "minimum: got 50, want 100"),
        ({"sources": [SHOP | {"config": {"DEADLINE_MS": 20_000}}]}, "shop has DEADLINE_MS 20000, longer than"),
        (
            {"sources": [{"name": "shop"}]},
            "sources: shop has neither secrets.TOKEN, secrets.SECRET nor config.VERIFY: none",
        ),
        (
            {"sources": [SHOP | {"config": {"VERIFY": "token"}}, {"name": "till", "config": {"VERIFY": "token"}}]},
            "till",
        ),
        ({"sources": [SHOP | {"config": {"VERIFY": "none"}}]}, "shop has secrets and config.VERIFY: none"),
        ({"config": {"BRIDGE_SHUTDOWN_TIMEOUT_MS": 0}}, "longer than config.BRIDGE_SHUTDOWN_TIMEOUT_MS 0"),
        ({"extraEnv": [{"name": "BRIDGE_LISTEN", "value": ":1"}]}, "extraEnv: BRIDGE_LISTEN is set by the chart"),
        (
            {"extraEnv": [{"name": "BRIDGE_SHUTDOWN_TIMEOUT_MS", "value": "1"}]},
            "SHUTDOWN_TIMEOUT_MS is set by the chart",
        ),
        ({"extraEnv": [{"name": "BRIDGE_SOURCE_SHOP_VERIFY"}]}, "BRIDGE_SOURCE_SHOP_VERIFY is set by the chart"),
        ({"probe": {"enabled": True}}, "probe: has neither secrets.TOKEN, secrets.SECRET nor config.VERIFY: none"),
        ({"probe": PROBE | {"config": {"VERIFY": "none"}}}, "probe: has secrets and config.VERIFY: none"),
        ({"probe": PROBE | {"config": {"DEADLINE_MS": 20_000}}}, "probe has DEADLINE_MS 20000, longer than"),
        ({"probe": PROBE | {"config": {"SIGNATURE": "hmac-md5"}}}, "probe/config/SIGNATURE': value must be one of"),
        ({"probe": PROBE, "routes": ["probe:* -> elsewhere"]}, '"probe:* -> elsewhere" is about the probe'),
        ({"sources": [SHOP | {"provider": "github", "config": {"PATH": "x"}}]}, "'PATH' not allowed"),
        ({"sources": [SHOP | {"provider": "acme", "config": {"TOKEN": "x"}}]}, "config/TOKEN': got string, want null"),
        ({"config": {"BRIDGE_LOG_LEVL": "info"}}, "additional properties 'BRIDGE_LOG_LEVL' not allowed"),
        ({"config": {"BRIDGE_LOG_LEVEL": "loud"}}, "config/BRIDGE_LOG_LEVEL"),
        ({"config": {"BRIDGE_NATS_PASSWORD": "x"}}, "additional properties 'BRIDGE_NATS_PASSWORD' not allowed"),
        ({"secrets": {"BRIDGE_NATS_PASSWORD": {"name": "nats"}}}, "missing property 'key'"),
        ({"routes": ["chatlevel:* whatsapp"]}, "routes/0"),
        ({"replicas": "two"}, "at '/replicas': got string"),
        ({"config": {"BRIDGE_SPOOL": "on"}}, "additional properties 'BRIDGE_SPOOL' not allowed"),
        ({"extraEnv": [{"name": "BRIDGE_SPOOL", "value": "on"}]}, "BRIDGE_SPOOL is set by the chart"),
        ({"extraEnv": [{"name": "BRIDGE_SPOOL_MAX_BYTES", "value": "1"}]}, "SPOOL_MAX_BYTES is set by the chart"),
        (
            {"persistence": {"enabled": True, "size": "1087Mi"}},
            "MAX_BYTES 1073741824 and BRIDGE_SPOOL_MIN_FREE_BYTES 67108864 together; give it at least 1088Mi",
        ),
        (
            {"persistence": {"enabled": True}, "config": {"BRIDGE_SPOOL_MAX_BYTES": 2**33}},
            "persistence.size: 8Gi is less than config.BRIDGE_SPOOL_MAX_BYTES 8589934592",
        ),
        ({"autoscaling": {"enabled": True}, "persistence": {"enabled": True}}, "autoscaling and persistence:"),
        ({"autoscaling": {"enabled": True, "minReplicas": 9}}, "autoscaling: minReplicas 9 is more than maxReplicas 6"),
        ({"ingress": {"enabled": True}}, "ingress.hosts: is empty"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: is empty"),
        ({"shutdown": {"endpointRemovalSeconds": 0}}, "shutdown/endpointRemovalSeconds"),
    ],
    ids=str,
)
def test_wrong_values_are_refused_with_what_and_where(change: dict[str, Any], message: str) -> None:
    values = {name: value for name, value in (MINIMAL | change).items() if value is not None}
    done = template("-f", "-", stdin=json.dumps(values), check=False)
    assert done.returncode
    assert message in done.stderr.replace("\n", " ")


@pytest.mark.parametrize("size", ["1088Mi", "1140850688", "1115Mi", "2G", "2Gi", "1T", "7E"])
def test_a_volume_that_holds_the_spool_and_what_stays_free_is_taken_in_any_unit(size: str) -> None:
    values = MINIMAL | {"persistence": {"enabled": True, "size": size}}
    assert f"storage: {size}" in template("-f", "-", stdin=json.dumps(values)).stdout


@pytest.mark.parametrize("size", ["1", "1140850687", "1140M", "1G", "999999Ki"])
def test_a_volume_that_is_smaller_than_that_is_refused_in_any_unit(size: str) -> None:
    values = MINIMAL | {"persistence": {"enabled": True, "size": size}}
    done = template("-f", "-", stdin=json.dumps(values), check=False)
    assert f"persistence.size: {size} is less than" in done.stderr.replace("\n", " ")


@pytest.mark.parametrize("empty", [*MAPS, "service.port", "probe.enabled", "image.pullPolicy"])
def test_a_value_that_is_null_is_none_at_all_or_refused_by_its_name(empty: str) -> None:
    """Such as `secrets:` with nothing but comments below it; never a failure inside a template."""
    done = template("-f", str(CHART / "ci" / "00-minimal-values.yaml"), "--set", f"{empty}=null", check=False)
    above, _, name = empty.rpartition(".")
    where = f"/{above}" if above else ""
    assert not done.returncode or f"at '{where}': missing property '{name}'" in done.stderr


def test_names_are_texts_without_dots_and_short_enough_for_a_statefulsets_pods() -> None:
    """Its pods have its name, a dash and ten characters more as a label, of at most 63."""
    ci = (CHART / "ci" / f"{name}-values.yaml" for name in ("persistence", "ingress"))
    for values in ci:
        numbers = ["priorityClassName=1", "serviceAccount.name=2", "persistence.storageClass=3", "ingress.className=4"]
        names = ["fullnameOverride=5", "nameOverride=6", "sources[0].secrets.TOKEN.name=7"]
        chosen = [option for pair in [*numbers, *names] for option in ("--set-string", pair)]
        import kubernetes_validate  # noqa: PLC0415 -- as above

        for manifest in yaml.safe_load_all(template("-f", str(values), *chosen).stdout):
            kubernetes_validate.validate(manifest, KUBE_VERSIONS[1], strict=True)
            assert isinstance(manifest["metadata"]["name"], str)
    (name,) = names_with("a.b." + "c" * 49)
    assert name == "a-b-" + "c" * 48


def names_with(override: str) -> set[str]:
    """Of the workload."""
    options = ["-f", str(CHART / "ci" / "persistence-values.yaml"), "--set", f"fullnameOverride={override}"]
    manifests = yaml.safe_load_all(template(*options).stdout)
    return {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "StatefulSet"}


def test_what_the_kubelet_would_expand_arrives_as_it_was_written() -> None:
    """`$(NAME)` in a value is a reference to it, and `$$` stands for `$`."""
    user = {"config": {"BRIDGE_NATS_USER": "a$(HOME)$b"}, "routes": ["*:message.* -> whatsapp"]}
    done = template("-f", "-", stdin=json.dumps(MINIMAL | user))
    (container,) = workload_pod(list(yaml.safe_load_all(done.stdout)))["spec"]["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert env["BRIDGE_NATS_USER"] == "a$$(HOME)$$b"


@each_ci_file
def test_the_spool_is_on_where_there_is_a_volume_for_it_that_stays(values: Path) -> None:
    manifests = rendered(values)
    (workload,) = (manifest for manifest in manifests if manifest["kind"] in ("Deployment", "StatefulSet"))
    pod = workload_pod(manifests)["spec"]
    (container,) = pod["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert {"name": "data", "mountPath": env["BRIDGE_DATA_DIR"]} in container["volumeMounts"]
    persistent = "persistence:" in values.read_text()
    assert (env.get("BRIDGE_SPOOL") == "on") == (workload["kind"] == "StatefulSet") == persistent
    assert ("data" in [volume["name"] for volume in pod["volumes"]]) == (not persistent)
    if persistent:
        assert workload["spec"]["persistentVolumeClaimRetentionPolicy"] == dict.fromkeys(
            ("whenDeleted", "whenScaled"), "Retain"
        )
        (claim,) = workload["spec"]["volumeClaimTemplates"]
        assert claim["metadata"]["name"] == "data"
        assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"


@each_ci_file
def test_the_grace_period_covers_all_that_a_pod_does_before_its_end(values: Path) -> None:
    spec = workload_pod(rendered(values))["spec"]
    (container,) = spec["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    delay_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown_s = int(env.get("BRIDGE_SHUTDOWN_TIMEOUT_MS", 10_000)) / 1000
    assert spec["terminationGracePeriodSeconds"] >= delay_s + shutdown_s + 10


@each_ci_file
def test_secrets_are_files_and_nothing_else_knows_them(values: Path) -> None:
    """No Secret is made, none is read into the environment, and none is mounted where updates do not arrive."""
    manifests = rendered(values)
    assert not any(manifest["kind"] == "Secret" for manifest in manifests)
    (container,) = workload_pod(manifests)["spec"]["containers"]
    assert not any("valueFrom" in entry for entry in container["env"])
    assert not any("subPath" in mount for mount in container["volumeMounts"])
