"""Where a source's webhook is: as the provider must call it, and as this machine can."""

from bridge.config import Address, Config, SourceConfig

__all__ = ["local_url", "webhook_url"]

_ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def webhook_url(config: Config, source: SourceConfig, *, listen: Address | None = None) -> str:
    """The URL to register at the provider, token included: a secret."""
    base = source.public_url or _base(config, listen or config.listen)
    return _with_token(base, source)


def local_url(config: Config, source: SourceConfig) -> str:
    """The same entrance by the listener's own address, for `send`."""
    return _with_token(_base(config, config.listen), source)


def _with_token(base: str, source: SourceConfig) -> str:
    url = f"{base.rstrip('/')}/webhooks/{source.name}"
    return f"{url}/{source.token[0].reveal()}" if source.token else url


def _base(config: Config, listen: Address) -> str:
    host = _ANY_HOSTS.get(listen.host, listen.host)
    scheme = "https" if config.tls_cert_file else "http"
    return f"{scheme}://{Address(host=host, port=listen.port)}"
