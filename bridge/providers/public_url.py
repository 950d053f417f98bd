"""Where the sender calls us: the beginning of the URL that it signs, which behind a proxy no request knows by itself.

A setting says it, or a proxy that is trusted to. Compiled at start, for sources whose senders sign the URL.
"""

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from bridge.errors import VerificationFailed
from bridge.providers.request import Request, only

__all__ = ["PROXY_HEADERS", "Bases", "bases_of", "network"]

Bases = Callable[[Request], tuple[bytes, ...]]
"""The beginning of the URL, without the path of this bridge, in each way that the sender may write it.

Raises VerificationFailed: nobody who is trusted says where the request went.
"""

PROXY_HEADERS = (b"x-forwarded-proto", b"x-forwarded-host")

_DEFAULT_PORTS = {b"https": b":443", b"http": b":80"}
_parts = re.compile(rb"([A-Za-z]+)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/.*)?").fullmatch


def network(text: str) -> IPv4Network | IPv6Network:
    """One proxy's address, or those of a network.

    Raises:
        ValueError: it is neither, everybody's, or nobody's.
    """
    found = ip_network(text)
    if not found.prefixlen:
        raise ValueError("everybody would be trusted")
    if getattr(found.network_address, "ipv4_mapped", None):
        raise ValueError("an IPv4 peer is compared as one, so nobody would be trusted")
    return found


def bases_of(public_url: str | None, trusted_proxies: Sequence[str]) -> Bases:
    """A function of a request.

    Args:
        public_url: what it always is; None: a proxy tells.
        trusted_proxies: whose headers are believed then.

    Raises:
        ValueError: there is neither, or one that is none.
    """
    if public_url:
        known = _spellings(public_url.rstrip("/").encode())
        if not known:
            raise ValueError("the public URL is none")
        return lambda _request: known
    if not trusted_proxies:
        raise ValueError("the sender signs its URL, so the public URL must be known, or a proxy trusted to tell it")
    networks = tuple(map(network, trusted_proxies))
    return lambda request: _told(networks, request)


def _told(networks: Sequence[IPv4Network | IPv6Network], request: Request) -> tuple[bytes, ...]:
    """By the connection's own peer: what other proxies before it say is for that one to have looked at."""
    if not _is_in(networks, request.peer):
        raise VerificationFailed("it came from no trusted proxy, so the URL that its sender called is not known")
    scheme, host = (only(request, name) for name in PROXY_HEADERS)
    spellings = _spellings(scheme.lower() + b"://" + host) if b"/" not in host else ()
    if not spellings:
        raise VerificationFailed("x-forwarded-proto and x-forwarded-host are not one scheme and one host")
    return spellings


def _is_in(networks: Sequence[IPv4Network | IPv6Network], peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # how a listener on :: sees an IPv4 peer
    return any((mapped or address) in network for network in networks)


def _spellings(base: bytes) -> tuple[bytes, ...]:
    """As it is, without a port, and with the scheme's own, for senders differ in which they sign; none if it is odd."""
    parts = _parts(base)
    if parts is None or (scheme := parts[1].lower()) not in _DEFAULT_PORTS:
        return ()
    beginning, path = scheme + b"://" + parts[2], parts[4] or b""
    ports = dict.fromkeys((parts[3] or b"", b"", parts[3] or _DEFAULT_PORTS[scheme]))
    return tuple(beginning + port + path for port in ports)
