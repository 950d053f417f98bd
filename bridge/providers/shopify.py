"""Shopify: webhooks of shops, payloads as they came. Type, id, time and shop stand in headers, which it does not sign.

It waits for 5 s and tries 8 times in 4 hours; then it deletes the subscription.
"""

import hashlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from bridge.errors import UndecodableBody
from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import fallback_type, header, json_object, make_event, text
from bridge.providers.proof import Proof
from bridge.providers.values import utc_time

__all__ = ["Shopify"]

_FALLBACK = fallback_type("shopify")
_FAMILIES = ("x-shopify-", "shopify-")  # of webhooks, and of the newer Events
_PROOFS = tuple(Proof(scheme="hmac-sha256", header=f"{family}hmac-sha256", encoding="base64") for family in _FAMILIES)
_READ = ("topic", "webhook-id", "event-id", "triggered-at", "shop-domain")


class Shopify(Provider):
    """The provider."""

    name: str = "shopify"
    event_types: tuple[EventType, ...] = (_FALLBACK,)
    open_types: bool = True
    proofs: tuple[Proof, ...] = _PROOFS
    headers: frozenset[str] = frozenset(family + name for family in _FAMILIES for name in _READ)
    deadline_ms: int = 4000
    retry_plan_s: tuple[int, ...] = (
        60,
        300,
        600,
        1200,
        1800,
        2700,
        3600,
        4140,
    )  # how it divides the 4 hours is not said
    sample_events: tuple[str, ...] = ("orders/create", "products/update", "app/uninstalled")

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        """The object that the topic is about."""
        if event not in self.sample_events:
            raise KeyError(event)
        number = uuid.uuid4().int % 10**13
        return msgspec.json.encode({"id": number, "name": f"#{number % 10_000}", "updated_at": now.isoformat()})

    def sample_headers(self, event: str, body: bytes) -> Mapping[str, str]:
        """The topic, and an id that is the same for the same body."""
        return {
            "content-type": "application/json",
            "x-shopify-topic": event if "/" in event else event.replace(".", "/", 1),
            "x-shopify-webhook-id": str(uuid.UUID(bytes=hashlib.sha256(body).digest()[:16])),
            "x-shopify-shop-domain": "example.myshopify.com",
            "x-shopify-api-version": "2026-04",
            "x-shopify-triggered-at": datetime.now(UTC).isoformat(),
        }


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    said = {name: _header(delivery, name) for name in _READ}
    if not said["topic"]:
        raise UndecodableBody("Expected the header `X-Shopify-Topic`")
    fields = json_object(delivery.body)
    return (
        make_event(
            delivery,
            _FALLBACK,
            delivery.body,
            name=said["topic"],
            # an event's id is shared by the webhooks of several subscriptions, which may be of several versions
            identity=said["webhook-id"] or said["event-id"],
            key=said["shop-domain"],
            subject=text(fields, "id"),
            time=utc_time(said["triggered-at"]),
        ),
    )


def _header(delivery: Delivery, name: str) -> str:
    return next(filter(None, (header(delivery, family + name) for family in _FAMILIES)), "")
