import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trustme

from bridge.config import Address, Broker, Config, load
from bridge.config.source_settings import SourceConfig
from bridge.config.sources import clashes
from bridge.config.values import Rate
from bridge.config.variables import Variable, variables
from bridge.errors import ConfigError, Problem
from bridge.providers.base import Provider
from tests.stub_provider import StubProvider

TOKEN = "3f9c0d1be7a24685-b0c4d2e8f6a1"
SEED = "SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4"
CREDS = (
    "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n------END NATS USER JWT------\n\n"
    f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
)
PROVIDERS: Mapping[str, Provider] = {
    "chatlevel": StubProvider("chatlevel", retry_plan_s=(30, 60)),
    "github": StubProvider("github", success_status=202),
}
NATS = {"BRIDGE_BROKER": "tls://nats:4222"}


def loaded(env: Mapping[str, str] | None = None, **more: str) -> Config:
    return load({**(env or {}), **more}, providers=PROVIDERS)


def problems(env: Mapping[str, str] | None = None, **more: str) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as raised:
        loaded(env, **more)
    return {problem.variable: problem for problem in raised.value.problems}


def test_an_empty_environment_gives_the_defaults() -> None:
    config = loaded()

    assert config == Config(sources=(SourceConfig(name="chatlevel", provider="chatlevel", success_status=200),))
    assert config.broker == Broker("embedded")
    assert str(config.listen) == "127.0.0.1:8080"
    assert config.source("chatlevel").deadline_ms == 3000
    assert config.source("chatlevel").max_body_bytes == 262_144
    assert (config.dedup_window_s, config.nats.retention_s, config.provision) == (4500, 604_800, "create")


def test_names_without_our_prefix_are_none_of_our_business() -> None:
    assert loaded(PATH="/bin", NATS_URL="nats://x", XBRIDGE_A="1", BRIDGE="1") == loaded()


def test_every_variable_is_read_into_its_field() -> None:
    config = loaded(
        BRIDGE_BROKER="tls://a.example:4222,b.example",
        BRIDGE_LISTEN="0.0.0.0:80",
        BRIDGE_OPS_LISTEN="[::]:81",
        BRIDGE_SOURCES="shop1=chatlevel, my-hub=github",
        BRIDGE_SOURCE_SHOP1_TOKEN=f"{TOKEN}1,{TOKEN}2\n{TOKEN}3",
        BRIDGE_SOURCE_SHOP1_SUCCESS_STATUS="204",
        BRIDGE_SOURCE_SHOP1_DEADLINE_MS="2500",
        BRIDGE_SOURCE_SHOP1_MAX_BODY_BYTES="65536",
        BRIDGE_SOURCE_SHOP1_RATE_LIMIT="1200/m",
        BRIDGE_SOURCE_SHOP1_DEVICES="480213, 480214",
        BRIDGE_SOURCE_SHOP1_PUBLIC_URL="https://hooks.example.com/in",
        BRIDGE_SOURCE_MY_HUB_VERIFY="NONE",
        BRIDGE_PROVISION="create",
        BRIDGE_REQUIRE_DURABLE="true",
        BRIDGE_DATA_DIR="/var/lib/bridge",
        BRIDGE_LOG_LEVEL="WARNING",
        BRIDGE_NATS_REPLICAS=" 3 ",
        BRIDGE_NATS_USER="bridge",
        BRIDGE_NATS_PASSWORD=" with spaces \n",
        BRIDGE_NATS_TLS_FIRST="1",
    )

    assert config.broker == Broker("nats", ("tls://a.example:4222", "tls://b.example:4222"))
    assert (config.listen, config.ops_listen) == (Address("0.0.0.0", 80), Address("::", 81))
    shop, hub = config.sources
    assert [token.reveal() for token in shop.token] == [f"{TOKEN}1", f"{TOKEN}2", f"{TOKEN}3"]
    assert (shop.success_status, shop.deadline_ms, shop.max_body_bytes) == (204, 2500, 65536)
    assert (shop.rate_limit, hub.rate_limit) == (Rate(1200, 60), None)
    assert (shop.devices, shop.public_url) == (("480213", "480214"), "https://hooks.example.com/in")
    assert (hub.name, hub.provider, hub.verify, hub.success_status) == ("my-hub", "github", "none", 202)
    assert (config.require_durable, config.data_dir, config.log_level) == (True, Path("/var/lib/bridge"), "warning")
    assert (config.nats.replicas, config.nats.user, config.nats.tls_first) == (3, "bridge", True)
    assert config.nats.password is not None
    assert config.nats.password.reveal() == " with spaces "


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        BRIDGE_BROKER="redis://x",
        BRIDGE_LISTEN="8080",
        BRIDGE_LISTNE="127.0.0.1:1",
        BRIDGE_SOURCES="chatlevl,shop=chatlevel",
        BRIDGE_SOURCE_SHOP_DEADLINE_MS="soon",
        BRIDGE_NATS_STREAM="a.b",
        BRIDGE_DEDUP_WINDOW_S="90000",
        BRIDGE_NATS_RETENTION_S="80000",
        BRIDGE_LOG_FORMAT="yaml",
    )

    assert set(found) == {
        "BRIDGE_BROKER",
        "BRIDGE_LISTEN",
        "BRIDGE_LISTNE",
        "BRIDGE_SOURCES",
        "BRIDGE_SOURCE_SHOP_DEADLINE_MS",
        "BRIDGE_NATS_STREAM",
        "BRIDGE_NATS_RETENTION_S",
        "BRIDGE_LOG_FORMAT",
    }
    assert found["BRIDGE_SOURCE_SHOP_DEADLINE_MS"].expected == "a whole number from 100 to 60000"
    assert found["BRIDGE_LOG_FORMAT"].expected == "auto or json or console"


