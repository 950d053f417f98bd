"""Stripe: snapshot and thin events, their payload as it came.

Signs every attempt anew with its time, so the tolerance is short and retries are recognised by the event's id. Stripe
states neither how long it waits nor when it tries again: up to three days is what its documentation promises.
"""

import uuid
from datetime import datetime

import msgspec

from bridge.events.model import Event, EventType
from bridge.providers.base import Decoder, Delivery, Provider
from bridge.providers.passthrough import fallback_type, inner, json_object, make_event, text, time_of
from bridge.providers.proof import Pairs, Proof, Timestamp

__all__ = ["Stripe"]

_FALLBACK = fallback_type("stripe")
_PROOF = Proof(
    scheme="hmac-sha256",
    header="stripe-signature",
    grammar=Pairs(signature="v1", timestamp="t"),
    signed="{timestamp}.{body}",
    timestamp=Timestamp(),
    # the whole `whsec_…` text is the key, unlike that of Standard Webhooks, which looks the same
)
_HOUR = 3600


class Stripe(Provider):
    """The provider."""

    name: str = "stripe"
    event_types: tuple[EventType, ...] = (_FALLBACK,)
    open_types: bool = True
    proofs: tuple[Proof, ...] = (_PROOF,)
    deadline_ms: int = 5000
    retry_plan_s: tuple[int, ...] = (300, 1800, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 12 * _HOUR, 18 * _HOUR, 24 * _HOUR)
    sample_events: tuple[str, ...] = ("customer.created", "invoice.paid", "v1.billing.meter.no_meter_found")

    def decoder(self) -> Decoder:
        """The decoder; it has no state."""
        return _decode

    def sample(self, event: str, *, now: datetime) -> bytes:
        """A thin event for the names of the second version, else a snapshot."""
        if event not in self.sample_events:
            raise KeyError(event)
        return msgspec.json.encode(_sample(event, now))


def _decode(delivery: Delivery) -> tuple[Event, ...]:
    fields = json_object(delivery.body)
    about = inner(fields, "data", "object") or inner(fields, "related_object")
    customer = text(about, "customer") or text(inner(about, "customer"), "id")
    return (
        make_event(
            delivery,
            _FALLBACK,
            delivery.body,
            name=text(fields, "type"),
            identity=text(fields, "id"),
            key=customer or text(about, "id"),
            subject=text(about, "id"),
            time=time_of(fields, "created"),
        ),
    )


def _sample(event: str, now: datetime) -> dict[str, object]:
    number = uuid.uuid4().hex
    if event.startswith("v1."):
        related = {"id": f"mtr_test_{number[:8]}", "type": "billing.meter", "url": "/v1/billing/meters/mtr_test"}
        identity = f"evt_test_{number}"
        return {
            "id": identity,
            "object": "v2.core.event",
            "type": event,
            "created": now.isoformat(),
            "related_object": related,
        }
    about = {"id": f"cus_{number[:14]}", "object": "customer", "created": int(now.timestamp())}
    if event == "invoice.paid":
        about = {"id": f"in_{number[:24]}", "object": "invoice", "customer": "cus_NffrFeUfNV2Hib", "amount_paid": 1000}
    return {
        "id": f"evt_{number[:24]}",
        "object": "event",
        "api_version": "2026-02-25.clover",
        "created": int(now.timestamp()),
        "type": event,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
    }
