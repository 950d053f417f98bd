import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from bridge.config import (
    Broker,
    Config,
    KafkaConfig,
    NatsConfig,
    Secret,
    SourceConfig,
    describe,
    env_example,
    load,
    variables,
    variables_table,
)
from bridge.config.variables import own_variables
from bridge.errors import ConfigError
from bridge.providers.api_token import ApiSettings
from bridge.providers.base import Provider
from tests.stub_provider import StubProvider

PROVIDERS: Mapping[str, Provider] = {"chatlevel": StubProvider("chatlevel", open_types=True)}
ASSIGNMENTS = dict(re.findall(r"^#(BRIDGE_\w+)=(.*)$", env_example(), re.MULTILINE))


def test_every_variable_is_in_the_table_and_in_the_example_once() -> None:
    table = variables_table()
    names = [variable.name for variable in variables()]

    assert re.findall(r"^\| `(BRIDGE_\S+)` \|", table, re.MULTILINE) == names
    own = [variable.name for variable in own_variables(ApiSettings)]  # of Chatlevel, after those of every source
    after = 1 + max(index for index, name in enumerate(names) if "<NAME>" in name)
    every = [*names[:after], *own, *names[after:]]
    assert list(ASSIGNMENTS) == [name.replace("<NAME>", "CHATLEVEL") for name in every]
    assert re.findall(r"^### (.*)$", table, re.MULTILINE) == [
        "Broker",
        "Listeners",
        "Sources",
        "Routing",
        "NATS",
        "Kafka",
        "Limits",
        "Spool",
        "Logs",
    ]


def test_every_row_has_three_cells_and_a_meaning() -> None:
    for row in variables_table().splitlines():
        if row.startswith("|"):
            cells = re.split(r"(?<!\\)\|", row)[1:-1]
            assert len(cells) == 3
            assert cells[2].strip()


def test_every_field_says_what_it_does() -> None:
    described = {variable.field for variable in variables()}
    fields = {*Config.__struct_fields__, *SourceConfig.__struct_fields__, *NatsConfig.__struct_fields__}
    fields |= set(KafkaConfig.__struct_fields__)

    assert fields - described == {"nats", "kafka", "name", "provider", "own"}
    for variable in variables():
        assert str(variable.meta.description).endswith("."), variable.name


def test_rendering_is_the_same_each_time() -> None:
    assert (variables_table(), env_example()) == (variables_table(), env_example())
    assert variables_table().endswith("|\n")
    assert env_example().endswith("\n")


@pytest.mark.parametrize("name", [variable.name.replace("<NAME>", "CHATLEVEL") for variable in variables()])
def test_the_examples_default_lines_change_nothing(name: str) -> None:
    """Uncommented alone, a line is the default; an example value is taken, or refused for what it needs beside it."""
    variable = next(v for v in variables() if v.name.replace("<NAME>", "CHATLEVEL") == name)
    plain = load({}, providers=PROVIDERS)
    if variable.secret:
        with pytest.raises(ConfigError):
            load({name: ASSIGNMENTS[name], "BRIDGE_LISTEN": "0.0.0.0:80"}, providers=PROVIDERS)
        return
    if variable.default not in (None, ()):
        env = {name: ASSIGNMENTS[name]}
        if name.startswith("BRIDGE_NATS_TLS"):
            env["BRIDGE_BROKER"] = "tls://nats:4222"
            plain = load({"BRIDGE_BROKER": "tls://nats:4222"}, providers=PROVIDERS)
        assert load(env, providers=PROVIDERS) == plain
        return
    needs_more = name.endswith("TRUSTED_PROXIES")
    if (name.startswith("BRIDGE_SOURCE") and not needs_more) or name in ("BRIDGE_ROUTES", "BRIDGE_RAW_TOPIC"):
        assert load({name: ASSIGNMENTS[name]}, providers=PROVIDERS) != plain
        return
    with pytest.raises(ConfigError) as raised:
        load({name: ASSIGNMENTS[name]}, providers=PROVIDERS)
    for problem in raised.value.problems:
        assert re.search("embedded broker|BRIDGE_BROKER is|cannot be read|is not set|does not sign", problem.found)


def test_describe_has_the_effective_settings_and_no_secret() -> None:
    secret = Secret("3f9c0d1be7a24685b0c4d2e8f6a1")
    config = Config(
        broker=Broker("nats", ("tls://a:4222", "tls://b:4222")),
        sources=(
            SourceConfig(name="shop", provider="chatlevel", token=(secret, secret), devices=("1", "2")),
            SourceConfig(name="open", provider="chatlevel", verify="none"),
        ),
        nats=NatsConfig(user="me", password=secret, tls_ca_file=Path("/etc/ca.pem")),
    )

    described = describe(config)

    assert described["broker"] == "tls://a:4222,tls://b:4222"
    assert described["listen"] == "127.0.0.1:8080"
    assert described["sources"]["shop"]["tokens"] == 2
    assert described["sources"]["shop"]["devices"] == "1,2"
    assert described["sources"]["open"]["verify"] == "none"
    assert described["nats"]["password"] == "set"
    assert described["nats"]["tls_ca_file"] == "/etc/ca.pem"
    encoded = msgspec.json.encode(described)
    assert secret.reveal().encode() not in encoded
    assert b"***" not in encoded


def test_describe_of_the_embedded_broker_names_only_what_counts() -> None:
    described = describe(Config())

    assert described["nats"] == {"stream": "EVENTS", "retention_s": 604_800}
    assert described["embedded_listen"] == "127.0.0.1:4222"
    assert "event" not in described
