"""How a test's Kafka lets clients in: by password, token or certificate, and what they may do then."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ["PLAINTEXT", "Security", "oauth_token", "stranger_token"]

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Security:
    """What the listener for clients asks for. The operator's listener never asks.

    Attributes:
        sasl: PLAIN, SCRAM-SHA-256 and -512, OAUTHBEARER, all of them. Passwords of SCRAM are made by an operator.
        plain_users: user to password, for PLAIN.
        certificate: paths of authority, chain and key, as the fixture `certificate` gives them: makes it TLS.
        client_certificates: mutual TLS; the principal is the certificate's common name.
        acls: nobody may do anything but by an ACL. Needs a login or a client certificate, for who comes in without
            is as anonymous as the operator, who may do all.
    """

    sasl: bool = False
    plain_users: Mapping[str, str] = field(default_factory=dict)
    certificate: tuple[str, str, str] | None = None
    client_certificates: bool = False
    acls: bool = False

    @property
    def protocol(self) -> str:
        """As Kafka names it."""
        tls = self.certificate is not None
        return ("SASL_SSL" if tls else "SASL_PLAINTEXT") if self.sasl else ("SSL" if tls else "PLAINTEXT")

    def java_options(self, folder: Path) -> tuple[str, ...]:
        """What Java must be told."""
        url = (folder / "jwks.json").as_uri()
        return (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={url}",) if self.sasl else ()

    def properties(self, folder: Path) -> dict[str, str]:
        """Lines of server.properties; files that they name are written into the folder."""
        assert not self.acls or self.sasl or self.client_certificates, "ACLs need to know who comes"
        lines: dict[str, str] = {}
        if self.sasl:
            lines |= self._sasl(folder)
        if self.certificate is not None:
            lines |= self._tls(self.certificate, folder)
        if self.acls:
            lines["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            lines["super.users"] = "User:ANONYMOUS"
        return lines

    def _sasl(self, folder: Path) -> dict[str, str]:
        jwks = folder / "jwks.json"
        jwks.write_text(_jwks())
        users = "".join(f' user_{user}="{password}"' for user, password in self.plain_users.items())
        at = "listener.name.client."
        return {
            f"{at}sasl.enabled.mechanisms": ",".join(_MECHANISMS),
            f"{at}plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required{users};",
            f"{at}scram-sha-256.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
            f"{at}scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
            f"{at}oauthbearer.sasl.jaas.config": f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule required;",
            f"{at}oauthbearer.sasl.server.callback.handler.class": (
                f"{_LOGIN}.oauthbearer.OAuthBearerValidatorCallbackHandler"
            ),
            "sasl.oauthbearer.jwt.validator.class": f"{_LOGIN}.oauthbearer.BrokerJwtValidator",  # else no signature is
            # looked at
            "sasl.oauthbearer.jwks.endpoint.url": jwks.as_uri(),
            "sasl.oauthbearer.expected.audience": "kafka",
        }

    def _tls(self, certificate: tuple[str, str, str], folder: Path) -> dict[str, str]:
        authority, chain, key = (Path(path).read_bytes() for path in certificate)
        private = serialization.load_pem_private_key(key, password=None)
        own = folder / "own.pem"
        own.write_bytes(
            private.private_bytes(  # the only form that Kafka reads
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + chain
        )
        (folder / "ca.pem").write_bytes(authority)
        at = "listener.name.client.ssl."
        return {
            f"{at}keystore.type": "PEM",
            f"{at}keystore.location": str(own),
            f"{at}truststore.type": "PEM",
            f"{at}truststore.location": str(folder / "ca.pem"),
            f"{at}client.auth": "required" if self.client_certificates else "none",
            "ssl.principal.mapping.rules": "RULE:.*CN=([^,]+).*/$1/,DEFAULT",
        }


PLAINTEXT = Security()


@cache
def _signer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def oauth_token(subject: str, lifetime_s: float = 300.0, *, audience: str = "kafka") -> str:
    """A token for OAUTHBEARER that all servers of this run take: a JWT signed with their one key."""
    return _signed(_signer(), subject, lifetime_s, audience)


def stranger_token(subject: str) -> str:
    """The like, signed by somebody whom no server knows."""
    return _signed(rsa.generate_private_key(public_exponent=65537, key_size=2048), subject, 300.0, "kafka")


def _signed(key: rsa.RSAPrivateKey, subject: str, lifetime_s: float, audience: str) -> str:
    now = int(time.time())
    claims = {"iss": "test", "sub": subject, "aud": audience, "iat": now, "exp": now + int(lifetime_s)}
    head = f"{_part(json.dumps({'alg': 'RS256', 'kid': 'test'}))}.{_part(json.dumps(claims))}"
    return f"{head}.{_part(key.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _jwks() -> str:
    numbers = _signer().public_key().public_numbers()
    modulus, exponent = numbers.n.to_bytes(256, "big"), numbers.e.to_bytes(3, "big")
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "test", "n": _part(modulus), "e": _part(exponent)}
    return json.dumps({"keys": [key]})


def _part(content: str | bytes) -> str:
    return urlsafe_b64encode(content.encode() if isinstance(content, str) else content).rstrip(b"=").decode()