def test_a_broken_setting_brings_no_problems_of_its_default() -> None:
    """Port 8081 is the default of another listener, and a broken broker is not `embedded:` unsaid."""
    assert set(problems(BRIDGE_OPS_LISTEN="nonsense", BRIDGE_LISTEN="127.0.0.1:8081")) == {"BRIDGE_OPS_LISTEN"}
    assert set(problems(BRIDGE_BROKER="nonsense", BRIDGE_NATS_USER="u", BRIDGE_NATS_PASSWORD="p")) == {"BRIDGE_BROKER"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BRIDGE_LISTEN_", "BRIDGE_LISTEN"),
        ("BRIDGE_SOURCE", "BRIDGE_SOURCES"),
        ("BRIDGE_SOURCE_CHATLEVEL_TOKENS", "BRIDGE_SOURCE_CHATLEVEL_TOKEN"),
        ("BRIDGE_NATS_CRED_FILE", "BRIDGE_NATS_CREDS_FILE"),
        ("BRIDGE_DEADLINE", "the README"),
        ("BRIDGE_SOURCE_SHOP9_DEVICES", "BRIDGE_SOURCE"),
        ("BRIDGE_PORT", "the README"),
    ],
)
def test_an_unknown_variable_is_an_error_with_the_nearest_name(name: str, nearest: str) -> None:
    (problem,) = problems({name: "secret-looking-value"}).values()

    assert problem.variable == name
    assert nearest in problem.expected or nearest in problem.found
    assert "secret-looking-value" not in str(problem)


def test_rules_that_are_wrong_whatever_sources_there_are_do_not_wait_for_them() -> None:
    env = {"BRIDGE_SOURCES": "nope", "BRIDGE_ROUTES": "*:call => calls", "BRIDGE_TOPIC_TEMPLATE": "a.{nothing}"}
    assert set(problems(env)) == set(env)
    fitting = problems(env | {"BRIDGE_ROUTES": "shop:call -> calls"})
    assert set(fitting) == {"BRIDGE_SOURCES", "BRIDGE_TOPIC_TEMPLATE"}


def test_variables_of_a_source_are_not_called_unknown_while_the_sources_are_wrong() -> None:
    found = problems(BRIDGE_SOURCES="shop=chatlevl", BRIDGE_SOURCE_SHOP_TOKEN=TOKEN)

    assert set(found) == {"BRIDGE_SOURCES"}
    assert found["BRIDGE_SOURCES"].expected == "chatlevel, perhaps"


def test_a_variable_of_a_source_that_is_not_named_says_so_and_offers_no_other_sources() -> None:
    named = {"BRIDGE_SOURCES": "gh=github"}
    found = problems(**named, BRIDGE_SOURCE_ACME_SECRET="x", BRIDGE_SOURCE_GHH_SECRET="x")

    assert found["BRIDGE_SOURCE_ACME_SECRET"].found == "is of a source that BRIDGE_SOURCES does not name"
    assert found["BRIDGE_SOURCE_ACME_SECRET"].expected == "that source named there beside gh, or the variable unset"
    assert found["BRIDGE_SOURCE_GHH_SECRET"].expected == "BRIDGE_SOURCE_GH_SECRET, perhaps"


