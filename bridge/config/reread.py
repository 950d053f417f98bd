"""What a file that is a setting says today, checked by the rules of the start.

Not here: when to look (`bridge.rotation`), and secrets of the broker, which are read at each connect.
"""

from pathlib import Path

import msgspec

from bridge.config.rules import pair
from bridge.config.secrets import Secret, read_secret_file, split_secrets
from bridge.config.settings import Config, SourceConfig
from bridge.config.validate import tokens_are_strong
from bridge.errors import ConfigError, Problem

__all__ = ["reread_tokens", "rereadable_certificate", "token_file"]


def token_file(source: SourceConfig) -> Path | None:
    """The file that the source's tokens are in; None where they are in the environment, or there are none."""
    return next((token.path for token in source.token if token.path is not None), None)


def reread_tokens(source: SourceConfig, path: Path) -> tuple[Secret, ...]:
    """The source's tokens as its file has them now.

    Raises:
        ConfigError: they cannot be read or would not be taken at the start; no message has any of them.
    """
    variable = source.variable("token_file")
    try:
        tokens = split_secrets(read_secret_file(path), path)
    except OSError as error:
        raise ConfigError([Problem(variable, f"cannot be read: {error.strerror}", "a readable file")]) from error
    except ValueError as error:
        raise ConfigError([Problem(variable, f"names a file that {error}", "tokens")]) from error
    if not tokens:
        raise ConfigError([Problem(variable, "has separators and nothing between them", "tokens")])
    if problems := tuple(tokens_are_strong(msgspec.structs.replace(source, token=tokens))):
        raise ConfigError(problems)
    return tokens


def rereadable_certificate(config: Config) -> None:
    """Whether the listener's certificate and key are a pair now.

    Raises:
        ConfigError: they are not.
    """
    if problems := tuple(pair("BRIDGE_TLS_", config.tls_cert_file, config.tls_key_file)):
        raise ConfigError(problems)
