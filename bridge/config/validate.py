"""The rules between settings, and the few about one setting that a type cannot say.

Those about one kind of broker are in `validate_nats` and `validate_kafka`.

A rule names the variables it reads and is left out while one of them is broken, for what it would say then is noise.
A message says what would happen later.
"""

import re
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from bridge.config import validate_kafka, validate_nats  # noqa: F401 -- registers their rules
from bridge.config.rules import RULES, SOURCE_RULES, Given, pair, rule, source_rule
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.strength import looks_guessable
from bridge.config.values import Address
from bridge.errors import ConfigError, Problem
from bridge.spool.files import refuse_unfit

__all__ = ["TOKEN_SHAPE", "tokens_are_strong", "validate"]

TOKEN_SHAPE = re.compile(r"[A-Za-z0-9._~-]{16,512}", re.ASCII)  # what a URL's path takes unescaped (RFC 3986, 2.3)
_STRONG = "at least 16 characters of A-Z a-z 0-9 . _ ~ -, such as the output of: openssl rand -hex 32"


def validate(config: Config, given: Given, broken: Collection[str] = ()) -> list[Problem]:
    """Everything wrong with settings that are each right.

    Args:
        config: as read.
        given: variable -> the name it was set by.
        broken: variables whose values are not what the environment says.
    """
    problems: list[Problem] = []
    for reads, found in RULES:
        if not any(name in broken for name in reads):
            problems += found(config, given)
    for source in config.sources:
        for reads, about_source in SOURCE_RULES:
            names = (name if name.isupper() else source.variable(name) for name in reads)
            if not any(name in broken for name in names):
                problems += about_source(config, source)
    return [problem for problem in problems if problem.variable not in broken]


@rule("BRIDGE_BROKER", "BRIDGE_LISTEN")
def _embedded_is_said_aloud(config: Config, given: Given) -> Iterator[Problem]:
    if not config.listen.loopback and "BRIDGE_BROKER" not in given:
        yield Problem(
            "BRIDGE_BROKER",
            f"is not set, while BRIDGE_LISTEN {config.listen} takes webhooks from beyond this machine",
            "nats://… or tls://…; or embedded: said aloud, which keeps all events on this machine's disk alone",
        )


@rule("BRIDGE_BROKER", "BRIDGE_LISTEN", "BRIDGE_OPS_LISTEN", "BRIDGE_EMBEDDED_LISTEN")
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


@rule("BRIDGE_DATA_DIR")
def _data_dir_is_a_directory(config: Config, _given: Given) -> Iterator[Problem]:
    try:
        exists, is_directory = config.data_dir.exists(), config.data_dir.is_dir()
    except OSError as error:
        yield Problem("BRIDGE_DATA_DIR", f"cannot be used: {error.strerror}", "a directory, which need not exist yet")
        return
    if exists and not is_directory:
        yield Problem("BRIDGE_DATA_DIR", "is a file", "a directory, which need not exist yet")


@rule("BRIDGE_SPOOL", "BRIDGE_DATA_DIR")
def _spool_is_on_a_disk(config: Config, _given: Given) -> Iterator[Problem]:
    if config.spool == "on":
        try:
            refuse_unfit(config.data_dir)
        except ConfigError as error:
            yield from error.problems


@rule("BRIDGE_TLS_CERT_FILE", "BRIDGE_TLS_KEY_FILE")
def _tls_pair_loads(config: Config, _given: Given) -> Iterator[Problem]:
    yield from pair("BRIDGE_TLS_", config.tls_cert_file, config.tls_key_file)


@rule("BRIDGE_MAX_IN_FLIGHT", "BRIDGE_SOURCES")
def _each_source_has_a_place(config: Config, _given: Given) -> Iterator[Problem]:
    places, sources = config.max_in_flight, len(config.sources)
    if places < sources:
        yield Problem("BRIDGE_MAX_IN_FLIGHT", f"is {places}, for {sources} sources", "at least one for each of them")


@source_rule("BRIDGE_LISTEN", "token", "secret", "verify")
def _sender_is_proven(config: Config, source: SourceConfig) -> Iterator[Problem]:
    verify = source.variable("verify")
    for field, values in (("token", source.token), ("secret", source.secret)):
        if values and source.verify != field:
            found = f"is {source.verify}, while {source.variable(field)} is set and would not be asked for"
            yield Problem(verify, found, "one of the two")
    if source.verify != "none" and not source.secrets and not config.listen.loopback:
        name = source.variable(source.verify)
        which = "the signing secret" if source.verify == "secret" else "a secret"
        made = "" if source.verify == "secret" else " (make one: openssl rand -hex 32)"
        yield Problem(
            name,
            f"is not set, while BRIDGE_LISTEN {config.listen} takes webhooks from beyond this machine",
            f"{which} for source {source.name}{made}, or {name}_FILE; without any proof "
            f"of the sender only with {verify}=none",
        )


@source_rule("BRIDGE_DEAD_LETTER_TOPIC", "unknown")
def _dead_letters_have_a_topic(config: Config, source: SourceConfig) -> Iterator[Problem]:
    if source.unknown == "dead-letter" and config.dead_letter_topic is None:
        name = source.variable("unknown")
        yield Problem(name, "is dead-letter, while BRIDGE_DEAD_LETTER_TOPIC is empty", "publish or drop, or a topic")


@source_rule("token")
def _tokens_are_strong(_config: Config, source: SourceConfig) -> Iterator[Problem]:
    yield from tokens_are_strong(source)


def tokens_are_strong(source: SourceConfig) -> Iterator[Problem]:
    """Whether nobody guesses the source's tokens, and a URL takes them."""
    for number, token in enumerate(source.token, start=1):
        name = source.variable("token_file" if token.path else "token")
        value = token.reveal()
        which = f"token {number} of {len(source.token)}" if len(source.token) > 1 else "the token"
        if not TOKEN_SHAPE.fullmatch(value):
            yield Problem(name, f"{which} has {len(value)} characters or others than allowed", _STRONG)
        elif looks_guessable(value):
            yield Problem(name, f"{which} looks like a placeholder that anybody can guess", _STRONG)


@source_rule("public_url")
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
