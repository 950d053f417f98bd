"""GitHub: every event of repositories, organisations and apps, its payload as it came.

Id, subject and time by the CloudEvents adapter for GitHub, but for subjects that are people's names. Never retried by
itself: what is not answered with success within 10 s is lost unless somebody has it redelivered.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.providers.api_token import ApiSettings
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import (
    Fields,
    fallback_type,
    form_fields,
    header,
    inner,
    is_form,
    json_object,
    make_event,
    text,
    time_of,
)
from bridge.providers.proof import Plain, Proof
from bridge.providers.request import Handshake, Reply, Request

__all__ = ["GitHub"]

_FALLBACK = fallback_type("github")
_PROOF = Proof(scheme="hmac-sha256", header="x-hub-signature-256", grammar=Plain("sha256="))
_TIMES = ("updated_at", "completed_at", "submitted_at", "deleted_at", "created_at", "started_at")

# Event -> the object it is about and which of its fields is the subject; where it differs from (event, "id").
_OBJECTS: Mapping[str, tuple[str, str]] = {
    "commit_comment": ("comment", "id"),
    "deploy_key": ("key", "id"),
    "deployment_status": ("deployment_status", "url"),
    "fork": ("forkee", "url"),
    "installation_repositories": ("installation", "id"),
    "issue_comment": ("comment", "id"),
    "issues": ("issue", "number"),
    "label": ("label", "name"),
    "meta": ("hook", "id"),
    "milestone": ("milestone", "number"),
    "page_build": ("build", "url"),
    "public": ("repository", "name"),
    "pull_request": ("pull_request", "number"),
    "pull_request_review": ("review", "id"),
    "pull_request_review_comment": ("comment", "id"),
    "registry_package": ("registry_package", "html_url"),
    "repository": ("repository", "name"),
    "repository_import": ("repository", "name"),
    "repository_vulnerability_alert": ("alert", "id"),
    "security_advisory": ("security_advisory", "ghsa_id"),
    "team_add": ("team", "id"),
}
_OWN_FIELD = {"create": "ref", "delete": "ref", "push": "ref", "status": "sha"}  # subjects at the top of the payload


class GitHub(Provider):
    """The provider."""

    name: str = "github"
    event_types: tuple[EventType, ...] = (_FALLBACK,)
    open_types: bool = True
    proofs: tuple[Proof, ...] = (_PROOF,)
    headers: frozenset[str] = frozenset({"content-type", "x-github-event", "x-github-delivery"})
    deadline_ms: int = 8000  # it waits for 10 s
    settings: type[msgspec.Struct] | None = ApiSettings
    registrar: str = "bridge.registration.github:GitHub"
    sample_events: tuple[str, ...] = ("push", "pull_request.opened", "issues.opened", "ping")

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def handshakes(self) -> Mapping[str, Handshake]:
        """A new webhook is greeted with a ping."""
        return {"POST": _answer_ping}

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A body with what consumers read most."""
        return msgspec.json.encode(_samples(now.isoformat())[event])

    def sample_headers(self, event: str, body: bytes) -> Mapping[str, str]:
        """The event's name, and an id that is the same for the same body."""
        delivery = uuid.uuid5(uuid.NAMESPACE_OID, body.hex())
        return {
            "content-type": "application/json",
            "user-agent": "GitHub-Hookshot/webhook-bridge",
            "x-github-event": event.partition(".")[0],
            "x-github-delivery": str(delivery),
        }


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    event = header(delivery, "x-github-event")
    if not event:
        raise UndecodableBody("Expected the header `X-GitHub-Event`")
    body = _payload(delivery)
    fields = json_object(body)
    action = text(fields, "action")
    subject, time = _subject(event, fields)
    return (
        make_event(
            delivery,
            _FALLBACK,
            body,
            name=f"{event}.{action}" if action else event,
            identity=header(delivery, "x-github-delivery"),
            key=text(inner(fields, "repository"), "id") or text(inner(fields, "organization"), "id"),
            subject=subject,
            time=time,
        ),
    )


def _payload(delivery: Delivery) -> bytes:
    """The JSON, which may be a form's field."""
    if not is_form(delivery):
        return delivery.body
    payload = form_fields(delivery.body).get("payload")
    if not isinstance(payload, str):
        raise UndecodableBody("Expected one form field `payload`")
    return payload.encode()


def _subject(event: str, fields: Fields) -> tuple[str, datetime | None]:
    if own := _OWN_FIELD.get(event):
        return text(fields, own), time_of(fields, "updated_at")
    about, field = _OBJECTS.get(event, (event, "id"))
    found = inner(fields, about)
    return text(found, field), time_of(found, *_TIMES) or time_of(fields, "starred_at")


def _answer_ping(request: Request) -> Reply | None:
    is_ping = any(name == b"x-github-event" and value == b"ping" for name, value in request.headers)
    return Reply(200, b"pong") if is_ping else None


def _samples(now: str) -> dict[str, dict[str, object]]:
    number = uuid.uuid4().int % 10**9
    repository = {"id": 35129377, "name": "public-repo", "full_name": "octo-org/public-repo", "private": False}
    sender = {"id": 6752317, "login": "octocat", "type": "User"}
    commit = {"id": uuid.uuid4().hex, "message": "A change", "timestamp": now}
    about = {"id": number, "number": number % 1000, "title": "A title", "state": "open", "updated_at": now}
    common = {"repository": repository, "sender": sender}
    return {
        "push": {"ref": "refs/heads/main", "after": commit["id"], "commits": [commit], **common},
        "pull_request.opened": {"action": "opened", "number": about["number"], "pull_request": about, **common},
        "issues.opened": {"action": "opened", "issue": about, **common},
        "ping": {"zen": "Design for failure.", "hook_id": number, **common},
    }
