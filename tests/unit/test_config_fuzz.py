"""Whatever the environment holds: a Config or a ConfigError, and no secret in either's text."""

from collections.abc import Mapping

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.config import describe, load, variables
from bridge.errors import ConfigError, Problem
from bridge.providers.base import Provider
from tests.stub_provider import StubProvider

PROVIDERS: Mapping[str, Provider] = {"chatlevel": StubProvider("chatlevel")}

NAMES = [variable.name.replace("<NAME>", "CHATLEVEL") for variable in variables()]
SECRETS = [variable.name.replace("<NAME>", "CHATLEVEL") for variable in variables() if variable.secret]
WORDS = [
    "embedded:",
    "nats://a:4222,b",
    "tls://[::1]",
    "nats://u:p@h",
    "kafka://a",
    "https://a.example",
    "https://[",
    "127.0.0.1:0",
    "0.0.0.0:8080",
    "[::1%eth0]:8080",
    "a=chatlevel,b=chatlevel",
    "chatlevel,shop-1=chatlevel",
    "true",
    "none",
    "chatlevel:* -> x; *:call -> {type}",
    "*:message.* -> drop\nchatlevel:connection.auth -> a.{source} key={id}",
    "{type}",
    "all.{source}",
    "drop",
    "5000",
    "-5",
    "100/s",
    "/",
    "/dev/null",
    "~nobody/x",
    "~",
    ".",
    "\0",
    "\udcff",
    "null",
]
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(max_size=80), st.text(st.characters(), max_size=12))
ENVIRONMENTS = st.dictionaries(
    st.one_of(
        st.sampled_from(NAMES),
        st.sampled_from(NAMES).map("{}_FILE".format),
        st.text(st.characters(), max_size=20).map("BRIDGE_{}".format),
        st.sampled_from(["BRIDGE_SOURCE_A_TOKEN", "BRIDGE_SOURCE_SHOP_1_VERIFY", "BRIDGE_SERVICE_HOST", "BRIDGE_PORT"]),
    ),
    TEXTS,
    max_size=8,
)


# the first text of a run builds the table of Unicode's characters: seconds
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(ENVIRONMENTS)
@example({"BRIDGE_SERVICE_HOST": "x", "BRIDGE_SERVICE_PORT": "1", "BRIDGE_PORT": "("})
@example({"BRIDGE_DATA_DIR": "~\udcff", "BRIDGE_TLS_CERT_FILE": "/\ud800", "BRIDGE_NATS_TOKEN_FILE": "/\ud800"})
@example({"BRIDGE_PROVISION": "\udcff"})
@example({"BRIDGE_(_SERVICE_HOST": "x", "BRIDGE_(_SERVICE_PORT": "1"})
def test_any_environment_loads_or_is_a_config_error(env: dict[str, str]) -> None:
    problems: tuple[Problem, ...] | None = None
    try:
        config = load(env, providers=PROVIDERS)
    except ConfigError as error:
        problems = error.problems
    if problems is None:
        assert describe(config)
    else:
        assert problems
        assert all(problem.found and problem.expected for problem in problems)


# Each contains a part that no message of ours has by chance.
CANARY = "Zq7Zq7Zq7"
SECRET_TEXTS = st.one_of(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789._~-", max_size=40),
    st.text(max_size=20),
    st.sampled_from([" ", "\n", ",", "@", "/", "changeme", "\udcff", "x" * 600, "\0"]),
).map(lambda text: f"{text}{CANARY}{text}")


@patient
@given(
    st.dictionaries(st.sampled_from([*SECRETS, *map("{}_FILE".format, SECRETS)]), SECRET_TEXTS, min_size=1, max_size=4),
    st.sampled_from(["embedded:", "tls://nats:4222"]),
    st.sampled_from(["127.0.0.1:8080", "0.0.0.0:8080"]),
)
@example({"BRIDGE_SOURCE_CHATLEVEL_TOKEN": f"3f9c0d1be7a24685{CANARY}"}, "embedded:", "127.0.0.1:8080")
@example({"BRIDGE_NATS_CREDS": CANARY, "BRIDGE_NATS_NKEY": CANARY}, "tls://nats:4222", "127.0.0.1:8080")
def test_no_secret_is_ever_in_a_message_or_a_repr(secrets: dict[str, str], broker: str, listen: str) -> None:
    # a path that looks like one is shown on purpose: it says which file to mount
    env = {
        name: text
        for name, text in secrets.items()
        if not (name.endswith("_FILE") and text.strip().startswith(("/", ".")))
    }
    try:
        config = load({**env, "BRIDGE_BROKER": broker, "BRIDGE_LISTEN": listen}, providers=PROVIDERS)
    except ConfigError as error:
        shown = f"{error} {error!r} {error.problems}"
    else:
        shown = f"{config} {config!r} {describe(config)}"
    assert CANARY not in shown
