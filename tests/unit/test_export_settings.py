"""`export env` and `export helm-values`: the same settings, elsewhere."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest
import yaml

from bridge.config import Secret, env_example, env_file, helm_values, load, survey
from tests.generated_chart import CHART
from tests.processes import run_here
from tests.stub_provider import StubProvider

SECRET = "canary-7f3a9c1e5b8d2460"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Something of every kind."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    return {
        "BRIDGE_SOURCES": "shop-1=chatlevel,chatlevel,open-2=chatlevel",
        "BRIDGE_BROKER": "kafka://kafka-0,kafka-1",
        "BRIDGE_PROVISION": "off",
        "BRIDGE_KAFKA_SASL": "plain",
        "BRIDGE_KAFKA_USER": "bridge",
        "BRIDGE_KAFKA_PASSWORD": SECRET,
        "BRIDGE_KAFKA_TLS": "true",
        "BRIDGE_ROUTES": "# no rule\n*:call -> drop\nshop-1:message.* -> whatsapp.messages key={contact}".partition(
            "\n"
        )[2],
        "BRIDGE_DEDUP_WINDOW_S": "4600",
        "BRIDGE_LISTEN": "0.0.0.0:8080",
        "BRIDGE_SOURCE_SHOP_1_TOKEN": SECRET,
        "BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE": str(token),
        "BRIDGE_SOURCE_CHATLEVEL_DEVICES": "480213,480214",
        "BRIDGE_SOURCE_CHATLEVEL_DEADLINE_MS": "2500",
        "BRIDGE_SOURCE_CHATLEVEL_RATE_LIMIT": "100/s",
        "BRIDGE_SOURCE_OPEN_2_VERIFY": "none",
    }


def values(env: dict[str, str]) -> tuple[dict[str, Any], str]:
    result = run_here("export", "helm-values", env=env)
    assert result.exit_code == 0
    return yaml.safe_load(result.output), result.output


def test_the_environment_file_gives_the_same_configuration_but_for_secrets(env: dict[str, str]) -> None:
    text = run_here("export", "env", env=env).output
    assert SECRET not in text
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert given.keys() == env.keys() - {"BRIDGE_KAFKA_PASSWORD", "BRIDGE_SOURCE_SHOP_1_TOKEN"}
    missing = dict.fromkeys(env.keys() - given.keys(), SECRET)
    again, before = load(given | missing), load(env)
    assert again.routes == "*:call -> drop; shop-1:message.* -> whatsapp.messages key={contact}"
    assert {**_fields(again), "routes": ""} == {**_fields(before), "routes": ""}
    assert "#BRIDGE_SOURCE_SHOP_1_TOKEN=changeme" in text


def _fields(config: Any) -> dict[str, Any]:
    return {name: repr(getattr(config, name)) for name in config.__struct_fields__}


def test_without_settings_the_environment_file_is_the_example() -> None:
    assert run_here("export", "env", env={}).output == env_example()


def fits_the_charts_schema(made: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    partial = {name: part for name, part in schema["properties"].items() if name in made}
    jsonschema.validate(made, schema | {"required": [], "properties": partial})


def test_the_values_are_those_that_are_set_and_fit_the_charts_schema(env: dict[str, str]) -> None:
    made, text = values(env)
    assert SECRET not in text
    fits_the_charts_schema(made)
    assert made == {
        "broker": "kafka://kafka-0:9092,kafka://kafka-1:9092",
        "sources": [
            {
                "name": "shop-1",
                "provider": "chatlevel",
                "secrets": {"TOKEN": {"name": "webhook-bridge", "key": "shop-1-token"}},
            },
            {
                "name": "chatlevel",
                "provider": "chatlevel",
                "config": {"DEADLINE_MS": 2500, "RATE_LIMIT": "100/s", "DEVICES": ["480213", "480214"]},
                "secrets": {"TOKEN": {"name": "webhook-bridge", "key": "chatlevel-token"}},
            },
            {"name": "open-2", "provider": "chatlevel", "config": {"VERIFY": "none"}},
        ],
        "routes": ["*:call -> drop", "shop-1:message.* -> whatsapp.messages key={contact}"],
        "config": {
            "BRIDGE_PROVISION": "off",
            "BRIDGE_KAFKA_SASL": "plain",
            "BRIDGE_KAFKA_USER": "bridge",
            "BRIDGE_KAFKA_TLS": True,
            "BRIDGE_DEDUP_WINDOW_S": 4600,
        },
        "secrets": {"BRIDGE_KAFKA_PASSWORD": {"name": "webhook-bridge", "key": "kafka-password"}},
    }
    wanted = set(re.findall(r"--from-file=(\S+)=FILE", text))
    assert wanted == {"kafka-password", "shop-1-token", "chatlevel-token"}


def test_a_laptops_settings_lack_the_broker_and_name_the_token_that_was_made() -> None:
    made, text = values({})
    assert made == {
        "broker": "",
        "sources": [
            {
                "name": "chatlevel",
                "provider": "chatlevel",
                "secrets": {"TOKEN": {"name": "webhook-bridge", "key": "chatlevel-token"}},
            }
        ],
    }
    assert "name one that the cluster reaches" in text


class Own(msgspec.Struct, frozen=True):
    """A provider's own settings."""

    header: Annotated[str, msgspec.Meta(description="Where the type is.")] = "x-type"
    key: Annotated[Secret | None, msgspec.Meta(description="A key.", extra={"placeholder": "changeme"})] = None


