"""Chatlevel: one webhook a device, set by PUT /devices/{id}."""

import difflib
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from bridge.errors import RegistrationFailed
from bridge.providers.chatlevel_samples import SAMPLES
from bridge.registration.base import Hook, Registrar, Wanted
from bridge.secret import Secret

__all__ = ["Chatlevel"]

_MAX_NAMED = 10


class _Device(msgspec.Struct, frozen=True):
    """What of a device is needed; `qr` is a credential and never read."""

    id: int
    name: str | None = None
    webhookUrl: str | None = None  # noqa: N815 -- the API's name
    webhookEvents: tuple[str, ...] | None = None  # noqa: N815 -- likewise
    subscription_status: str | None = None

    @property
    def place(self) -> str:
        return f"device {self.id} ({self.name})" if self.name else f"device {self.id}"


class _Devices(msgspec.Struct, frozen=True):
    devices: tuple[_Device, ...]


class Chatlevel(Registrar):
    """The registrar."""

    api_url: ClassVar[str] = "https://api.chatlevel.io/v1"
    credential: ClassVar[str] = "Chatlevel's API key, sk_…"
    places: ClassVar[str] = "device ids"
    at_devices: ClassVar[bool] = True
    known_events: ClassVar[tuple[str, ...]] = tuple(sorted(SAMPLES))
    per_minute: ClassVar[int | None] = 100

    def find(self, where: tuple[str, ...]) -> Mapping[str, tuple[Hook, ...]]:
        """The devices' webhooks, by one request."""
        devices = {str(device.id): device for device in self._devices()}
        for wanted in where:
            if wanted not in devices:
                raise RegistrationFailed(f"there is no device {wanted!r}; {_nearest(wanted, devices)}")
        chosen = [devices[name] for name in dict.fromkeys(where)] if where else devices.values()
        return {device.place: (_hook(device),) for device in chosen}

    def changed(self, hook: Hook, wanted: Wanted) -> Hook:
        """Another URL, other events."""
        return msgspec.structs.replace(hook, url=wanted.url, events=wanted.events_at(hook))

    def write(self, before: Hook, after: Hook, secret: Secret | None) -> None:  # noqa: ARG002 -- it signs nothing
        """Set URL and events.

        The name goes back as it was read, for the documentation leaves open whether a PUT replaces what it does not
        name. `subscription_status` does not: by `active` the device's session is restarted. Nor is `phoneNumber`, by
        which a pairing begins.
        """
        self._put(before, after.url, after.events)

    def remove(self, hook: Hook) -> None:
        """No URL, and the events as they are."""
        self._put(hook, None, hook.events)

    def _put(self, hook: Hook, url: str | None, events: tuple[str, ...]) -> None:
        name = {} if hook.kept["name"] is None else {"name": hook.kept["name"]}
        body = {**name, "webhookUrl": url, "webhookEvents": events or self.known_events}
        self.api.call("PUT", f"/devices/{hook.id}", body)

    def _devices(self) -> tuple[_Device, ...]:
        return self.read(self.api.call("GET", "/devices"), _Devices, does="lists devices").devices


def _hook(device: _Device) -> Hook:
    events = device.webhookEvents or ()
    return Hook(
        place=device.place,
        id=str(device.id),
        url=device.webhookUrl or "",
        events=() if set(events) == SAMPLES.keys() else tuple(sorted(events)),
        kept={"name": device.name, "subscription_status": device.subscription_status},
    )


def _nearest(wanted: str, devices: Mapping[str, _Device]) -> str:
    if not devices:
        return "this key has none"
    near = difflib.get_close_matches(wanted, devices, 3, cutoff=0.5)
    named = [devices[name].place.removeprefix("device ") for name in near or list(devices)[:_MAX_NAMED]]
    more = "" if near or len(devices) <= _MAX_NAMED else f" and {len(devices) - _MAX_NAMED} more"
    return f"{'perhaps' if near else 'there are'} {', '.join(named)}{more}"