def test_service_links_of_kubernetes_are_not_the_operators_mistake() -> None:
    links = {
        "BRIDGE_SERVICE_HOST": "10.0.0.1",
        "BRIDGE_SERVICE_PORT": "8080",
        "BRIDGE_SERVICE_PORT_HTTP": "8080",
        "BRIDGE_PORT": "tcp://10.0.0.1:8080",
        "BRIDGE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "BRIDGE_PORT_8080_TCP_PROTO": "tcp",
        "BRIDGE_PORT_8080_TCP_PORT": "8080",
        "BRIDGE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "BRIDGE_NATS_SERVICE_HOST": "10.0.0.2",
        "BRIDGE_NATS_SERVICE_PORT": "4222",
        "BRIDGE_NATS_PORT": "tcp://10.0.0.2:4222",
    }

    assert loaded(links) == loaded()
    assert set(problems(links, BRIDGE_PORTS="1")) == {"BRIDGE_PORTS"}


@pytest.mark.parametrize(
    "name", [v.name.replace("<NAME>", "CHATLEVEL") for v in variables() if v.name != "BRIDGE_DEAD_LETTER_TOPIC"]
)
@pytest.mark.parametrize("empty", ["", " \n"])
def test_set_but_empty_is_an_error_but_for_dead_letters(name: str, empty: str) -> None:
    assert problems({name: empty})[name].found == "is set but empty"


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_topic_of_dead_letters_means_none(empty: str) -> None:
    assert loaded().dead_letter_topic == "bridge.dead-letter"
    assert loaded(BRIDGE_DEAD_LETTER_TOPIC=empty).dead_letter_topic is None
    unknown = problems(BRIDGE_DEAD_LETTER_TOPIC=empty, BRIDGE_SOURCE_CHATLEVEL_UNKNOWN="dead-letter")
    assert set(unknown) == {"BRIDGE_SOURCE_CHATLEVEL_UNKNOWN"}


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"BRIDGE_DEAD_LETTER_TOPIC": "events.chatlevel.call"}, "BRIDGE_DEAD_LETTER_TOPIC"),
        ({"BRIDGE_DEAD_LETTER_TOPIC": "events.chatlevel.letters"}, "BRIDGE_DEAD_LETTER_TOPIC"),
        ({"BRIDGE_RAW_TOPIC": "events_chatlevel_call"}, "BRIDGE_RAW_TOPIC"),
        ({"BRIDGE_RAW_TOPIC": "bridge_dead-letter"}, "BRIDGE_RAW_TOPIC"),
        ({"BRIDGE_RAW_TOPIC": "raw.*"}, "BRIDGE_RAW_TOPIC"),
        ({"BRIDGE_RAW_TOPIC": "calls", "BRIDGE_ROUTES": "*:call -> calls"}, "BRIDGE_RAW_TOPIC"),
        ({"BRIDGE_ROUTES": "*:call -> bridge.dead-letter"}, "BRIDGE_ROUTES"),
        ({"BRIDGE_TOPIC_TEMPLATE": "bridge.{type}"}, "BRIDGE_TOPIC_TEMPLATE"),
    ],
)
def test_no_event_gets_onto_the_bridges_own_topics(given: dict[str, str], variable: str) -> None:
    assert set(problems(given)) == {variable}


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nats://a", ("nats://a:4222",)),
        ("nats://a:1,b:2", ("nats://a:1", "nats://b:2")),
        ("tls://a.b.example, tls://c", ("tls://a.b.example:4222", "tls://c:4222")),
        ("nats://10.0.0.1:4222", ("nats://10.0.0.1:4222",)),
        ("nats://[::1]", ("nats://[::1]:4222",)),
        ("nats://[fe80::1]:99", ("nats://[fe80::1]:99",)),
    ],
)
def test_broker_addresses(text: str, servers: tuple[str, ...]) -> None:
    broker = loaded(BRIDGE_BROKER=text).broker

    assert (broker.kind, broker.servers) == ("nats", servers)
    assert broker.tls == text.startswith("tls")


@pytest.mark.parametrize(
    "text",
    [
        "nats",
        "nats:",
        "nats://",
        "nats://a,,b",
        "nats://a:0",
        "nats://a:99999",
        "nats://a/path",
        "nats://a b",
        "nats://a,tls://b",
        "http://a",
        "localhost:4222",
        "nats://::1",
        "nats://a:4222?x=1",
        "nats://10.0.0.256",
        "embedded:x",
    ],
)
def test_other_brokers_are_refused(text: str) -> None:
    assert "embedded:, or nats://, tls:// or kafka://" in problems(BRIDGE_BROKER=text)["BRIDGE_BROKER"].expected


