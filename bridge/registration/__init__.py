"""Setting the webhook at providers that have an API for it. Only `register` comes here, never the server."""

from bridge.registration.api import Api
from bridge.registration.base import BadPlace, Hook, Registrar, Wanted
from bridge.registration.chosen import registrar_of

__all__ = ["Api", "BadPlace", "Hook", "Registrar", "Wanted", "registrar_of"]