def test_a_providers_own_settings_go_along() -> None:
    providers = {"stub": StubProvider("stub", settings=Own)}
    own = {"BRIDGE_SOURCE_A_HEADER": "x-kind", "BRIDGE_SOURCE_A_KEY": SECRET}
    env = {"BRIDGE_SOURCES": "a=stub", "BRIDGE_SOURCE_A_TOKEN": SECRET, **own}
    config = load(env, providers=providers)
    lines = env_file(config, env).splitlines()
    assert "BRIDGE_SOURCE_A_HEADER=x-kind" in lines
    assert "#BRIDGE_SOURCE_A_KEY=changeme" in lines
    (source,) = yaml.safe_load(helm_values(config, env))["sources"]
    assert source["config"] == {"HEADER": "x-kind"}
    assert source["secrets"] == {
        "TOKEN": {"name": "webhook-bridge", "key": "a-token"},
        "KEY": {"name": "webhook-bridge", "key": "a-key"},
    }
    fits_the_charts_schema({"sources": [source]})  # which knows our own providers' variables alone


def test_a_source_that_signs_asks_for_its_secret() -> None:
    made, _ = values({"BRIDGE_SOURCES": "github"})
    assert made["sources"][0]["secrets"] == {"SECRET": {"name": "webhook-bridge", "key": "github-secret"}}


def test_what_is_set_to_nothing_stays_off() -> None:
    """Such as dead letters: unset, they would be on again elsewhere."""
    env = {"BRIDGE_DEAD_LETTER_TOPIC": ""}
    assert "BRIDGE_DEAD_LETTER_TOPIC=" in run_here("export", "env", env=env).output.splitlines()
    assert values(env)[0]["config"] == {"BRIDGE_DEAD_LETTER_TOPIC": ""}


@pytest.mark.parametrize(
    ("max_bytes", "persistence"),
    [("2147483648", {"enabled": True}), ("17179869184", {"enabled": True, "size": "16448Mi"})],
)
def test_the_spool_becomes_a_volume_that_is_large_enough_for_it(max_bytes: str, persistence: dict[str, Any]) -> None:
    env = {"BRIDGE_SPOOL": "on", "BRIDGE_SPOOL_MAX_BYTES": max_bytes}
    config, _ = survey(env)  # whether this machine's disk is fit for a spool is no matter here
    made = yaml.safe_load(helm_values(config, env))
    assert made["persistence"] == persistence
    assert yaml.safe_load((CHART / "values.yaml").read_text())["persistence"]["size"] == "8Gi"