def test_credentials_in_the_brokers_url_are_refused_unseen() -> None:
    for text in ("nats://me:hunter2@host:4222", "nats://hunter2@host", "me:hunter2@host", "tls://a,u:hunter2/@@b"):
        problem = problems(BRIDGE_BROKER=text)["BRIDGE_BROKER"]
        assert "hunter2" not in str(problem)
        assert "BRIDGE_NATS_USER" in problem.expected


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("kafka://a:9092", ("kafka://a:9092",)),
        ("kafka://a,b:9093", ("kafka://a:9092", "kafka://b:9093")),
        ("kafka://[::1]:9092,kafka://b", ("kafka://[::1]:9092", "kafka://b:9092")),
    ],
)
def test_kafka_is_named_by_its_url(text: str, servers: tuple[str, ...]) -> None:
    broker = loaded(BRIDGE_BROKER=text).broker
    assert (broker.kind, broker.servers) == ("kafka", servers)


KAFKA = {"BRIDGE_BROKER": "kafka://a"}
LOGIN = {"BRIDGE_KAFKA_USER": "u", "BRIDGE_KAFKA_PASSWORD": "p"}


@pytest.mark.parametrize(
    ("settings", "variable", "expected"),
    [
        ({"BRIDGE_KAFKA_PARTITIONS": "3"}, "BRIDGE_KAFKA_PARTITIONS", "BRIDGE_BROKER=kafka://"),
        ({**KAFKA, "BRIDGE_NATS_USER": "u", "BRIDGE_NATS_PASSWORD": "p"}, "BRIDGE_NATS_USER", "BRIDGE_BROKER=nats://"),
        ({**KAFKA, "BRIDGE_KAFKA_SASL": "plain"}, "BRIDGE_KAFKA_USER", "BRIDGE_KAFKA_SASL=plain"),
        ({**KAFKA, "BRIDGE_KAFKA_SASL": "plain"}, "BRIDGE_KAFKA_PASSWORD", "BRIDGE_KAFKA_SASL=plain"),
        ({**KAFKA, "BRIDGE_KAFKA_SASL": "oauthbearer"}, "BRIDGE_KAFKA_TOKEN", "BRIDGE_KAFKA_SASL=oauthbearer"),
        ({**KAFKA, "BRIDGE_KAFKA_SASL": "oauthbearer", **LOGIN}, "BRIDGE_KAFKA_USER", "plain or scram-sha-256"),
        ({**KAFKA, **LOGIN}, "BRIDGE_KAFKA_PASSWORD", "plain or scram-sha-256"),
        ({**KAFKA, "BRIDGE_KAFKA_TOKEN": "t"}, "BRIDGE_KAFKA_TOKEN", "oauthbearer"),
        ({**KAFKA, "BRIDGE_KAFKA_RETENTION_S": "60"}, "BRIDGE_KAFKA_RETENTION_S", "4500"),
        ({**KAFKA, "BRIDGE_KAFKA_COMPRESSION": "brotli"}, "BRIDGE_KAFKA_COMPRESSION", "zstd"),
    ],
)
def test_what_does_not_fit_kafka_is_told_by_name(settings: dict[str, str], variable: str, expected: str) -> None:
    assert expected in problems(**settings)[variable].expected


def test_kafka_tls_files_ask_for_tls(certificate: tuple[str, str, str]) -> None:
    authority, chain, key = certificate
    files = {
        "BRIDGE_KAFKA_TLS_CA_FILE": authority,
        "BRIDGE_KAFKA_TLS_CERT_FILE": chain,
        "BRIDGE_KAFKA_TLS_KEY_FILE": key,
    }
    found = problems(**KAFKA, **files)
    assert {problem.expected for problem in found.values()} == {"BRIDGE_KAFKA_TLS=true"}
    assert found.keys() == files.keys()
    assert loaded(**KAFKA, **files, BRIDGE_KAFKA_TLS="true").kafka.tls


@pytest.mark.parametrize("sasl", ["plain", "scram-sha-256", "SCRAM-SHA-512"])
def test_a_kafka_login_is_taken_whole(sasl: str) -> None:
    kafka = loaded(**KAFKA, **LOGIN, BRIDGE_KAFKA_SASL=sasl).kafka
    assert kafka.sasl == sasl.lower()
    assert kafka.password is not None
    assert kafka.password.reveal() == "p"


