"""Telegram: one webhook a bot, set by setWebhook. The bot's token is in the path of each request."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec

from bridge.errors import RegistrationFailed
from bridge.providers.base import Fault
from bridge.registration.api import Answered
from bridge.registration.base import BadPlace, Hook, Registrar, Wanted
from bridge.secret import Secret

__all__ = ["Telegram"]

_PORTS = (443, 80, 88, 8443)
_NOT_FOUND = 404
_is_secret = re.compile(r"[A-Za-z0-9_-]{1,256}").fullmatch
_is_token = re.compile(r"[0-9]+:[A-Za-z0-9_-]+").fullmatch


class _Info(msgspec.Struct, frozen=True):
    """WebhookInfo, as far as it is needed."""

    url: str
    has_custom_certificate: bool = False
    allowed_updates: tuple[str, ...] = ()
    max_connections: int | None = None


class Telegram(Registrar):
    """The registrar."""

    api_url: ClassVar[str] = "https://api.telegram.org"
    credential: ClassVar[str] = "the bot's token as BotFather shows it, 123456:ABC…"
    all_events: ClassVar[str] = "all but chat_member, message_reaction and message_reaction_count"

    _own_certificate = False

    @classmethod
    def headers(cls, token: Secret) -> Mapping[str, str]:  # noqa: ARG003 -- it is in the path
        """None of its own."""
        return {}

    def faults(self, wanted: Wanted) -> Iterator[Fault]:
        """What setWebhook is documented to refuse."""
        if not _is_token(self.token.reveal()):
            yield Fault("api_token", "is no bot's token", self.credential)
        if wanted.secret is not None and not _is_secret(wanted.secret.reveal()):
            found = "cannot be Telegram's secret_token"
            yield Fault("secret", found, "1 to 256 of A-Z a-z 0-9 _ -, such as the output of: openssl rand -hex 32")
        if (port := urlsplit(wanted.url).port or 443) not in _PORTS:
            yield Fault("public_url", f"has port {port}, which Telegram does not call", "443, 80, 88 or 8443")

    def find(self, where: tuple[str, ...]) -> Mapping[str, tuple[Hook, ...]]:
        """The bot's webhook."""
        if where:
            raise BadPlace("a bot has one webhook; name nothing after the source")
        bot = self.token.reveal().partition(":")[0]  # which every user of the bot may know
        info = self.read(self._call("getWebhookInfo"), _Info)
        hook = Hook(
            place=f"bot {bot}",
            id=bot,
            url=info.url,
            events=tuple(sorted(info.allowed_updates)),
            kept={"max_connections": info.max_connections} if info.url and info.max_connections else {},
        )
        self._own_certificate = info.has_custom_certificate
        return {hook.place: (hook,)}

    def changed(self, hook: Hook, wanted: Wanted) -> Hook:
        """Another URL, other events. A call keeps nothing it does not name, nor the certificate, a file we lack."""
        if self._own_certificate:
            raise RegistrationFailed(
                f"{hook.place} has a certificate of its own uploaded, which would be lost; use setWebhook by hand, or "
                "deleteWebhook first"
            )
        return msgspec.structs.replace(hook, url=wanted.url, events=wanted.events_at(hook))

    def write(self, before: Hook, after: Hook, secret: Secret | None) -> None:
        """Set it. Updates that wait are not dropped."""
        body: dict[str, Any] = {"url": after.url, "allowed_updates": after.events, **before.kept}
        if secret is not None:
            body["secret_token"] = secret.reveal()
        self._call("setWebhook", body)

    def remove(self, hook: Hook) -> None:  # noqa: ARG002 -- there is only one
        """Updates wait until there is a webhook again, or for a day."""
        self._call("deleteWebhook", {})

    def _call(self, method: str, body: object = None) -> Any:  # noqa: ANN401 -- the API's JSON
        try:
            answer = self.api.call("GET" if body is None else "POST", f"/bot{self.token.reveal()}/{method}", body)
        except Answered as error:
            if error.status != _NOT_FOUND:
                raise
            raise RegistrationFailed(f"{error}; it does not know the bot: is the token right?") from None
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            raise RegistrationFailed(f"{self.api.host} did not say that {method} worked")
        return answer.get("result")
