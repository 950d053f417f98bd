"""The rules about NATS."""

from collections.abc import Iterator

from bridge.config.broker_settings import NatsConfig
from bridge.config.rules import Given, authorities, pair, rule
from bridge.config.settings import Config
from bridge.config.variables import variables
from bridge.errors import Problem
from bridge.publishers.creds import creds_of, seed_of

__all__ = ["login_looks_wrong"]

_WITH_EMBEDDED = {"BRIDGE_NATS_STREAM", "BRIDGE_NATS_RETENTION_S"}


@rule("BRIDGE_NATS_TLS_CERT_FILE", "BRIDGE_NATS_TLS_KEY_FILE")
def _nats_tls_pair_loads(config: Config, _given: Given) -> Iterator[Problem]:
    yield from pair("BRIDGE_NATS_TLS_", config.nats.tls_cert_file, config.nats.tls_key_file)


@rule("BRIDGE_NATS_TLS_CA_FILE")
def _nats_ca_loads(config: Config, _given: Given) -> Iterator[Problem]:
    yield from authorities("BRIDGE_NATS_TLS_CA_FILE", config.nats.tls_ca_file)


@rule("BRIDGE_BROKER", "BRIDGE_NATS_REPLICAS")
def _nats_variables_have_an_effect(config: Config, given: Given) -> Iterator[Problem]:
    kind = config.broker.kind
    if kind == "nats":
        return
    found = f"has no effect: BRIDGE_BROKER is {kind}"
    if kind == "embedded":
        found = "has no effect on the embedded broker, which is one server without login or TLS"
    for variable in variables(NatsConfig):
        if variable.name not in given or (kind == "embedded" and variable.name in _WITH_EMBEDDED):
            continue
        if (kind == "kafka" or variable.field == "replicas") and getattr(
            config.nats, variable.field
        ) == variable.default:
            continue
        yield Problem(given[variable.name], found, "BRIDGE_BROKER=nats://… or tls://…, or the variable unset")


@rule("BRIDGE_BROKER", "BRIDGE_NATS_TLS_FIRST")
def _nats_tls_is_asked_for(config: Config, given: Given) -> Iterator[Problem]:
    """A client that speaks TLS only when the server proposes it can be talked out of it by whoever is between."""
    if config.broker.kind != "nats" or config.broker.tls:
        return
    for variable in variables(NatsConfig):
        if variable.field.startswith("tls_") and getattr(config.nats, variable.field) and variable.name in given:
            yield Problem(
                variable.name, "is set, but nats:// goes without TLS where the server does", "BRIDGE_BROKER=tls://…"
            )


@rule("BRIDGE_NATS_USER", "BRIDGE_NATS_PASSWORD", "BRIDGE_NATS_TOKEN", "BRIDGE_NATS_NKEY", "BRIDGE_NATS_CREDS")
def _one_kind_of_credentials(config: Config, given: Given) -> Iterator[Problem]:
    nats = config.nats
    if (nats.user is None) != (nats.password is None):
        missing, there = ("USER", "PASSWORD") if nats.user is None else ("PASSWORD", "USER")
        yield Problem(f"BRIDGE_NATS_{missing}", "is not set", f"a value beside BRIDGE_NATS_{there}")
    kinds = [name for name in ("USER", "TOKEN", "NKEY", "CREDS") if f"BRIDGE_NATS_{name}" in given]
    for name in kinds[1:]:
        variable = given[f"BRIDGE_NATS_{name}"]
        first = given[f"BRIDGE_NATS_{kinds[0]}"]
        yield Problem(variable, f"is set beside {first}", "one kind of credentials")


@rule("BRIDGE_NATS_NKEY", "BRIDGE_NATS_CREDS")
def _credentials_look_right(config: Config, given: Given) -> Iterator[Problem]:
    for name, secret in (("BRIDGE_NATS_NKEY", config.nats.nkey), ("BRIDGE_NATS_CREDS", config.nats.creds)):
        if secret is not None:
            yield from login_looks_wrong(name, given[name], secret.reveal())


def login_looks_wrong(name: str, given_as: str, text: str) -> Iterator[Problem]:
    """What is wrong with the text of an nkey or of creds, as far as it can be seen without the broker.

    Args:
        name: the variable without `_FILE`.
        given_as: with it, if it was set so.
        text: what it holds; no message has any of it.
    """
    if name == "BRIDGE_NATS_NKEY" and seed_of(text) is None:
        yield Problem(given_as, "is no user seed", "58 characters that begin with SU")
    if name == "BRIDGE_NATS_CREDS" and creds_of(text) is None:
        yield Problem(
            given_as,
            "has no `BEGIN NATS USER JWT` and `BEGIN USER NKEY SEED`",
            "the content of a .creds file, or its path in BRIDGE_NATS_CREDS_FILE",
        )


@rule("BRIDGE_NATS_RETENTION_S", "BRIDGE_DEDUP_WINDOW_S")
def _window_fits_into_retention(config: Config, _given: Given) -> Iterator[Problem]:
    window_s, retention_s = config.dedup_window_s, config.nats.retention_s
    if retention_s < window_s:
        yield Problem(
            "BRIDGE_NATS_RETENTION_S",
            f"is {retention_s}, shorter than BRIDGE_DEDUP_WINDOW_S, and NATS refuses such a stream",
            f"at least {window_s}",
        )