def test_k11_a_compression_that_is_not_installed_is_a_problem_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cramjam", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    for name in ("snappy", "lz4", "zstd"):
        problem = problems(**KAFKA, BRIDGE_KAFKA_COMPRESSION=name)["BRIDGE_KAFKA_COMPRESSION"]
        assert "webhook-bridge[compression]" in problem.expected
    assert loaded(**KAFKA, BRIDGE_KAFKA_COMPRESSION="gzip").kafka.compression == "gzip"


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0), True),
        ("127.8.8.8:1", Address("127.8.8.8", 1), True),
        ("[::1]:8080", Address("::1", 8080), True),
        ("localhost:8080", Address("localhost", 8080), True),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), False),
        ("[::]:8080", Address("::", 8080), False),
        ("[::ffff:127.0.0.1]:8080", Address("::ffff:127.0.0.1", 8080), False),
        ("bridge-0.internal:8080", Address("bridge-0.internal", 8080), False),
        ("localhost.example:8080", Address("localhost.example", 8080), False),
    ],
)
def test_listen_addresses(text: str, address: Address, loopback: bool) -> None:
    config = loaded(BRIDGE_LISTEN=text, BRIDGE_BROKER="embedded:", BRIDGE_SOURCE_CHATLEVEL_TOKEN=TOKEN)

    assert config.listen == address
    assert config.listen.loopback == loopback
    assert str(config.listen) == text


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        ":8080",
        "127.0.0.1",
        "127.0.0.1:",
        "::1:8080",
        "[127.0.0.1]:80",
        "a:65536",
        "a:-1",
        "a:٣",
        "*:80",
        "-a:1",
    ],
)
def test_other_listen_addresses_are_refused(text: str) -> None:
    assert "host:port" in problems(BRIDGE_LISTEN=text)["BRIDGE_LISTEN"].expected


@pytest.mark.parametrize(
    ("text", "rate"), [("1/s", Rate(1, 1)), ("20 / m", Rate(20, 60)), ("9999999/h", Rate(9_999_999, 3600))]
)
def test_rates(text: str, rate: Rate) -> None:
    read = loaded(BRIDGE_SOURCE_CHATLEVEL_RATE_LIMIT=text).source("chatlevel").rate_limit
    assert read == rate
    assert str(read) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text", ["100", "0/s", "-1/s", "1.5/s", "1/d", "1/S", "/s", "1/", "10000000/s", "1/s 2/m", "٣/s"]
)
def test_other_rates_are_refused(text: str) -> None:
    name = "BRIDGE_SOURCE_CHATLEVEL_RATE_LIMIT"
    assert "6000/m" in problems({name: text})[name].expected


def test_a_source_has_its_own_dedup_window_or_that_of_all() -> None:
    config = loaded(
        BRIDGE_SOURCES="a=chatlevel,b=github",
        BRIDGE_DEDUP_WINDOW_S="4600",
        BRIDGE_SOURCE_B_DEDUP_WINDOW_S="259200",
    )
    assert [source.dedup_window_s for source in config.sources] == [4600, 259_200]
    name = "BRIDGE_SOURCE_CHATLEVEL_DEDUP_WINDOW_S"
    assert problems({name: "604801"})[name].expected == "a whole number from 60 to 604800"


def test_each_source_must_have_a_place() -> None:
    sources = "a=chatlevel,b=chatlevel,c=chatlevel"
    assert loaded(BRIDGE_SOURCES=sources, BRIDGE_MAX_IN_FLIGHT="3").max_in_flight == 3
    found = problems(BRIDGE_SOURCES=sources, BRIDGE_MAX_IN_FLIGHT="2")
    assert set(found) == {"BRIDGE_MAX_IN_FLIGHT"}
    assert "3 sources" in found["BRIDGE_MAX_IN_FLIGHT"].found
    assert set(problems(BRIDGE_SOURCES=f"{sources},d=nobody", BRIDGE_MAX_IN_FLIGHT="2")) == {"BRIDGE_SOURCES"}


@pytest.mark.parametrize("text", ["1e3", "1000.0", "+1000", "1_000", "9" * 400, "-1", "٤٥٠٠", "null", "0x10"])
def test_numbers_are_plain_digits(text: str) -> None:
    found = problems(BRIDGE_DEDUP_WINDOW_S=text)["BRIDGE_DEDUP_WINDOW_S"]

    assert found.expected == "a whole number from 60 to 604800"
    assert len(found.found) < 100


