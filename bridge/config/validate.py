"""The rules between settings, and the few about one setting that a type cannot say. All of them are here.

A rule names the variables it reads and is left out while one of them is broken, for what it would say then is noise.
A message says what would happen later.
"""

import re
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bridge.config.settings import Config, NatsConfig, SourceConfig
from bridge.config.values import Address
from bridge.config.variables import variables
from bridge.errors import Problem

__all__ = ["TOKEN_SHAPE", "validate"]

TOKEN_SHAPE = re.compile(r"[A-Za-z0-9._~-]{16,512}", re.ASCII)  # what a URL's path takes unescaped (RFC 3986, 2.3)
_STRONG = "at least 16 characters of A-Z a-z 0-9 . _ ~ -, such as the output of: openssl rand -hex 32"
_PLACEHOLDER = re.compile(
    r"change[._~-]?(me|this|it)|place[._~-]?holder|replace[._~-]?(me|this|with)|^(example|your|insert|xxx)",
    re.IGNORECASE,
)
_MIN_DISTINCT = 5  # a random token of 16 hex digits has fewer once in 30,000
_NKEY_SEED = re.compile(r"SU[A-Z2-7]{56}", re.ASCII)
_WITH_EMBEDDED = {"BRIDGE_NATS_STREAM", "BRIDGE_NATS_RETENTION_S"}

Given = Mapping[str, str]
Rule = Callable[[Config, Given], Iterator[Problem]]
SourceRule = Callable[[Config, SourceConfig], Iterator[Problem]]

_RULES: list[tuple[tuple[str, ...], Rule]] = []
_SOURCE_RULES: list[tuple[tuple[str, ...], SourceRule]] = []


def validate(config: Config, given: Given, broken: Collection[str] = ()) -> list[Problem]:
    """Everything wrong with settings that are each right.

    Args:
        config: as read.
        given: variable -> the name it was set by.
        broken: variables whose values are not what the environment says.
    """
    problems: list[Problem] = []
    for reads, rule in _RULES:
        if not any(name in broken for name in reads):
            problems += rule(config, given)
    for source in config.sources:
        for reads, source_rule in _SOURCE_RULES:
            names = (name if name.isupper() else source.variable(name) for name in reads)
            if not any(name in broken for name in names):
                problems += source_rule(config, source)
    return [problem for problem in problems if problem.variable not in broken]


