"""The types of settings that are more than a text or a number, each with its `parse`."""

import ipaddress
import re
from typing import Literal, Self

import msgspec

__all__ = ["Address", "Broker", "Rate", "Unfit", "shown"]

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]+(?<!-)(\.(?!-)[A-Za-z0-9_-]+(?<!-))*\.?\Z", re.ASCII)
_MAX_PORT = 65_535
_MAX_SHOWN = 60
_PORTS = {"nats": 4222, "tls": 4222, "kafka": 9092}
_PERIODS_S = {"s": 1, "m": 60, "h": 3600}
_RATE = re.compile(r"([1-9][0-9]{0,6}) ?/ ?([smh])", re.ASCII)


class Unfit(ValueError):
    """A text is not what its variable takes.

    Attributes:
        expected: what would be right.
        found: what it is, in words; None where the text itself may be shown.
    """

    def __init__(self, expected: str, found: str | None = None) -> None:
        self.expected = expected
        self.found = found
        super().__init__(expected)


def shown(text: str) -> str:
    """The text as a problem's report may show it: short, on one line, without what stands before an `@`."""
    _, at, rest = text.rpartition("@")
    text = f"***@{rest}" if at else text
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")


class Address(msgspec.Struct, frozen=True):
    """Where a listener binds.

    Attributes:
        host: an IP address without brackets, or a name.
        port: 0 lets the system choose a free one.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `host:port`; IPv6 in brackets.

        Raises:
            Unfit: it is anything else.
        """
        expected = "host:port, such as 127.0.0.1:8080, 0.0.0.0:8080 for all interfaces or [::1]:8080"
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            is_host = _is_ip(host, 6)
        else:
            is_host = _is_host(host)
        if not (colon and is_host and re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= _MAX_PORT):
            raise Unfit(expected)
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it. A name other than localhost counts as reachable."""
        if self.host == "localhost":
            return True
        return _is_ip(self.host) and ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Broker(msgspec.Struct, frozen=True):
    """Which broker takes the records.

    Attributes:
        kind: `embedded` is a NATS server of our own.
        servers: URLs with scheme and port, `nats://host:4222`, `tls://host:4222` or `kafka://host:9092`; none if
            embedded.
    """

    kind: Literal["embedded", "nats", "kafka"]
    servers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `embedded:`, or `nats://`, `tls://` or `kafka://` and hosts separated by commas.

        Raises:
            Unfit: anything else, credentials in the URL among them.
        """
        expected = "embedded:, or nats://, tls:// or kafka:// and host:port[,host2:port]"
        if "@" in text:
            # URLs end up in logs, process lists and error pages; settings marked as secret do not
            raise Unfit(
                "the hosts alone, and BRIDGE_NATS_USER with BRIDGE_NATS_PASSWORD (or BRIDGE_KAFKA_…), or a token",
                "has credentials in the URL",
            )
        if text in ("embedded:", "embedded"):
            return cls("embedded")
        scheme, separator, hosts = text.partition("://")
        if scheme not in _PORTS or not separator:
            raise Unfit(expected)
        return cls(
            "kafka" if scheme == "kafka" else "nats",
            tuple(_server(scheme, host.strip(), expected) for host in hosts.split(",")),
        )

    @property
    def tls(self) -> bool:
        """Whether the URL asks for TLS."""
        return any(server.startswith("tls:") for server in self.servers)

    def __str__(self) -> str:
        return ",".join(self.servers) or "embedded:"


class Rate(msgspec.Struct, frozen=True):
    """So many in a period.

    Attributes:
        count: how many.
        period_s: of a second, a minute or an hour.
    """

    count: int
    period_s: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `100/s`, `6000/m` or `360000/h`.

        Raises:
            Unfit: it is anything else.
        """
        match = _RATE.fullmatch(text)
        if match is None:
            raise Unfit("a whole number from 1 to 9999999 a second, minute or hour, such as 100/s, 6000/m or 360000/h")
        return cls(int(match[1]), _PERIODS_S[match[2]])

    def __str__(self) -> str:
        return f"{self.count}/{next(unit for unit, period_s in _PERIODS_S.items() if period_s == self.period_s)}"


def _server(scheme: str, text: str, expected: str) -> str:
    text = text.removeprefix(f"{scheme}://")  # nats://a,nats://b is as clear as nats://a,b
    has_port = re.search(r":[0-9]*\Z", text) is not None and (not text.startswith("[") or "]:" in text)
    try:
        address = Address.parse(text if has_port else f"{text}:{_PORTS[scheme]}")
    except Unfit:
        raise Unfit(expected) from None
    if not address.port:
        raise Unfit(expected)
    return f"{scheme}://{address}"


def _is_ip(text: str, version: int | None = None) -> bool:
    try:
        return ipaddress.ip_address(text).version == (version or ipaddress.ip_address(text).version)
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    """An IPv4 address or a name. A name never ends in a number (WHATWG URL 3.5), so 127.0.0.256 is none."""
    if _is_ip(text, 4):
        return True
    return _HOST_NAME.match(text) is not None and not text.rstrip(".").rpartition(".")[2].isdigit()
