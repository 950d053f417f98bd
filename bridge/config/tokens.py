"""Tokens and secrets the bridge makes for sources that have none, kept in the data directory.

A made secret of a provider that signs is for trying it out: `send` signs with it, as the provider would with its own.

Only behind a loopback listener: `validate` refuses the rest.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bridge.config.secrets import Secret, read_secret_file
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.validate import TOKEN_SHAPE
from bridge.errors import ConfigError, Problem
from bridge.providers.base import Provider
from bridge.providers.keys import keys_of, new_secret
from bridge.providers.proof import URL_TOKEN, Proof

__all__ = ["ensure_tokens", "find_token", "kept_in", "proofs_of"]


def ensure_tokens(config: Config, *, providers: Mapping[str, Provider] | None = None) -> Config:
    """The config with a token, or a secret, for each source that must prove its sender.

    Missing ones are made once and kept in `<data_dir>/tokens/<source>`, readable by the owner alone, so that the URL
    given to a provider stays true over restarts. Several processes may call this at the same time.

    Args:
        config: as loaded.
        providers: it was loaded with; the built-in ones if not given.

    Raises:
        ConfigError: a token cannot be kept or read; all of them.
    """
    problems: list[Problem] = []
    sources: list[SourceConfig] = []
    for source in config.sources:
        if source.verify == "none" or source.secrets:
            sources.append(source)
            continue
        path, proofs = kept_in(config, source), _proofs(source, providers)
        try:
            made = _kept(path, proofs) or _made(path, proofs)
            sources.append(msgspec.structs.replace(source, **{source.verify: (made,)}))
        except (OSError, ValueError) as error:
            problems.append(_problem(source, path, error))
    if problems:
        raise ConfigError(problems)
    return msgspec.structs.replace(config, sources=tuple(sources))


def find_token(config: Config, source: str, *, providers: Mapping[str, Provider] | None = None) -> Secret | None:
    """The token or secret to send with: the first configured one, or the kept one; None if the source asks for none.

    Nothing is made: before the first `serve` there is no kept one either.

    Raises:
        KeyError: there is no such source.
        ConfigError: the kept token cannot be read.
    """
    found = config.source(source)
    if found.verify == "none":
        return None
    if found.secrets:
        return found.secrets[0]
    path = kept_in(config, found)
    try:
        return _kept(path, _proofs(found, providers))
    except (OSError, ValueError) as error:
        raise ConfigError([_problem(found, path, error)]) from error


def kept_in(config: Config, source: SourceConfig) -> Path:
    """Where the token made for that source is kept, whether it is there or not."""
    return config.data_dir / "tokens" / source.name


def proofs_of(source: SourceConfig, provider: Provider) -> tuple[Proof, ...]:
    """What the source's token or secret is for, where it has one."""
    return provider.configured(source.own).proofs if source.verify == "secret" else (URL_TOKEN,)


def _proofs(source: SourceConfig, providers: Mapping[str, Provider] | None) -> tuple[Proof, ...]:
    if providers is None:
        from bridge.providers import PROVIDERS  # noqa: PLC0415 -- as in `load`

        providers = PROVIDERS
    return proofs_of(source, providers[source.provider])


def _kept(path: Path, proofs: tuple[Proof, ...]) -> Secret | None:
    try:
        value = read_secret_file(path)
    except FileNotFoundError:
        return None
    if not _fits(value, proofs):
        raise ValueError("holds no token of ours; delete it to have a new one made")
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return Secret(value, path)


def _fits(value: str, proofs: tuple[Proof, ...]) -> bool:
    if proofs == (URL_TOKEN,):
        return TOKEN_SHAPE.fullmatch(value) is not None
    try:
        keys_of(proofs, [value])
    except ValueError:
        return False
    return True


def _made(path: Path, proofs: tuple[Proof, ...]) -> Secret:
    """A new token, on disk before anybody can be told of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    token = new_secret(proofs[0])
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)  # whole or not at all, and never over another process's token
        except FileExistsError:
            pass
        except OSError:
            draft.replace(path)  # a file system without hard links
    finally:
        draft.unlink(missing_ok=True)
    kept = _kept(path, proofs)
    if kept is None:
        raise OSError(None, "it vanished while it was made")
    return kept


def _problem(source: SourceConfig, path: Path, error: OSError | ValueError) -> Problem:
    reason = error.strerror if isinstance(error, OSError) else error
    return Problem(
        source.variable(source.verify),
        f"is not set, and the {source.verify} made for source {source.name} cannot be kept in {path}: {reason}",
        "a secret (make one: openssl rand -hex 32), or a BRIDGE_DATA_DIR that can be written to",
    )
