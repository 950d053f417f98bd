"""Where a source's webhook is: as the provider must call it, and as this machine can."""

from bridge.config import Address, Config, Secret, SourceConfig

__all__ = ["local_url", "webhook_url"]

_ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def webhook_url(config: Config, source: SourceConfig, *, listen: Address | None = None) -> str:
    """The URL to register at the provider, token included: a secret."""
    base = source.public_url or _base(config, listen or config.listen)
    return _with_token(base, source.name, source.token[0] if source.token else None)


def local_url(config: Config, source: SourceConfig, token: Secret | None, *, base: str | None = None) -> str:
    """The same entrance by the listener's own address, or by another way from here, for those who play the provider."""
    return _with_token(base or _base(config, config.listen), source.name, token)


def _with_token(base: str, source: str, token: Secret | None) -> str:
    url = f"{base.rstrip('/')}/webhooks/{source}"
    return url if token is None else f"{url}/{token.reveal()}"


def _base(config: Config, listen: Address) -> str:
    host = _ANY_HOSTS.get(listen.host, listen.host)
    scheme = "https" if config.tls_cert_file else "http"
    return f"{scheme}://{Address(host=host, port=listen.port)}"
