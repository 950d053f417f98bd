"""TLS towards a broker: the context, and why it did not work, in words that name the variables."""

import hashlib
import ssl
from pathlib import Path

__all__ = ["ClientTls", "UnusableFile", "certificate_reason", "make_context", "wants_client_certificate"]

_HOSTNAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED


class UnusableFile(Exception):
    """A PEM file cannot be used; the message names its variable."""


def make_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, prefix: str) -> ssl.SSLContext:
    """A context that verifies certificate and name.

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


class ClientTls:
    """The context for links, of files that may change; while they cannot be used, that of before.

    It is the same object until the files change, so that a link can tell whether it was made with those of today.
    """

    def __init__(self, ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, prefix: str) -> None:
        """Reads nothing yet; the arguments are those of `make_context`."""
        self._files = (ca_file, cert_file, key_file)
        self._prefix = prefix
        self._made: tuple[tuple[bytes | None, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """That of today.

        Raises:
            UnusableFile: the files cannot be used, and never could.
        """
        digests = tuple(map(_digest, self._files))
        if self._made is None or self._made[0] != digests:
            try:
                self._made = digests, make_context(*self._files, prefix=self._prefix)
            except UnusableFile:
                if self._made is None:
                    raise
        return self._made[1]


def _digest(path: Path | None) -> bytes | None:
    try:
        return None if path is None else hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None


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