def _rule(*reads: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.append((reads, rule))
        return rule

    return register


def _source_rule(*reads: str) -> Callable[[SourceRule], SourceRule]:
    """For each source; names in lower case are its fields."""

    def register(rule: SourceRule) -> SourceRule:
        _SOURCE_RULES.append((reads, rule))
        return rule

    return register


@_rule("BRIDGE_BROKER", "BRIDGE_LISTEN")
def _embedded_is_said_aloud(config: Config, given: Given) -> Iterator[Problem]:
    if not config.listen.loopback and "BRIDGE_BROKER" not in given:
        yield Problem(
            "BRIDGE_BROKER",
            f"is not set, while BRIDGE_LISTEN {config.listen} takes webhooks from beyond this machine",
            "nats://… or tls://…; or embedded: said aloud, which keeps all events on this machine's disk alone",
        )


@_rule("BRIDGE_BROKER", "BRIDGE_LISTEN", "BRIDGE_OPS_LISTEN", "BRIDGE_EMBEDDED_LISTEN")
def _ports_differ(config: Config, _given: Given) -> Iterator[Problem]:
    listeners = {"BRIDGE_LISTEN": config.listen, "BRIDGE_OPS_LISTEN": config.ops_listen}
    if config.broker.kind == "embedded":
        listeners["BRIDGE_EMBEDDED_LISTEN"] = config.embedded_listen
    seen: dict[int, tuple[str, Address]] = {}
    for name, address in listeners.items():
        if address.port and address.port in seen:
            other, taken = seen[address.port]
            yield Problem(name, f"is {address}, the port of {other} ({taken})", "a port of its own")
        seen.setdefault(address.port, (name, address))


@_rule("BRIDGE_DATA_DIR")
def _data_dir_is_a_directory(config: Config, _given: Given) -> Iterator[Problem]:
    try:
        exists, is_directory = config.data_dir.exists(), config.data_dir.is_dir()
    except OSError as error:
        yield Problem("BRIDGE_DATA_DIR", f"cannot be used: {error.strerror}", "a directory, which need not exist yet")
        return
    if exists and not is_directory:
        yield Problem("BRIDGE_DATA_DIR", "is a file", "a directory, which need not exist yet")


@_rule("BRIDGE_TLS_CERT_FILE", "BRIDGE_TLS_KEY_FILE")
def _tls_pair_loads(config: Config, _given: Given) -> Iterator[Problem]:
    yield from _pair("BRIDGE_TLS_", config.tls_cert_file, config.tls_key_file)


@_rule("BRIDGE_NATS_TLS_CERT_FILE", "BRIDGE_NATS_TLS_KEY_FILE")
def _nats_tls_pair_loads(config: Config, _given: Given) -> Iterator[Problem]:
    yield from _pair("BRIDGE_NATS_TLS_", config.nats.tls_cert_file, config.nats.tls_key_file)


@_rule("BRIDGE_NATS_TLS_CA_FILE")
def _nats_ca_loads(config: Config, _given: Given) -> Iterator[Problem]:
    if (path := config.nats.tls_ca_file) is None:
        return
    if reason := _unreadable(path):
        yield Problem("BRIDGE_NATS_TLS_CA_FILE", reason, "a readable PEM file")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, ValueError):
        yield Problem("BRIDGE_NATS_TLS_CA_FILE", f"{path} holds no certificate", "certificates in PEM form")


@_rule("BRIDGE_BROKER", "BRIDGE_NATS_REPLICAS")
def _nats_variables_have_an_effect(config: Config, given: Given) -> Iterator[Problem]:
    if config.broker.kind != "embedded":
        return
    for variable in variables(NatsConfig):
        if variable.name not in given or variable.name in _WITH_EMBEDDED:
            continue
        if variable.field == "replicas" and config.nats.replicas == 1:
            continue
        found = "has no effect on the embedded broker, which is one server without login or TLS"
        yield Problem(given[variable.name], found, "BRIDGE_BROKER=nats://… or tls://…, or the variable unset")


@_rule("BRIDGE_BROKER", "BRIDGE_NATS_TLS_FIRST")
def _nats_tls_is_asked_for(config: Config, given: Given) -> Iterator[Problem]:
    """A client that speaks TLS only when the server proposes it can be talked out of it by whoever is between."""
    if config.broker.kind == "embedded" or config.broker.tls:
        return
    for variable in variables(NatsConfig):
        if variable.field.startswith("tls_") and getattr(config.nats, variable.field) and variable.name in given:
            yield Problem(
                variable.name, "is set, but nats:// goes without TLS where the server does", "BRIDGE_BROKER=tls://…"
            )


@_rule("BRIDGE_NATS_USER", "BRIDGE_NATS_PASSWORD", "BRIDGE_NATS_TOKEN", "BRIDGE_NATS_NKEY", "BRIDGE_NATS_CREDS")
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


@_rule("BRIDGE_NATS_NKEY", "BRIDGE_NATS_CREDS")
def _credentials_look_right(config: Config, given: Given) -> Iterator[Problem]:
    nkey, creds = config.nats.nkey, config.nats.creds
    if nkey is not None and not _NKEY_SEED.fullmatch(nkey.reveal().strip()):
        yield Problem(given["BRIDGE_NATS_NKEY"], "is no user seed", "58 characters that begin with SU")
    if creds is not None and not all(
        f"-BEGIN {part}-" in creds.reveal() for part in ("NATS USER JWT", "USER NKEY SEED")
    ):
        yield Problem(
            given["BRIDGE_NATS_CREDS"],
            "has no `BEGIN NATS USER JWT` and `BEGIN USER NKEY SEED`",
            "the content of a .creds file, or its path in BRIDGE_NATS_CREDS_FILE",
        )


