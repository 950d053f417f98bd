"""What an operator says of a sender without a preset: how it signs, and where its payloads have what events need."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bridge.providers.base import Fault
from bridge.providers.proof import URL_TOKEN, Plain, Proof, SecretForm, Timestamp

__all__ = ["HEADER", "Settings", "faults_of", "proof_of"]

HEADER = "header:"
_PLACES = ("type_from", "id_from", "time_from", "key_from", "subject_from")
_PLACE = "a path such as data.id, or a header such as header:X-Event-Id"
_HOLD_SECRETS = frozenset({"authorization", "cookie", "proxy-authorization"})
_is_of_another_notation = re.compile(r"\$\.|/|headers?:", re.IGNORECASE).match  # JSONPath, JSON Pointer
_is_header = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}").fullmatch


def _text(description: str, example: str, default: str = "none", expected: str = "") -> Meta:
    return Meta(
        description=description, examples=[example], extra={"default": default, "expected": expected or example}
    )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a source of this provider has besides."""

    signature: Annotated[
        Literal["token", "hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519", "equal", "basic", "bearer"],
        Meta(
            description="How the sender proves itself with `SECRET`: a signature over the request, or the secret "
            "itself, as the whole header (`equal`), user:password (`basic`) or a `bearer`. `token`: by one in the URL."
        ),
    ] = "token"
    signature_header: Annotated[
        str | None,
        _text("The header that holds the signature, or with `equal` the secret.", "X-Signature", expected="a header"),
    ] = None
    signature_prefix: Annotated[str | None, _text("What stands before the signature in its header.", "sha256=")] = None
    signature_encoding: Annotated[Literal["hex", "base64"], Meta(description="How the signature is written.")] = "hex"
    signed: Annotated[
        str,
        _text(
            "What is signed: text with `{body}`, `{timestamp}`, `{id}`, `{method}`, `{url}`, `{form}` (its fields, "
            "sorted), or `{url:NAME}`, a URL whose query holds the body's SHA-256 in `NAME`.",
            "{timestamp}.{body}",
            "`{body}`",
        ),
    ] = "{body}"
    signed_id_header: Annotated[
        str | None, _text("The header that `{id}` stands for.", "X-Id", expected="a header")
    ] = None
    timestamp_header: Annotated[
        str | None,
        _text("The header that `{timestamp}` stands for, a whole number.", "X-Timestamp", expected="a header"),
    ] = None
    timestamp_unit: Annotated[Literal["s", "ms"], Meta(description="The unit of the timestamp since 1970.")] = "s"
    tolerance_s: Annotated[
        int, Meta(ge=1, le=86_400, description="How far the timestamp may be from this machine's clock, either way.")
    ] = 300
    secret_encoding: Annotated[
        Literal["text", "base64", "hex"], Meta(description="How the secret's text becomes the key.")
    ] = "text"  # noqa: S105 -- no secret, but how it is written
    type_from: Annotated[
        str, _text("Where the event's type is: a path in the payload, or a header.", "header:X-Event", "`type`", _PLACE)
    ] = "type"
    id_from: Annotated[
        str,
        _text(
            "Where the sender's id of the event is, the same on every retry. Where there is none, equal payloads "
            "are one event.",
            "data.id",
            "`id`",
            _PLACE,
        ),
    ] = "id"
    time_from: Annotated[
        str, _text("Where the time is, in RFC 3339, seconds or milliseconds.", "created_at", "`time`", _PLACE)
    ] = "time"
    key_from: Annotated[
        str | None,
        _text(
            "Where the key is: events of one key keep their order. Without one all have the same, and on Kafka are in "
            "one partition.",
            "customer.id",
            "none",
            _PLACE,
        ),
    ] = None
    subject_from: Annotated[
        str | None,
        _text("Where the id of the object is that the event is about. No personal data.", "data.id", "none", _PLACE),
    ] = None
    batch: Annotated[
        str | None,
        _text(
            "The path of an array whose items are an event each; what is around it is not published. A body that is an "
            "array is a batch anyway.",
            "events",
        ),
    ] = None
    form_field: Annotated[
        str | None,
        _text("Of a form, the field that holds the payload as JSON; else the form's fields are it.", "payload"),
    ] = None


