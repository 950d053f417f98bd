"""What a file that is a setting says today, checked by the rules of the start.

Not here: when to look (`bridge.rotation`), and what follows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from bridge.config.broker_settings import KafkaConfig, NatsConfig
from bridge.config.rules import authorities, pair
from bridge.config.secrets import Secret, read_secret_file, split_secrets
from bridge.config.settings import Config
from bridge.config.source_rules import secrets_fit
from bridge.config.source_settings import SourceConfig
from bridge.config.validate import tokens_are_strong
from bridge.config.validate_nats import login_looks_wrong
from bridge.config.variables import variables
from bridge.errors import ConfigError, Problem
from bridge.providers.proof import Proof

__all__ = ["BrokerFiles", "broker_files", "reread_login", "reread_tokens", "rereadable_certificate", "token_file"]


class BrokerFiles(msgspec.Struct, frozen=True):
    """Files of the broker's login or TLS that are used together.

    Attributes:
        variable: that names them, or the first of them.
        paths: of the files.
        check: whether they would be taken at the start; raises ConfigError if not.
    """

    variable: str
    paths: tuple[Path, ...]
    check: Callable[[], object]


def token_file(source: SourceConfig) -> Path | None:
    """The file that the source's tokens or secrets are in; None: they are in the environment, or there are none."""
    return next((secret.path for secret in source.secrets if secret.path is not None), None)


def reread_tokens(source: SourceConfig, path: Path, proofs: Sequence[Proof] = ()) -> tuple[Secret, ...]:
    """The source's tokens or secrets, whichever prove its sender, as their file has them now.

    Args:
        source: whose.
        path: of the file.
        proofs: of its provider, whose form secrets must have.

    Raises:
        ConfigError: they cannot be read or would not be taken at the start; no message has any of them.
    """
    field = "secret" if source.verify == "secret" else "token"
    variable = source.variable(f"{field}_file")
    found = split_secrets(_read(variable, path, f"{field}s"), path)
    if not found:
        raise ConfigError([Problem(variable, "has separators and nothing between them", f"{field}s")])
    changed = msgspec.structs.replace(source, **{field: found})
    _raise(secrets_fit(changed, proofs) if field == "secret" else tokens_are_strong(changed))
    return found


def rereadable_certificate(config: Config) -> None:
    """Whether the listener's certificate and key are a pair now.

    Raises:
        ConfigError: they are not.
    """
    _raise(pair("BRIDGE_TLS_", config.tls_cert_file, config.tls_key_file))


def broker_files(config: Config) -> Iterator[BrokerFiles]:
    """Every file that the configured broker is connected to with."""
    if config.broker.kind == "embedded":
        return
    prefix = f"BRIDGE_{config.broker.kind.upper()}_"
    settings = config.kafka if config.broker.kind == "kafka" else config.nats
    for variable in variables(type(settings)):
        secret = getattr(settings, variable.field)
        if isinstance(secret, Secret) and secret.path is not None:
            check = partial(reread_login, variable.name, secret.path)
            yield BrokerFiles(f"{variable.name}_FILE", (secret.path,), check)
    files = {"CA": settings.tls_ca_file, "CERT": settings.tls_cert_file, "KEY": settings.tls_key_file}
    given = {name: path for name, path in files.items() if path is not None}
    if given:
        variable_name = f"{prefix}TLS_{next(iter(given))}_FILE"
        yield BrokerFiles(variable_name, tuple(given.values()), partial(_reread_tls, f"{prefix}TLS_", settings))


def reread_login(variable: str, path: Path) -> str:
    """A secret of the broker's as its file has it now.

    Args:
        variable: without `_FILE`.
        path: of the file.

    Raises:
        ConfigError: it cannot be read or would not be taken at the start; no message has any of it.
    """
    text = _read(f"{variable}_FILE", path, "the secret")
    _raise(login_looks_wrong(variable, f"{variable}_FILE", text))
    return text


def _reread_tls(prefix: str, settings: KafkaConfig | NatsConfig) -> None:
    """All three or none: they are used together."""
    _raise(authorities(f"{prefix}CA_FILE", settings.tls_ca_file))
    _raise(pair(prefix, settings.tls_cert_file, settings.tls_key_file))


def _read(variable: str, path: Path, expected: str) -> str:
    try:
        return read_secret_file(path)
    except OSError as error:
        raise ConfigError([Problem(variable, f"cannot be read: {error.strerror}", "a readable file")]) from error
    except ValueError as error:
        raise ConfigError([Problem(variable, f"names a file that {error}", expected)]) from error


def _raise(problems: Iterable[Problem]) -> None:
    if found := tuple(problems):
        raise ConfigError(found)
