"""Every place that the settings have for a secret, with a secret in it; and every way to get one of them wrong.

Made from the settings themselves, so that a new secret of a source is covered by itself, and one of a broker makes
`test_every_secret_of_the_settings_is_given` fail until it is in `LOGINS`.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from bridge.config import SourceConfig
from bridge.config.variables import own_variables, variables
from bridge.providers import PROVIDERS
from bridge.providers.base import Provider
from bridge.providers.keys import new_secret
from tests.canary.watch import is_secret
from tests.nats_keys import NatsOperator, new_key

__all__ = ["LOGINS", "every_secret", "in_files", "misplaced", "mistakes", "of_sources", "one_by_one", "unusual"]

NOWHERE = "127.0.0.1:9"  # nobody serves `discard` any more


def unusual() -> str:
    """A secret that any setting takes and that is written nowhere else."""
    return f"canary-{secrets.token_hex(16)}"


def one_by_one() -> Iterator[dict[str, str]]:
    """For each provider a source of its name alone, with all the secrets that its settings have."""
    for name, provider in PROVIDERS.items():
        source = SourceConfig(name=name, provider=name)
        env = {"BRIDGE_SOURCES": name, source.variable("public_url"): "https://hooks.example.com"}
        env[source.variable("secret" if provider.signs else "token")] = _signing_secret(provider)
        for variable in () if provider.settings is None else own_variables(provider.settings):
            if variable.secret:
                env[source.variable(variable.field)] = unusual()
        yield env


def of_sources() -> dict[str, str]:
    """All of these together."""
    every = {name: text for env in one_by_one() for name, text in env.items()}
    return {**every, "BRIDGE_SOURCES": ",".join(PROVIDERS)}


def _signing_secret(provider: Provider) -> str:
    if provider.settings is not None:
        provider = provider.configured(provider.settings())
    for proof in provider.proofs if provider.signs else ():
        with suppress(ValueError):  # the sender's own key
            return new_secret(proof)
    return unusual()


LOGINS: Mapping[str, Mapping[str, str]] = {
    "NATS by password": {
        "BRIDGE_BROKER": f"nats://{NOWHERE}",
        "BRIDGE_NATS_USER": "bridge",
        "BRIDGE_NATS_PASSWORD": unusual(),
    },
    "NATS by token": {"BRIDGE_BROKER": f"nats://{NOWHERE}", "BRIDGE_NATS_TOKEN": unusual()},
    "NATS by nkey": {"BRIDGE_BROKER": f"nats://{NOWHERE}", "BRIDGE_NATS_NKEY": new_key(b"U").seed},
    "NATS by creds": {"BRIDGE_BROKER": f"nats://{NOWHERE}", "BRIDGE_NATS_CREDS": NatsOperator().creds(new_key(b"U"))},
    "Kafka by password": {
        "BRIDGE_BROKER": f"kafka://{NOWHERE}",
        "BRIDGE_KAFKA_SASL": "scram-sha-512",
        "BRIDGE_KAFKA_USER": "bridge",
        "BRIDGE_KAFKA_PASSWORD": unusual(),
    },
    "Kafka by token": {
        "BRIDGE_BROKER": f"kafka://{NOWHERE}",
        "BRIDGE_KAFKA_SASL": "oauthbearer",
        "BRIDGE_KAFKA_TOKEN": unusual(),
    },
}
"""A broker that is not there, and each way to log in to it."""


def every_secret() -> set[str]:
    """The names of all variables that the settings call secret, `<NAME>` for a source's."""
    own = [own_variables(provider.settings) for provider in PROVIDERS.values() if provider.settings is not None]
    return {variable.name for variable in sum(own, variables()) if variable.secret}


def in_files(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The same settings, their secrets in files."""
    moved: dict[str, str] = {}
    for name, text in env.items():
        if is_secret(name):
            (folder / name).write_text(f"{text}\n")
            name, text = f"{name}_FILE", str(folder / name)  # noqa: PLW2901 -- the pair as it is set
        moved[name] = text
    return moved


def mistakes(name: str, secret: str) -> Iterator[dict[str, str | None]]:
    """What operators do to a variable with a secret, as changes of the environment."""
    yield {name: None, name[:-1]: secret}  # a typing error beside it
    yield {name: None, f"{name}_FILE": secret}  # the secret for its path
    yield {f"{name}_FILE": secret}
    yield {name: secret[:13]}
    yield {name: f"{secret} é\x1b[31m;{secret}"}
    yield {name: f'"{secret}"'}
    yield {name: f"{secret},{secret[::-1]}"}
    yield {name: f"whsec_{secret}*"}
    yield {"BRIDGE_BROKER": "embedded:"}  # where a broker's login has no effect


def misplaced(secret: str) -> Iterator[dict[str, str]]:
    """A secret in variables that are for none."""
    pem = f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"
    for scheme in ("nats", "kafka"):
        yield {"BRIDGE_BROKER": f"{scheme}://bridge:{secret}@broker.example.com:4222"}
    yield {"BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL": f"https://hooks.example.com/webhooks/chatlevel/{secret}"}
    yield {"BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL": f"https://hooks.example.com?token={secret}"}
    for prefix in ("BRIDGE_", "BRIDGE_NATS_", "BRIDGE_KAFKA_"):  # a private key for its path
        yield {f"{prefix}TLS_KEY_FILE": pem, f"{prefix}TLS_CERT_FILE": pem.replace("\n", " ")}
    yield {"BRIDGE_NATS_TLS_CA_FILE": b64encode(pem.encode()).decode()}
