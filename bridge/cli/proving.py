"""Whether a captured request proves its sender, by the verifier that the entrance has, and what that depends on."""

import msgspec

from bridge.cli.explained import ExplainedStep
from bridge.config import Config, SourceConfig, find_token
from bridge.errors import ConfigError
from bridge.ingest.compiled import make_verifier
from bridge.providers import PROVIDERS
from bridge.providers.public_url import network
from bridge.providers.request import Request
from bridge.providers.signatures import Step

__all__ = ["prove_request"]


def prove_request(config: Config, source: SourceConfig, request: Request) -> tuple[ExplainedStep, ...]:
    """The steps of the proof, none where VERIFY=none asks for no proof."""
    if source.verify == "none":
        return ()
    variable = source.variable(source.verify)
    try:
        secrets = source.secrets or (find_token(config, source.name),)
    except (ConfigError, KeyError):
        secrets = (None,)
    known = tuple(secret for secret in secrets if secret is not None)
    if not known:
        return (ExplainedStep(name=source.verify, right=False, found=f"there is none: set {variable}"),)
    armed = msgspec.structs.replace(source, **{source.verify: known})
    try:
        verifier = make_verifier(armed, PROVIDERS[source.provider])
    except ValueError as error:
        return (ExplainedStep(name=source.verify, right=False, found=str(error)),)
    assert verifier is not None  # noqa: S101 -- VERIFY=none is handled above
    if not verifier.needs_peer:
        steps = verifier.explain(request)
    else:  # a file does not tell who handed the request over
        proxy = str(network(source.trusted_proxies[0]).network_address)
        taken = Step("peer", True, f"taken for {proxy}, a trusted proxy")  # noqa: FBT003 -- a struct's fields
        steps = [taken, *verifier.explain(request._replace(peer=proxy))]
    return tuple(ExplainedStep(name=step.name, right=step.right, found=step.found) for step in steps)