@pytest.mark.parametrize(
    "text",
    [
        "Shop=chatlevel",
        "1shop=chatlevel",
        "shop-=chatlevel",
        "a--b=chatlevel",
        "sh_op=chatlevel",
        "a.b=chatlevel",
        "é=chatlevel",
        f"{'a' * 41}=chatlevel",
        "shop=",
        "=chatlevel",
        "chatlevel,",
        "a=chatlevel,a=github",
        "chatlevel,chatlevel",
        "nobody",
        "a=b=c",
    ],
)
def test_bad_sources_are_refused(text: str) -> None:
    assert set(problems(BRIDGE_SOURCES=text)) == {"BRIDGE_SOURCES"}


def test_sources_of_the_longest_name_are_taken() -> None:
    name = "a" * 40
    assert (
        loaded(BRIDGE_SOURCES=f"{name}=chatlevel").source(name).variable("token") == f"BRIDGE_SOURCE_{'A' * 40}_TOKEN"
    )


def test_a_variable_that_would_belong_to_two_sources_is_noticed() -> None:
    """No field of today makes it happen; one of tomorrow (`b_token`) must not hand a token to the wrong source."""
    token = next(variable for variable in variables(SourceConfig) if variable.field == "token")
    fields: list[Variable] = [token, cast("Variable", SimpleNamespace(field="b_token", secret=False))]

    assert clashes(["a", "a-b", "c"], fields) == {"BRIDGE_SOURCE_A_B_TOKEN": ["a", "a-b"]}
    assert clashes(["a", "a-token", "a-b"], variables(SourceConfig)) == {}


def test_beyond_loopback_the_broker_is_named_and_the_sender_proven() -> None:
    found = problems(BRIDGE_LISTEN="0.0.0.0:8080")

    assert set(found) == {"BRIDGE_BROKER", "BRIDGE_SOURCE_CHATLEVEL_TOKEN"}
    assert "openssl rand -hex 32" in found["BRIDGE_SOURCE_CHATLEVEL_TOKEN"].expected
    assert "BRIDGE_SOURCE_CHATLEVEL_VERIFY=none" in found["BRIDGE_SOURCE_CHATLEVEL_TOKEN"].expected
    open_to_all = loaded(BRIDGE_LISTEN="0.0.0.0:8080", BRIDGE_BROKER="embedded:", BRIDGE_SOURCE_CHATLEVEL_VERIFY="none")
    assert open_to_all.source("chatlevel").verify == "none"


def test_verify_none_beside_a_token_is_refused() -> None:
    env = {"BRIDGE_SOURCE_CHATLEVEL_VERIFY": "none", "BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN}

    assert set(problems(env)) == {"BRIDGE_SOURCE_CHATLEVEL_VERIFY"}


@pytest.mark.parametrize(
    "token",
    [
        "short-15-chars-",
        "has/slash/in/it/and/more",
        "umlaut-ä-in-it-and-more",
        "changeme-changeme-changeme",
        "CHANGE_ME_PLEASE_1234567",
        "your-token-goes-here-1234",
        "example-token-1234567890",
        "placeholder-1234567890",
        "aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "1212121212121212121212",
        "x" * 600,
    ],
)
@pytest.mark.parametrize("beside", ["", f"{TOKEN} "])
def test_weak_tokens_are_refused_unseen(token: str, beside: str) -> None:
    (problem,) = problems(BRIDGE_SOURCE_CHATLEVEL_TOKEN=beside + token).values()

    assert problem.variable == "BRIDGE_SOURCE_CHATLEVEL_TOKEN"
    assert token not in str(problem)
    assert TOKEN not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "http://hooks.example.com",
        "hooks.example.com",
        "https://",
        "https://u:hunter2secret@hooks.example.com",
        "https://hooks.example.com/?token=hunter2secret",
        "https://hooks.example.com/webhooks/chatlevel/hunter2secret",
        "https://[::1",
        "https://a:99999",
        "https://a b",
        "https://ä.example",
    ],
)
def test_a_public_url_is_a_plain_base_and_never_shown(text: str) -> None:
    (problem,) = problems(BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL=text).values()

    assert problem.variable == "BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL"
    assert "hunter2secret" not in str(problem)


