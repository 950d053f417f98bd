"""How a sender proves itself, as data. Not here: anything that looks at a request; `signatures` compiles this.

A preset states one `Proof`, or several where its sender may use any of them.
"""

import re
from collections.abc import Iterator
from string import Formatter
from typing import Literal

import msgspec

__all__ = ["URL_TOKEN", "Pairs", "Plain", "Proof", "Scheme", "SecretForm", "Timestamp", "Versions"]

Scheme = Literal["hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519", "equal", "basic", "bearer", "url-token"]

_SIGNING = ("hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519")
_PLACEHOLDERS = frozenset({"id", "timestamp", "body", "url", "form", "method"})
_is_parameter = re.compile(r"[A-Za-z0-9_.~-]+").fullmatch
_is_header = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+").fullmatch


class Plain(msgspec.Struct, frozen=True, tag=True):
    """The header holds one signature, perhaps after a prefix: `sha256=<signature>`."""

    prefix: str = ""


class Pairs(msgspec.Struct, frozen=True, tag=True):
    """`t=1614265330,v1=<signature>,v1=<signature>,v0=…`: names and values; other names than these are ignored."""

    signature: str
    timestamp: str


class Versions(msgspec.Struct, frozen=True, tag=True):
    """`v1,<signature> v1,<signature> v1a,…`: a list with spaces; other versions than this one are ignored."""

    version: str


class Timestamp(msgspec.Struct, frozen=True):
    """When it was signed.

    Attributes:
        header: where it stands, as a whole number; empty: in the signature's own header (`Pairs`).
        unit: of the number since 1970.
        tolerance_s: how far from our clock it may be, either way.
    """

    header: str = ""
    unit: Literal["s", "ms"] = "s"
    tolerance_s: int = 300


class SecretForm(msgspec.Struct, frozen=True):
    """How the text of a secret becomes a key.

    Attributes:
        encoding: `text` takes its UTF-8 bytes.
        prefix: stands before what is encoded, and is no part of it.
        prefix_required: a secret without it is of another proof.
    """

    encoding: Literal["text", "base64", "hex"] = "text"
    prefix: str = ""
    prefix_required: bool = False


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One way to prove a request.

    Attributes:
        scheme: signatures over the request; or the secret itself: the whole header (`equal`), as user:password
            (`basic`), as a `bearer`, or as a token in the URL.
        header: that holds signature or secret, in lower case; `basic`, `bearer` and `url-token` know theirs.
        grammar: how the signature stands in it.
        encoding: of a signature.
        signed: what the signature is over: text with `{id}`, `{timestamp}`, `{body}`, `{method}`, `{url}` (as the
            sender knows it), `{url:NAME}` (the same; the parameter NAME of its query holds the SHA-256 of the body, so
            that the body is signed, too) and `{form}` (the body's form fields, sorted, names and values joined).
        id_header: where `{id}` is.
        timestamp: when it was signed; None: replays are recognised by the event's id alone.
        secret: how secrets are written.
    """

    scheme: Scheme
    header: str = ""
    grammar: Plain | Pairs | Versions = Plain()
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = "{body}"
    id_header: str = ""
    timestamp: Timestamp | None = None
    secret: SecretForm = SecretForm()

    @property
    def signs(self) -> bool:
        """Whether the sender signs, rather than shows the secret."""
        return self.scheme in _SIGNING

    @property
    def needs_body(self) -> bool:
        """Whether the body must be there before the request can be proven."""
        return self.signs

    @property
    def needs_url(self) -> bool:
        """Whether the URL as the sender knows it is signed."""
        return self.signs and "url" in self.placeholders

    @property
    def placeholders(self) -> frozenset[str]:
        """What `signed` is made of."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.signed) if name is not None)

    @property
    def body_parameter(self) -> str:
        """The parameter of the signed URL's query that holds the body's SHA-256; empty where there is none."""
        return next((spec for _, name, spec, _ in Formatter().parse(self.signed) if name == "url" and spec), "")

    @property
    def covers_body(self) -> bool:
        """Whether no other body has the same signature."""
        return bool(self.placeholders & {"body", "form"} or self.body_parameter)

    @property
    def odd_placeholders(self) -> tuple[str, ...]:
        """What in `signed` stands for nothing, as it is written."""
        return tuple(
            f"{{{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"
            for _, name, spec, conversion in Formatter().parse(self.signed)
            if name is not None
            and (name not in _PLACEHOLDERS or conversion or (spec and not (name == "url" and _is_parameter(spec))))
        )

    @property
    def headers(self) -> frozenset[str]:
        """Every header that is read; those that may hold a secret are `secret_headers`."""
        names = {self.header, self.id_header, self.timestamp.header if self.timestamp else ""}
        return (frozenset(names) | self.secret_headers) - {""}

    @property
    def secret_headers(self) -> frozenset[str]:
        """Headers that hold the secret itself, and so are shown and kept nowhere."""
        if self.scheme in ("basic", "bearer", "url-token"):
            return frozenset({"authorization"})
        return frozenset({self.header}) if self.scheme == "equal" else frozenset()

    def faults(self) -> Iterator[str]:
        """What makes it no proof, in words: a sender must not be believed because of a slip in a preset."""
        for name in self.headers:
            if not _is_header(name):
                yield f"the header {name!r} is no name in lower case"
        if self.scheme == "equal" and not self.header:
            yield "it names no header"
        if self.signs:
            yield from self._faults_of_signing()

    def _faults_of_signing(self) -> Iterator[str]:
        names = self.placeholders
        if not self.header:
            yield "it names no header"
        if odd := self.odd_placeholders:
            yield f"{odd[0]} stands for nothing that is signed"
        if not self.covers_body:
            yield "the body is not signed"
        if ("id" in names) != bool(self.id_header):
            yield "{id} and id_header go together"
        if ("timestamp" in names) != (self.timestamp is not None):
            yield "{timestamp} and timestamp go together: one that is not signed proves nothing"
        if self.timestamp is not None and bool(self.timestamp.header) == isinstance(self.grammar, Pairs):
            yield "the timestamp is in a header of its own or in Pairs"


URL_TOKEN = Proof(scheme="url-token")
"""For senders that prove nothing themselves: a secret at the end of the URL, in its query, or as a bearer."""
