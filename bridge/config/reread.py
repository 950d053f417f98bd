"""What a file that is a setting says today, checked by the rules of the start.

Not here: when to look (`bridge.rotation`), and secrets of the broker, which are read at each connect.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bridge.config.rules import pair
from bridge.config.secrets import Secret, read_secret_file, split_secrets
from bridge.config.settings import Config, SourceConfig
from bridge.config.source_rules import secrets_fit
from bridge.config.validate import tokens_are_strong
from bridge.errors import ConfigError, Problem
from bridge.providers.proof import Proof

__all__ = ["reread_tokens", "rereadable_certificate", "token_file"]


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
    try:
        found = split_secrets(read_secret_file(path), path)
    except OSError as error:
        raise ConfigError([Problem(variable, f"cannot be read: {error.strerror}", "a readable file")]) from error
    except ValueError as error:
        raise ConfigError([Problem(variable, f"names a file that {error}", f"{field}s")]) from error
    if not found:
        raise ConfigError([Problem(variable, "has separators and nothing between them", f"{field}s")])
    changed = msgspec.structs.replace(source, **{field: found})
    if problems := tuple(secrets_fit(changed, proofs) if field == "secret" else tokens_are_strong(changed)):
        raise ConfigError(problems)
    return found


def rereadable_certificate(config: Config) -> None:
    """Whether the listener's certificate and key are a pair now.

    Raises:
        ConfigError: they are not.
    """
    if problems := tuple(pair("BRIDGE_TLS_", config.tls_cert_file, config.tls_key_file)):
        raise ConfigError(problems)
