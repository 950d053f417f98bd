"""Standard Webhooks: the one scheme of many senders (Svix, Clerk, Resend, OpenAI, GitLab's signing token and others).

Both signatures of the specification: `v1` (a shared secret, `whsec_…`) and `v1a` (the sender's public key, `whpk_…`);
under its own header names or Svix's. Payloads as they came.
"""

import uuid
from datetime import datetime

import msgspec

from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import fallback_type, header, inner, json_object, make_event, text, time_of
from bridge.providers.proof import Proof, SecretForm, Timestamp, Versions

__all__ = ["StandardWebhooks", "proofs_of"]

_MINUTE, _HOUR = 60, 3600


def proofs_of(family: str) -> tuple[Proof, Proof]:
    """The specification's two signatures under the header names of a family: `webhook` or `svix`."""
    shared = Proof(
        scheme="hmac-sha256",
        header=f"{family}-signature",
        grammar=Versions("v1"),
        encoding="base64",
        signed="{id}.{timestamp}.{body}",
        id_header=f"{family}-id",
        timestamp=Timestamp(f"{family}-timestamp"),
        secret=SecretForm("base64", "whsec_"),
    )
    public = msgspec.structs.replace(
        shared,
        scheme="ed25519",
        grammar=Versions("v1a"),
        secret=SecretForm("base64", "whpk_", prefix_required=True),
    )
    return shared, public


class StandardWebhooks(Provider):
    """The provider."""

    name: str = "standard-webhooks"
    event_types: tuple[EventType, ...] = (fallback_type("standard-webhooks"),)
    open_types: bool = True
    proofs: tuple[Proof, ...] = proofs_of("webhook") + proofs_of("svix")
    headers: frozenset[str] = frozenset({"webhook-id", "svix-id"})
    deadline_ms: int = 8000  # senders are advised to wait for 15 s or more
    retry_plan_s: tuple[int, ...] = (
        5,
        5 * _MINUTE,
        30 * _MINUTE,
        *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)),
    )
    sample_events: tuple[str, ...] = ("user.created", "user.updated")

    def decoder(self) -> Decoder:
        """A decoder for this provider's types."""
        fallback = self.event_types[-1]

        def decode(delivery: Delivery) -> tuple[Event, ...]:
            fields = json_object(delivery.body)
            return (
                make_event(
                    delivery,
                    fallback,
                    delivery.body,
                    name=text(fields, "type"),
                    identity=header(delivery, "webhook-id") or header(delivery, "svix-id"),
                    subject=text(inner(fields, "data"), "id"),
                    time=time_of(fields, "timestamp"),
                ),
            )

        return decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        """As the specification advises: type, timestamp and data."""
        if event not in self.sample_events:
            raise KeyError(event)
        data = {"id": f"usr_{uuid.uuid4().hex[:20]}", "first_name": "Ada", "last_name": "Lovelace"}
        return msgspec.json.encode({"type": event, "timestamp": now.isoformat(), "data": data})
