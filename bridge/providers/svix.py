"""Svix and what is sent through it: Standard Webhooks under its own header names."""

from bridge.events.model import EventType
from bridge.providers.passthrough import fallback_type
from bridge.providers.proof import Proof
from bridge.providers.standard_webhooks import StandardWebhooks, proofs_of

__all__ = ["Svix"]


class Svix(StandardWebhooks):
    """The provider."""

    name: str = "svix"
    event_types: tuple[EventType, ...] = (fallback_type("svix"),)
    proofs: tuple[Proof, ...] = proofs_of("svix") + proofs_of("webhook")