@pytest.mark.parametrize(
    ("env", "blamed"),
    [
        ({"BRIDGE_OPS_LISTEN": "127.0.0.1:8080"}, {"BRIDGE_OPS_LISTEN"}),
        ({"BRIDGE_LISTEN": "[::1]:4222"}, {"BRIDGE_EMBEDDED_LISTEN"}),
        ({"BRIDGE_NATS_USER": "u", "BRIDGE_NATS_PASSWORD": "p"}, {"BRIDGE_NATS_USER", "BRIDGE_NATS_PASSWORD"}),
        ({"BRIDGE_NATS_REPLICAS": "3"}, {"BRIDGE_NATS_REPLICAS"}),
        ({"BRIDGE_NATS_TLS_FIRST": "false"}, {"BRIDGE_NATS_TLS_FIRST"}),
        ({**NATS, "BRIDGE_NATS_USER": "u"}, {"BRIDGE_NATS_PASSWORD"}),
        ({**NATS, "BRIDGE_NATS_PASSWORD": "p"}, {"BRIDGE_NATS_USER"}),
        ({**NATS, "BRIDGE_NATS_TOKEN": "t", "BRIDGE_NATS_NKEY": SEED}, {"BRIDGE_NATS_NKEY"}),
        ({**NATS, "BRIDGE_NATS_NKEY": SEED[:-1]}, {"BRIDGE_NATS_NKEY"}),
        ({**NATS, "BRIDGE_NATS_NKEY": "SA" + SEED[2:]}, {"BRIDGE_NATS_NKEY"}),
        ({**NATS, "BRIDGE_NATS_CREDS": "/etc/nats.creds"}, {"BRIDGE_NATS_CREDS"}),
        ({**NATS, "BRIDGE_NATS_RETENTION_S": "4499"}, {"BRIDGE_NATS_RETENTION_S"}),
        ({"BRIDGE_BROKER": "nats://a", "BRIDGE_NATS_TLS_HOSTNAME": "a"}, {"BRIDGE_NATS_TLS_HOSTNAME"}),
        ({"BRIDGE_BROKER": "nats://a", "BRIDGE_NATS_TLS_FIRST": "true"}, {"BRIDGE_NATS_TLS_FIRST"}),
        ({"BRIDGE_DATA_DIR": __file__}, {"BRIDGE_DATA_DIR"}),
        ({"BRIDGE_DATA_DIR": "/dev/null/x\0"}, {"BRIDGE_DATA_DIR"}),
        ({"BRIDGE_DATA_DIR": "x" * 5000}, {"BRIDGE_DATA_DIR"}),
    ],
)
def test_settings_that_contradict_each_other_are_refused(env: dict[str, str], blamed: set[str]) -> None:
    assert set(problems(env)) == blamed


@pytest.mark.parametrize(
    "env",
    [
        {"BRIDGE_LISTEN": "127.0.0.1:0", "BRIDGE_OPS_LISTEN": "127.0.0.1:0", "BRIDGE_EMBEDDED_LISTEN": "127.0.0.1:0"},
        {**NATS, "BRIDGE_LISTEN": "127.0.0.1:4222"},
        {"BRIDGE_NATS_STREAM": "OTHER", "BRIDGE_NATS_REPLICAS": "1", "BRIDGE_NATS_RETENTION_S": "4500"},
        {**NATS, "BRIDGE_NATS_NKEY": SEED},
        {**NATS, "BRIDGE_NATS_CREDS": CREDS},
        {"BRIDGE_BROKER": "nats://a", "BRIDGE_NATS_TOKEN": "t", "BRIDGE_NATS_TLS_FIRST": "false"},
    ],
)
def test_settings_that_agree_are_taken(env: dict[str, str]) -> None:
    loaded(env)


def test_provision_follows_the_broker_unless_said() -> None:
    assert loaded().provision == "create"
    assert loaded(NATS).provision == "check"
    assert loaded(NATS, BRIDGE_PROVISION="off").provision == "off"
    assert loaded(NATS, BRIDGE_PROVISION="create").provision == "create"


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    one, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    parts: dict[str, Any] = {
        "ca": authority.cert_pem,
        "cert": one.cert_chain_pems[0],
        "key": one.private_key_pem,
        "other-key": other.private_key_pem,
    }
    for name, blob in parts.items():
        blob.write_to_path(str(folder / name))
    (folder / "junk").write_text("junk")
    return {path.name: str(path) for path in folder.iterdir()} | {
        "missing": str(folder / "missing"),
        "dir": str(folder),
    }


@pytest.mark.parametrize("prefix", ["BRIDGE_TLS_", "BRIDGE_NATS_TLS_"])
@pytest.mark.parametrize(
    ("cert", "key", "blamed"),
    [
        ("cert", "key", set()),
        ("cert", None, {"KEY_FILE"}),
        (None, "key", {"CERT_FILE"}),
        ("missing", "key", {"CERT_FILE"}),
        ("missing", "dir", {"CERT_FILE", "KEY_FILE"}),
        ("cert", "other-key", {"CERT_FILE"}),
        ("junk", "key", {"CERT_FILE"}),
    ],
)
def test_certificate_and_key_go_together(
    pems: dict[str, str], prefix: str, cert: str | None, key: str | None, blamed: set[str]
) -> None:
    env = dict(NATS)
    if cert:
        env[f"{prefix}CERT_FILE"] = pems[cert]
    if key:
        env[f"{prefix}KEY_FILE"] = pems[key]

    if not blamed:
        loaded(env)
        return
    found = problems(env)
    assert set(found) == {prefix + name for name in blamed}
    if cert == "missing":
        assert pems["missing"] in found[f"{prefix}CERT_FILE"].found


