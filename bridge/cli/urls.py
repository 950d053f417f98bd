"""Where a source's webhook is: as the provider must call it, and as this machine can."""

import ipaddress
from urllib.parse import urlsplit

from bridge.config import Address, Config, Secret, SourceConfig

__all__ = ["entrance_url", "is_at", "is_public", "local_url", "shown_url", "webhook_url"]

_ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_NEVER_PUBLIC = (
    "localhost",
    "local",
    "internal",
    "lan",
    "home",
    "test",
    "invalid",
)  # RFC 6761, RFC 6762, ICANN's .internal


def webhook_url(config: Config, source: SourceConfig, *, listen: Address | None = None) -> str:
    """The URL to register at the provider, token included: a secret."""
    return _with_token(_outer(config, source, listen), source.name, source.token[0] if source.token else None)


def entrance_url(config: Config, source: SourceConfig, *, listen: Address | None = None) -> str:
    """That URL without its token: no secret, and below it is whatever token the source has."""
    return _with_token(_outer(config, source, listen), source.name, None)


def local_url(config: Config, source: SourceConfig, token: Secret | None, *, base: str | None = None) -> str:
    """The same entrance by the listener's own address, or by another way from here, for those who play the provider."""
    return _with_token(base or _base(config, config.listen), source.name, token)


def is_public(url: str) -> bool:
    """Whether somebody on the Internet could reach that host, as far as its name tells."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        labels = host.rstrip(".").split(".")
        return len(labels) > 1 and labels[-1] not in _NEVER_PUBLIC


def is_at(url: str, entrance: str) -> bool:
    """Whether that is the entrance of which this is the URL without a token, with whatever token."""
    return url == entrance or url.startswith(f"{entrance}/")


def shown_url(url: str, entrance: str = "") -> str:
    """A registered URL without what may be a secret in it.

    Args:
        url: whatever is registered, by whomever.
        entrance: of our own, without token: the path of what is below it can be shown.
    """
    if not url:
        return "none"
    if url == entrance:
        return url
    if entrance and is_at(url, entrance):
        return f"{entrance}/***"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "***"
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}/***"


def _with_token(base: str, source: str, token: Secret | None) -> str:
    url = f"{base.rstrip('/')}/webhooks/{source}"
    return url if token is None else f"{url}/{token.reveal()}"


def _outer(config: Config, source: SourceConfig, listen: Address | None) -> str:
    return source.public_url or _base(config, listen or config.listen)


def _base(config: Config, listen: Address) -> str:
    host = _ANY_HOSTS.get(listen.host, listen.host)
    scheme = "https" if config.tls_cert_file else "http"
    return f"{scheme}://{Address(host=host, port=listen.port)}"
