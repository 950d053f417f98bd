"""Why there is no link, in words that name the remedy and neither host nor secret."""

import socket
import ssl

from nats import errors

from bridge.publishers.nats.client import NotOurServer, TlsNotOffered

__all__ = ["BadLogin", "Denied", "LinkLost", "NoResponders", "connect_reason", "lost_reason"]


class NoResponders(Exception):
    """Nobody takes requests on that subject just now."""


class LinkLost(Exception):
    """The link ended before the answer came."""


class Denied(Exception):
    """Our user may not publish there."""


class BadLogin(Exception):
    """The login or the TLS files cannot be used as they are; the message says why, without content."""


_LOGIN = "check BRIDGE_NATS_USER, _PASSWORD, _TOKEN, _NKEY or _CREDS"
_HOSTNAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED

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
    ("secure connection", "the broker asks for TLS: use tls:// in BRIDGE_BROKER"),
)


def connect_reason(error: BaseException) -> str:
    """Why a link did not come up."""
    match error:
        case BadLogin():
            return str(error)
        case TlsNotOffered():
            return (
                "the broker does not offer TLS, and nothing is sent without: set up its TLS, or BRIDGE_BROKER=nats://…"
            )
        case NotOurServer():
            return "another NATS server answers where the embedded one should: set BRIDGE_EMBEDDED_LISTEN"
        case ssl.SSLCertVerificationError():
            return _certificate_reason(error)
        case ssl.SSLError():
            return _tls_reason(error)
        case ConnectionRefusedError():
            return "nobody listens at the broker's address: start the broker, or set BRIDGE_BROKER"
        case socket.gaierror():
            return "the broker's host name is unknown: check BRIDGE_BROKER and the name service"
        case TimeoutError():
            return "the broker does not answer in time: check BRIDGE_BROKER, the network and BRIDGE_NATS_TLS_FIRST"
        case _:
            return lost_reason(error)


def lost_reason(cause: BaseException | str) -> str:
    """Why a link that was up is gone."""
    if isinstance(cause, str) and cause.startswith(("it has been silent", "closed")):
        return cause
    said = (cause if isinstance(cause, str) else str(cause)).lower()
    for text, reason in _SERVER_ERRORS:
        if text in said:
            return reason
    match cause:
        case ssl.SSLError():
            return _tls_reason(cause)
        case errors.ProtocolError():
            return "what answers is no NATS server: check BRIDGE_BROKER and what is in between"
        case errors.UnexpectedEOF() | ConnectionError():
            return "the connection was closed"
        case errors.StaleConnectionError():
            return "it does not answer pings"
        case OSError():
            return f"the network failed ({type(cause).__name__})"
        case errors.Error() if "INFO" in str(cause) or "info" in str(cause):
            return "what answers is no NATS server: check BRIDGE_BROKER, the port and BRIDGE_NATS_TLS_FIRST"
        case BaseException():
            return f"an unexpected error ({type(cause).__name__})"
        case _:
            return "the broker ended the link; its log says why"


def _certificate_reason(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _HOSTNAME_MISMATCH:
        return "the broker's certificate is for another name: set BRIDGE_NATS_TLS_HOSTNAME or another BRIDGE_BROKER"
    if error.verify_code in _EXPIRED:
        return "the broker's certificate has expired or is not valid yet: renew it"
    return "the broker's certificate is not signed by a trusted authority: set BRIDGE_NATS_TLS_CA_FILE"


def _tls_reason(error: ssl.SSLError) -> str:
    if "CERTIFICATE_REQUIRED" in (error.reason or "") or "HANDSHAKE_FAILURE" in (error.reason or ""):
        return "the broker asks for a client certificate: set BRIDGE_NATS_TLS_CERT_FILE and _KEY_FILE"
    return f"TLS failed ({error.reason or 'no reason given'}): check BRIDGE_NATS_TLS_FIRST and the certificates"
