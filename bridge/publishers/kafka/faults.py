"""What went wrong, in words that name the remedy and neither host nor secret; and what follows for a record. Pure."""

import enum
import socket
import ssl

from aiokafka import errors

from bridge.publishers.tls import UnusableFile, certificate_reason, wants_client_certificate

__all__ = ["CannotConnect", "Verdict", "connect_reason", "judge", "lost_reason", "said"]


class CannotConnect(errors.KafkaError):  # type: ignore[misc]  # the library is not typed
    """No link; the message says why and what to do, for people. The library takes it for one of its own errors."""


class Verdict(enum.Enum):
    """What to do with the records of a batch that failed for good."""

    AGAIN = "again"  # on another producer
    DENIED = "denied"
    TOO_LARGE = "too large"
    REFUSED = "refused"


def judge(error: BaseException) -> Verdict:
    """Whether the same records may be taken later: the one place that says so.

    What is not listed may heal with another producer: sequences out of order, fenced or unknown producer ids, no
    leader. To call a record hopeless that is not would lose it.
    """
    for kinds, verdict in _VERDICTS:
        if isinstance(error, kinds):
            return verdict
    return Verdict.AGAIN


_VERDICTS: tuple[tuple[tuple[type[BaseException], ...], Verdict], ...] = (
    ((errors.MessageSizeTooLargeError, errors.RecordListTooLargeError), Verdict.TOO_LARGE),
    ((errors.TopicAuthorizationFailedError, errors.ClusterAuthorizationFailedError), Verdict.DENIED),
    (
        (
            errors.InvalidTopicError,
            errors.InvalidTimestampError,
            errors.PolicyViolationError,
            errors.UnsupportedForMessageFormatError,
        ),
        Verdict.REFUSED,
    ),
)


def said(error: BaseException) -> str:
    """The broker's word for it, without the library's text: that has hosts in it."""
    return type(error).__name__.removesuffix("Error").removesuffix("Exception")


_LOGIN = "check BRIDGE_KAFKA_SASL, _USER, _PASSWORD or _TOKEN"
_HUNG_UP = (
    "the broker hung up before the login: check whether its port wants TLS (BRIDGE_KAFKA_TLS), a login "
    "(BRIDGE_KAFKA_SASL) or a client certificate (BRIDGE_KAFKA_TLS_CERT_FILE)"
)
_NOBODY = "nobody listens at the broker's address: start the broker, or set BRIDGE_BROKER"
_NO_TLS = "the broker does not speak TLS on this port: check the port in BRIDGE_BROKER, or BRIDGE_KAFKA_TLS"

_CONNECT_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, _NOBODY),
    (socket.gaierror, "the broker's host name is unknown: check BRIDGE_BROKER and the name service"),
    (TimeoutError, "the broker does not answer in time: check BRIDGE_BROKER, the network and BRIDGE_KAFKA_TLS"),
    (errors.UnsupportedSaslMechanismError, "the broker does not know this kind of login: set BRIDGE_KAFKA_SASL"),
    (errors.IllegalSaslStateError, "the broker asks for no login on this port: unset BRIDGE_KAFKA_SASL"),
    (errors.SaslAuthenticationFailed, f"the broker refused the login: {_LOGIN}"),
    (errors.AuthenticationFailedError, f"the broker refused the login: {_LOGIN}"),
    (
        errors.ClusterAuthorizationFailedError,
        "our user may not write idempotently: allow IdempotentWrite on the cluster",
    ),
    (errors.KafkaConnectionError, _HUNG_UP),
    (ConnectionError, _HUNG_UP),
    (EOFError, _HUNG_UP),
    (errors.IncompatibleBrokerVersion, "the broker is too old: use Kafka 1.0 or later"),
    (errors.KafkaError, "what answers is no Kafka broker: check BRIDGE_BROKER and BRIDGE_KAFKA_TLS"),
    (OSError, "the network failed"),
)


def connect_reason(error: BaseException) -> str:
    """Why a link did not come up."""
    if isinstance(error, CannotConnect | UnusableFile):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate_reason(error, prefix="BRIDGE_KAFKA_TLS", other_name="another BRIDGE_BROKER")
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, OSError) and str(error).startswith("Multiple exceptions"):
        return _NOBODY  # how asyncio sums up a name with several addresses, none of which answers
    for kind, reason in _CONNECT_ERRORS:
        if isinstance(error, kind):
            return reason
    return f"what answers is no Kafka broker, or an unexpected error came up ({type(error).__name__})"


def lost_reason(error: BaseException) -> str:
    """Why a link that was up is gone, when no broker answers any more."""
    if isinstance(error, TimeoutError):
        return "the brokers do not answer any more"
    return "the brokers cannot be reached any more" if isinstance(error, errors.KafkaError) else connect_reason(error)


def _tls_reason(error: ssl.SSLError) -> str:
    if wants_client_certificate(error):
        return "the broker asks for a client certificate: set BRIDGE_KAFKA_TLS_CERT_FILE and _KEY_FILE"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
        return _NO_TLS
    return f"TLS failed ({error.reason or 'no reason given'}): check the certificates"