@_rule("BRIDGE_NATS_RETENTION_S", "BRIDGE_DEDUP_WINDOW_S")
def _window_fits_into_retention(config: Config, _given: Given) -> Iterator[Problem]:
    window_s, retention_s = config.dedup_window_s, config.nats.retention_s
    if retention_s < window_s:
        yield Problem(
            "BRIDGE_NATS_RETENTION_S",
            f"is {retention_s}, shorter than BRIDGE_DEDUP_WINDOW_S, and NATS refuses such a stream",
            f"at least {window_s}",
        )


@_source_rule("BRIDGE_LISTEN", "token", "verify")
def _sender_is_proven(config: Config, source: SourceConfig) -> Iterator[Problem]:
    token, verify = source.variable("token"), source.variable("verify")
    if source.verify == "none" and source.token:
        yield Problem(verify, f"is none, while {token} is set and would not be asked for", "one of the two")
    if source.verify == "token" and not source.token and not config.listen.loopback:
        yield Problem(
            token,
            f"is not set, while BRIDGE_LISTEN {config.listen} takes webhooks from beyond this machine",
            f"a secret for source {source.name} (make one: openssl rand -hex 32), or {token}_FILE; without any proof "
            f"of the sender only with {verify}=none",
        )


@_source_rule("token")
def _tokens_are_strong(_config: Config, source: SourceConfig) -> Iterator[Problem]:
    for number, token in enumerate(source.token, start=1):
        name = source.variable("token_file" if token.path else "token")
        value = token.reveal()
        which = f"token {number} of {len(source.token)}" if len(source.token) > 1 else "the token"
        if not TOKEN_SHAPE.fullmatch(value):
            yield Problem(name, f"{which} has {len(value)} characters or others than allowed", _STRONG)
        elif _PLACEHOLDER.search(value) or len(set(value)) < _MIN_DISTINCT:
            yield Problem(name, f"{which} looks like a placeholder that anybody can guess", _STRONG)


@_source_rule("public_url")
def _public_url_is_a_base(_config: Config, source: SourceConfig) -> Iterator[Problem]:
    """The value is not shown: people paste the whole webhook URL, and a token is in it."""
    if source.public_url is None:
        return
    expected = "the https address alone, such as https://hooks.example.com"
    name = source.variable("public_url")
    try:
        url = urlsplit(source.public_url)
        host, _port = url.hostname, url.port
    except ValueError:
        yield Problem(name, "is no URL", expected)
        return
    unprintable = not source.public_url.isascii() or not source.public_url.isprintable() or " " in source.public_url
    if url.scheme != "https" or not host or unprintable:
        yield Problem(name, "is no https URL", expected)
    elif url.username is not None or "?" in source.public_url or "#" in source.public_url:
        yield Problem(name, "has a login, a query or a fragment", expected)
    elif "/webhooks" in url.path:
        yield Problem(name, "has the webhook's path, which is added to it", expected)


def _pair(prefix: str, cert: Path | None, key: Path | None) -> Iterator[Problem]:
    files = {f"{prefix}CERT_FILE": cert, f"{prefix}KEY_FILE": key}
    if cert is None and key is None:
        return
    faults = {
        name: "is not set beside the other" if path is None else _unreadable(path) for name, path in files.items()
    }
    for name, fault in faults.items():
        if fault:
            yield Problem(name, fault, "the path of a readable PEM file; certificate and key go together")
    if cert is None or key is None or any(faults.values()):
        return
    try:
        # a pass phrase would be asked for on the terminal, or nowhere; empty, it fails
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError):
        expected = "a certificate chain in PEM form and the key that belongs to it, without a pass phrase"
        yield Problem(f"{prefix}CERT_FILE", f"{cert} and {key} do not load as a pair", expected)


def _unreadable(path: Path) -> str | None:
    try:
        if path.exists() and not path.is_file():
            return f"{path} is not a regular file"
        with path.open("rb"):
            return None
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
