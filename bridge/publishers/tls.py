"""TLS towards a broker: the context, and why it did not work, in words that name the variables."""

import ssl
from pathlib import Path

__all__ = ["UnusableFile", "certificate_reason", "make_context", "wants_client_certificate"]

_HOSTNAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED


class UnusableFile(Exception):
    """A PEM file cannot be used; the message names its variable."""


def make_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, prefix: str) -> ssl.SSLContext:
    """A context that verifies certificate and name. Made at each connect, so renewed files are picked up.

    Args:
        ca_file: the authorities; None: the system's.
        cert_file: our certificate for mTLS, with its key.
        key_file: without a pass phrase.
        prefix: of the variables, `BRIDGE_NATS_TLS`.

    Raises:
        UnusableFile: with the variable's name.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UnusableFile(f"{prefix}_CA_FILE cannot be used ({type(error).__name__})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        try:
            # An empty pass phrase: without one OpenSSL would ask the terminal for it, and block.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise UnusableFile(f"{prefix}_CERT_FILE and _KEY_FILE cannot be used ({type(error).__name__})") from error
    return context


def certificate_reason(error: ssl.SSLCertVerificationError, *, prefix: str, other_name: str) -> str:
    """Why the broker's certificate is not trusted.

    Args:
        error: of the handshake.
        prefix: of the variables.
        other_name: what to set where the name is another one.
    """
    if error.verify_code in _HOSTNAME_MISMATCH:
        return f"the broker's certificate is for another name: set {other_name}"
    if error.verify_code in _EXPIRED:
        return "the broker's certificate has expired or is not valid yet: renew it"
    return f"the broker's certificate is not signed by a trusted authority: set {prefix}_CA_FILE"


def wants_client_certificate(error: ssl.SSLError) -> bool:
    """Whether the broker ended the handshake because we showed no certificate."""
    return any(alert in (error.reason or "") for alert in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE"))