def proof_of(settings: Settings) -> Proof:
    """How the sender proves itself."""
    if settings.signature == "token":
        return URL_TOKEN
    header = (settings.signature_header or "").lower()
    if settings.signature in ("equal", "basic", "bearer"):
        return Proof(scheme=settings.signature, header=header if settings.signature == "equal" else "")
    when = Timestamp((settings.timestamp_header or "").lower(), settings.timestamp_unit, settings.tolerance_s)
    return Proof(
        scheme=settings.signature,
        header=header,
        grammar=Plain(settings.signature_prefix or ""),
        encoding=settings.signature_encoding,
        signed=settings.signed,
        id_header=(settings.signed_id_header or "").lower(),
        timestamp=when if settings.timestamp_header else None,
        secret=SecretForm(settings.secret_encoding),
    )


def faults_of(settings: Settings) -> Iterator[Fault]:
    """What is wrong, by setting."""
    yield from _faults_of_places(settings)
    for field in ("signature_header", "signed_id_header", "timestamp_header"):
        name = getattr(settings, field)
        if name and not _is_header(name):
            yield Fault(field, "is no header's name", "a name such as X-Signature")
    signs = settings.signature not in ("token", "equal", "basic", "bearer")
    if (signs or settings.signature == "equal") and not settings.signature_header:
        yield Fault("signature_header", f"is not set, while the signature is {settings.signature}", "the header's name")
    if settings.signature in ("token", "basic", "bearer") and settings.signature_header:
        yield Fault("signature_header", f"is set, while the signature is {settings.signature}", "unset, or a signature")
    if signs:
        yield from _faults_of_signed(settings)


def _faults_of_signed(settings: Settings) -> Iterator[Fault]:
    proof = proof_of(settings)
    try:
        names = proof.placeholders
    except ValueError:
        yield Fault("signed", "has a brace without its pair", "text with {body}")
        return
    if odd := proof.odd_placeholders:
        yield Fault("signed", f"has {odd[0]}, which stands for nothing", "{body}, {timestamp}, {id}, {url}, {form}")
    elif not proof.covers_body:
        yield Fault("signed", "has no {body}: anybody could exchange it", "{body} in it")
    pairs = {"id": "signed_id_header", "timestamp": "timestamp_header"}
    for name, field in pairs.items():
        if name in names and not getattr(settings, field):
            yield Fault(field, f"is not set, while {{{name}}} is signed", "the header that holds it")
        elif name not in names and getattr(settings, field):
            yield Fault(
                field, f"is set, while {{{name}}} is not signed: it would prove nothing", f"unset, or {{{name}}}"
            )


def _faults_of_places(settings: Settings) -> Iterator[Fault]:
    for field in _PLACES:
        place = getattr(settings, field) or ""
        name = place.removeprefix(HEADER)
        if place.startswith(HEADER) and (not _is_header(name) or name.lower() in _HOLD_SECRETS):
            yield Fault(field, f"names {name!r}, no header that may be read", _PLACE)
        elif place.startswith(HEADER) and name.lower() == (settings.signature_header or "").lower():
            yield Fault(field, "names the header of the proof", _PLACE)
    for field in (*_PLACES, "batch"):
        place = getattr(settings, field) or ""
        if _is_of_another_notation(place) and not place.startswith(HEADER):
            yield Fault(field, "is no path as they are written here, and would find nothing", _PLACE)
        elif not place.startswith(HEADER) and place and not all(place.split(".")):
            yield Fault(field, "is no path", "names joined by single dots, such as data.id")
