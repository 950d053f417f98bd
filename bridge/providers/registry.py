"""Which providers there are: ours, and those of other packages by the entry point group `webhook_bridge.providers`.

An entry point's name is the provider's, its value `package.module:Class`. A module is imported when its provider is
asked for, so that a broken one harms no source but its own.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from bridge.providers.base import Provider

__all__ = ["BUILT_IN", "GROUP", "PROVIDERS", "BrokenProvider", "Registry"]

GROUP = "webhook_bridge.providers"
"""The entry point group of providers from other packages."""

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "chatlevel": "bridge.providers.chatlevel:Chatlevel",
        "cloudevents-http": "bridge.providers.cloudevents_http:CloudEventsHttp",
        "generic": "bridge.providers.generic:Generic",
        "github": "bridge.providers.github:GitHub",
        "shopify": "bridge.providers.shopify:Shopify",
        "slack": "bridge.providers.slack:Slack",
        "standard-webhooks": "bridge.providers.standard_webhooks:StandardWebhooks",
        "stripe": "bridge.providers.stripe:Stripe",
        "svix": "bridge.providers.svix:Svix",
        "telegram": "bridge.providers.telegram:Telegram",
        "twilio": "bridge.providers.twilio:Twilio",
        "whatsapp-cloud": "bridge.providers.whatsapp_cloud:WhatsAppCloud",
    }
)
"""Our own: name -> module and class."""


class BrokenProvider(ImportError):
    """A provider of another package that cannot be used; the message says whose, and why."""


class Registry(Mapping[str, Provider]):
    """Providers by name, made when they are first asked for. Our own names cannot be taken by others."""

    def __init__(self) -> None:
        self._made: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> Provider:
        """The provider.

        Raises:
            KeyError: there is none of that name.
            BrokenProvider: there is, and it is no provider.
        """
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN
        yield from self._external

    def __len__(self) -> int:
        return len(BUILT_IN) + len(self._external)

    def __contains__(self, name: object) -> bool:
        """Without importing it."""
        return name in BUILT_IN or name in self._external

    @cached_property
    def _external(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILT_IN}

    def _make(self, name: str) -> Provider:
        if path := BUILT_IN.get(name):
            module, _, attribute = path.partition(":")
            made: Provider = getattr(import_module(module), attribute)()
            return made
        point = self._external[name]
        try:
            found = point.load()()
        except Exception as error:  # whatever it is, it is theirs
            raise BrokenProvider(f"{name} ({point.value}): {type(error).__name__}: {error}") from error
        if not isinstance(found, Provider) or found.name != name:
            raise BrokenProvider(f"{name} ({point.value}) is no bridge.providers.base.Provider of that name")
        return found


PROVIDERS = Registry()
"""All there are."""
