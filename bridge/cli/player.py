"""Playing the provider: where a source's requests go, and with which headers, its proof among them."""

import time
from collections.abc import Mapping

import click
import httpx

from bridge.cli.bodies import Body
from bridge.cli.urls import local_url
from bridge.config import Config, SourceConfig, find_token, proofs_of
from bridge.providers import PROVIDERS
from bridge.providers.request import Request
from bridge.providers.signing import Signer

__all__ = ["Player"]


class Player:
    """Makes requests as the source's provider does.

    Attributes:
        url: where to post to; a token may be in it.
    """

    def __init__(
        self, config: Config, source: SourceConfig, *, url: str | None = None, base: str | None = None
    ) -> None:
        """Find the token or the secret, and what is made with it.

        Args:
            config: as `serve` has it.
            source: whose provider to play.
            url: post there instead of to the configured entrance; a token is part of it.
            base: the bridge's address, where it is not on this machine.

        Raises:
            click.ClickException: there is no token or secret yet, or one that signs nothing.
        """
        secret = find_token(config, source.name) if url is None or source.verify == "secret" else None
        if secret is None and source.verify != "none" and (url is None or source.verify == "secret"):
            raise click.ClickException(
                f"there is no {source.verify} for source {source.name!r} yet, neither in "
                f"{source.variable(source.verify)} nor in {config.data_dir}: `webhook-bridge serve` makes one when it "
                "starts with this environment"
            )
        self.url = url or local_url(config, source, secret if source.verify == "token" else None, base=base)
        proofs = proofs_of(source, PROVIDERS[source.provider])
        try:
            self._signer = None if secret is None else Signer(proofs, secret.reveal(), public_url=source.public_url)
        except ValueError as error:
            raise click.ClickException(f"{source.variable('secret')}: {error}") from None

    def headers(self, body: Body) -> dict[str, str]:
        """Of one request, signed now."""
        headers = {"content-type": "application/json", **body.headers}
        return {**headers, **self._proof(body, headers)}

    def _proof(self, body: Body, headers: Mapping[str, str]) -> Mapping[str, str]:
        if self._signer is None:
            return {}
        url = httpx.URL(self.url)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        request = Request("POST", url.raw_path.partition(b"?")[0], url.query, pairs, body.content)
        return self._signer.sign(request, now=time.time())