@pytest.mark.parametrize(("file", "right"), [("ca", True), ("junk", False), ("missing", False), ("dir", False)])
def test_the_nats_ca_file_holds_certificates(pems: dict[str, str], file: str, right: bool) -> None:
    env = {**NATS, "BRIDGE_NATS_TLS_CA_FILE": pems[file]}
    if right:
        assert str(loaded(env).nats.tls_ca_file) == pems[file]
    else:
        assert set(problems(env)) == {"BRIDGE_NATS_TLS_CA_FILE"}


def test_a_secret_comes_from_a_file_and_knows_which(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}a\n{TOKEN}b\n")
    creds = tmp_path / "my.creds"
    creds.write_text(CREDS)

    config = loaded(NATS, BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE=str(file), BRIDGE_NATS_CREDS_FILE=str(creds))

    tokens = config.source("chatlevel").token
    assert [token.reveal() for token in tokens] == [f"{TOKEN}a", f"{TOKEN}b"]
    assert {token.path for token in tokens} == {file}
    assert config.nats.creds is not None
    assert config.nats.creds.reveal() == CREDS.rstrip("\n")


@pytest.mark.parametrize("name", [variable.name for variable in variables() if variable.secret])
def test_every_secret_has_a_file_twin_and_both_are_one_too_many(name: str, tmp_path: Path) -> None:
    name = name.replace("<NAME>", "CHATLEVEL")
    file = tmp_path / "secret"
    file.write_text(TOKEN)

    found = problems({name: TOKEN, f"{name}_FILE": str(file)})

    assert set(found) - {name} == {f"{name}_FILE"}
    assert "one of the two" in found[f"{name}_FILE"].expected


def unusable(kind: str, folder: Path) -> Path:
    path = folder / kind
    match kind:
        case "empty":
            path.write_text("\n")
        case "huge":
            path.write_bytes(b"x" * 70_000)
        case "binary":
            path.write_bytes(b"\xff\xfe" * 20)
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "separators":
            path.write_text(" ,\n,")
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "huge", "binary", "folder", "fifo", "separators"])
def test_an_unusable_secret_file_is_named(kind: str, tmp_path: Path) -> None:
    path = unusable(kind, tmp_path)

    (problem,) = problems(BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE=str(path)).values()

    assert problem.variable == "BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE"
    assert str(path) in problem.found or kind == "separators"


def test_a_weak_token_in_a_file_is_blamed_on_the_file_variable(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("short")

    assert set(problems(BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE=str(path))) == {"BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE"}


def test_the_secret_itself_in_the_file_variable_is_not_shown() -> None:
    (problem,) = problems(BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE=TOKEN).values()

    assert TOKEN not in str(problem)
    assert "may be the secret itself" in problem.found


def test_a_wrong_value_is_shown_on_one_short_line() -> None:
    found = problems(BRIDGE_LISTEN="a\nb\x1b[31m\x9b" + "c" * 500)["BRIDGE_LISTEN"].found

    assert re.fullmatch(r"[ -~…]{1,120}", found)


def test_the_structs_can_be_walked_by_msgspec() -> None:
    """Schemas and other readers take the same annotations; msgspec refuses limits it cannot apply."""
    info = msgspec.inspect.type_info(Config)

    assert isinstance(info, msgspec.inspect.StructType)
    assert {field.name for field in info.fields} == set(Config.__struct_fields__)


def test_what_stands_before_an_at_sign_is_not_shown() -> None:
    """A URL with a login in the wrong variable is still a login."""
    for name in ("BRIDGE_LISTEN", "BRIDGE_NATS_STREAM", "BRIDGE_SOURCES", "BRIDGE_LOG_LEVEL", "BRIDGE_DEDUP_WINDOW_S"):
        problem = problems({name: "nats://me:hunter2@host:4222"})[name]
        assert "hunter2" not in str(problem)
        assert "host:4222" in problem.found


def test_half_of_a_service_link_is_none() -> None:
    env = {"BRIDGE_SERVICE_HOST": "10.0.0.1", "BRIDGE_PORT": "8080"}

    assert set(problems(env)) == set(env)
