"""Which registrar a provider has: a path, so that neither serving nor reading settings imports an HTTP client."""

from importlib import import_module

from bridge.errors import RegistrationFailed
from bridge.providers.base import Provider
from bridge.registration.base import Registrar

__all__ = ["registrar_of"]


def registrar_of(provider: Provider) -> type[Registrar]:
    """The class that the provider names.

    Raises:
        RegistrationFailed: it names none, or nothing that can be used.
    """
    if not provider.registrar:
        raise RegistrationFailed(
            f"{provider.name} has no API that webhooks can be registered by; enter the URL that `webhook-bridge serve` "
            "prints at the provider"
        )
    module, _, name = provider.registrar.partition(":")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # whatever it is, it is theirs
        reason = f"{type(error).__name__}: {error}"
        raise RegistrationFailed(f"the registrar of {provider.name} ({provider.registrar}): {reason}") from error
    if not (isinstance(found, type) and issubclass(found, Registrar)):
        raise RegistrationFailed(f"{provider.registrar} is no bridge.registration.Registrar")
    return found
