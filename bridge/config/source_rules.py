"""The rules between the settings of a source and its provider, at start and when the file of a secret changes.

A problem names the variable without looking at where the value came from: `_FILE` is the reader's to know.
"""

from collections.abc import Iterator, Sequence

from bridge.config.source_settings import SourceConfig
from bridge.config.strength import looks_guessable
from bridge.config.values import shown
from bridge.errors import Problem
from bridge.events.open_types import encode_type
from bridge.providers.base import Provider
from bridge.providers.keys import keys_of
from bridge.providers.proof import Proof
from bridge.providers.public_url import network

__all__ = ["problems_of", "secrets_fit"]

_MIN_CHARS = 16


def problems_of(source: SourceConfig, provider: Provider) -> Iterator[Problem]:
    """What of the source does not go with its provider, as configured."""
    if source.verify == "secret" and not provider.signs:
        expected = "token, or none said aloud"
        yield Problem(source.variable("verify"), f"is secret, while {provider.name} signs nothing", expected)
    elif source.secret:
        yield from secrets_fit(source, provider.proofs)
    yield from _public_urls(source, provider)
    yield from _types(source, provider)


def secrets_fit(source: SourceConfig, proofs: Sequence[Proof]) -> Iterator[Problem]:
    """Whether the source's secrets are of the provider's form, and nobody guesses them."""
    for number, secret in enumerate(source.secret, start=1):
        name = source.variable("secret_file" if secret.path else "secret")
        value = secret.reveal()
        which = f"secret {number} of {len(source.secret)}" if len(source.secret) > 1 else "the secret"
        try:
            keys_of(proofs, [value])
        except ValueError as error:
            yield Problem(name, str(error).replace("the secret", which, 1), "the secret as the provider shows it")
            continue
        if len(value) < _MIN_CHARS:
            yield Problem(name, f"{which} has {len(value)} characters", f"at least {_MIN_CHARS}")
        elif looks_guessable(value):
            yield Problem(name, f"{which} looks like a placeholder that anybody can guess", "the provider's own secret")


def _public_urls(source: SourceConfig, provider: Provider) -> Iterator[Problem]:
    """Who says where the sender calls, where it signs that."""
    signs_url = source.verify == "secret" and any(proof.needs_url for proof in provider.proofs)
    name = source.variable("trusted_proxies")
    if signs_url and source.public_url is None and not source.trusted_proxies:
        found = f"is not set, while {provider.name} signs the URL that it calls"
        expected = f"the https address that it calls, without the path; or {name}, for a proxy that tells it"
        yield Problem(source.variable("public_url"), found, expected)
    if source.trusted_proxies and not signs_url:
        yield Problem(name, f"is set, while {provider.name} does not sign the URL that it calls", "the variable unset")
    elif wrong := [text for text in source.trusted_proxies if not _is_network(text)]:
        expected = "addresses such as 10.0.0.7 and networks such as 10.1.0.0/16, and never everybody"
        yield Problem(
            name, f"names {', '.join(map(shown, wrong))}, no address or network that can be believed", expected
        )


def _is_network(text: str) -> bool:
    try:
        network(text)
    except ValueError:
        return False
    return True


def _types(source: SourceConfig, provider: Provider) -> Iterator[Problem]:
    name = source.variable("types")
    if source.types and not provider.open_types:
        yield Problem(
            name, f"is set, while all types of {provider.name} are known and have topics", "the variable unset"
        )
        return
    for text in source.types:
        if encode_type(text) != text:
            yield Problem(name, f"names {text!r}, which no event can have", "types such as push or orders.create")
