"""Playing the provider: where a source's requests go, and with which headers, its proof among them."""

import time

import click
import httpx

from bridge.cli.bodies import Body
from bridge.cli.urls import local_url
from bridge.config import Config, Secret, SourceConfig, find_token, proofs_of
from bridge.providers import PROVIDERS
from bridge.providers.public_url import PROXY_HEADERS
from bridge.providers.request import Request
from bridge.providers.signing import Signer

__all__ = ["Player", "secret_of"]


def secret_of(config: Config, source: SourceConfig) -> Secret | None:
    """What proves the source's sender: the first token or secret; None where it asks for none.

    Raises:
        click.ClickException: there is none yet.
    """
    secret = find_token(config, source.name)
    if secret is None and source.verify != "none":
        raise click.ClickException(
            f"there is no {source.verify} for source {source.name!r} yet, neither in "
            f"{source.variable(source.verify)} nor in {config.data_dir}: `webhook-bridge serve` makes one when it "
            "starts with this environment"
        )
    return secret


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
        needed = url is None or source.verify == "secret"
        secret = secret_of(config, source) if needed else None
        self.url = url or local_url(config, source, secret if source.verify == "token" else None, base=base)
        proofs = proofs_of(source, PROVIDERS[source.provider])
        try:
            self._called = called = httpx.URL(self.url)
        except httpx.InvalidURL:  # whose message has a part of it, and a token is in it
            raise click.ClickException("the URL to post to is none; expected http(s)://host[:port]/…") from None
        told = source.public_url is None and source.trusted_proxies and any(proof.needs_url for proof in proofs)
        where = (called.scheme, called.netloc.decode())
        self._proxied = {name.decode(): text for name, text in zip(PROXY_HEADERS, where, strict=True)} if told else {}
        public_url = source.public_url or "://".join(where)
        try:
            self._signer = None if secret is None else Signer(proofs, secret.reveal(), public_url=public_url)
        except ValueError as error:
            raise click.ClickException(f"{source.variable('secret')}: {error}") from None

    def request(self, body: Body) -> tuple[str, dict[str, str]]:
        """URL and headers of one request, signed now: as the provider sends it, and a trusted proxy hands it on.

        Few providers put something of their proof into the URL.
        """
        headers = {"content-type": "application/json", **body.headers, **self._proxied}
        if self._signer is None:
            return self.url, headers
        url = self._called
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        request = Request("POST", url.raw_path.partition(b"?")[0], url.query, pairs, body.content)
        completed = self._signer.completed(request)
        posted = self.url if completed is request else str(url.copy_with(query=completed.query))
        return posted, {**headers, **self._signer.sign(completed, now=time.time())}
