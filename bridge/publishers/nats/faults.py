"""Why there is no link, in words that name the remedy and neither host nor secret."""

import socket
import ssl

from nats import errors

from bridge.publishers.nats.client import NotOurServer, TlsNotOffered
from bridge.publishers.tls import UnusableFile, certificate_reason, wants_client_certificate

__all__ = ["CannotConnect", "Denied", "LinkLost", "NoResponders", "connect_reason", "lost_reason"]


class NoResponders(Exception):
    """Nobody takes requests on that subject just now."""


class LinkLost(Exception):
    """The link ended before the answer came."""


class Denied(Exception):
    """Our user may not publish there."""


class CannotConnect(Exception):
    """No link; the message says why and what to do, for people."""


_LOGIN = "check BRIDGE_NATS_USER, _PASSWORD, _TOKEN, _NKEY or _CREDS"
_INBOX = "allow it to subscribe to _INBOX.>"

# What the server says before it ends a link, in lower case (nats-server's errors.go), and what that means for us.
_SERVER_ERRORS = (
    ("authorization violation", f"the broker refused the login: {_LOGIN}"),
    ("authentication timeout", f"the broker did not accept the login in time: {_LOGIN}"),
    ("authentication expired", f"the login has expired: {_LOGIN}"),
    ("authentication revoked", f"the login was revoked: {_LOGIN}"),
    ("maximum connections exceeded", "the broker has no connection left: raise its max_connections"),
    ("maximum account active connections", "the account has no connection left: raise its limit"),
    ("maximum payload violation", "a record was over the broker's max_payload, which was lowered meanwhile"),
    ("maximum control line exceeded", "a topic was too long for the broker's max_control_line"),
    ("slow consumer", "the broker ended the link: we read too slowly"),
    ("stale connection", "the broker ended the link: we did not answer its pings"),
    ("server shutdown", "the broker shuts down"),
    ("permissions violation for subscription", f"our user may not receive acknowledgements: {_INBOX}"),
    ("secure connection", "the broker asks for TLS: use tls:// in BRIDGE_BROKER"),
)


def connect_reason(error: BaseException) -> str:
    """Why a link did not come up."""
    if isinstance(error, CannotConnect | UnusableFile):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        other_name = "BRIDGE_NATS_TLS_HOSTNAME or another BRIDGE_BROKER"
        return certificate_reason(error, prefix="BRIDGE_NATS_TLS", other_name=other_name)
    for kind, reason in _CONNECT_ERRORS:
        if isinstance(error, kind):
            return reason
    reason = lost_reason(error)
    return _HUNG_UP if reason in _ENDS else reason


def lost_reason(cause: BaseException | str) -> str:
    """Why a link that was up is gone.

    Args:
        cause: an exception, or what the server said last.
    """
    said = str(cause).lower()
    for text, reason in _SERVER_ERRORS:
        if text in said:
            return reason
    if isinstance(cause, str):
        return "the broker ended the link; its log says why"
    if isinstance(cause, ssl.SSLError):
        return _tls_reason(cause)
    for kind, reason in _LOST_ERRORS:
        if isinstance(cause, kind):
            return reason
    return f"an unexpected error ({type(cause).__name__})"


_ENDS = ("the broker closed the link", "the link was reset")
_HUNG_UP = (
    "the broker hung up before the login: check BRIDGE_BROKER, and BRIDGE_NATS_TLS_CERT_FILE if it asks for a "
    "client certificate"
)
_NO_NATS = "what answers is no NATS server: check BRIDGE_BROKER and BRIDGE_NATS_TLS_FIRST"

_CONNECT_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (TlsNotOffered, "the broker does not offer TLS, and we send nothing without: set up its TLS, or use nats://"),
    (NotOurServer, "another NATS server answers where the embedded one should: set BRIDGE_EMBEDDED_LISTEN"),
    (ConnectionRefusedError, "nobody listens at the broker's address: start the broker, or set BRIDGE_BROKER"),
    (socket.gaierror, "the broker's host name is unknown: check BRIDGE_BROKER and the name service"),
    (TimeoutError, "the broker does not answer in time: check BRIDGE_BROKER, the network and BRIDGE_NATS_TLS_FIRST"),
)

_LOST_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (errors.ProtocolError, _NO_NATS),
    (errors.UnexpectedEOF, _ENDS[0]),  # before its parent, the next one
    (errors.StaleConnectionError, "the broker does not answer pings"),
    (ConnectionError, _ENDS[1]),
    (OSError, "the network failed"),
    (errors.Error, _NO_NATS),  # all others come from reading the server's first line
)


def _tls_reason(error: ssl.SSLError) -> str:
    if wants_client_certificate(error):
        return "the broker asks for a client certificate: set BRIDGE_NATS_TLS_CERT_FILE and _KEY_FILE"
    return f"TLS failed ({error.reason or 'no reason given'}): check BRIDGE_NATS_TLS_FIRST and the certificates"
