"""GitHub: any number of webhooks of a repository or an organisation. Ours is the one that calls our URL."""

import re
from collections.abc import Mapping
from itertools import count
from typing import Any, ClassVar

import msgspec

from bridge.errors import RegistrationFailed
from bridge.registration.api import Answered
from bridge.registration.base import BadPlace, Hook, Registrar, Wanted
from bridge.secret import Secret

__all__ = ["GitHub"]

_PAGE = 100
_NOT_FOUND = 404
_place = re.compile(r"(?!\.)[A-Za-z0-9_.-]+(/(?!\.{1,2}\Z)[A-Za-z0-9_.-]+)?").fullmatch


class _Config(msgspec.Struct, frozen=True):
    url: str = ""
    content_type: str = "form"
    insecure_ssl: str | int = "0"


class _Webhook(msgspec.Struct, frozen=True):
    id: int
    active: bool
    events: tuple[str, ...]
    config: _Config


class GitHub(Registrar):
    """The registrar."""

    api_url: ClassVar[str] = "https://api.github.com"
    credential: ClassVar[str] = "a token that may administer webhooks (scope admin:repo_hook, or admin:org_hook)"
    places: ClassVar[str] = "repositories (owner/name) or organisations"
    several: ClassVar[bool] = True

    @classmethod
    def headers(cls, token: Secret) -> Mapping[str, str]:
        """The version of the API is fixed, so that an answer's form is."""
        form = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
        return {**super().headers(token), **form}

    def find(self, where: tuple[str, ...]) -> Mapping[str, tuple[Hook, ...]]:
        """All webhooks of each place."""
        if not where:
            raise BadPlace("name a repository, owner/name, or an organisation")
        for name in where:
            if not _place(name):
                raise BadPlace(f"{name!r} is neither a repository, owner/name, nor an organisation")
        return {_words(name): tuple(self._hooks(name)) for name in where}

    def changed(self, hook: Hook, wanted: Wanted) -> Hook:
        """Active, as JSON, whatever it was before."""
        details = {**hook.details, "content type": "json", "active": "yes"}
        return msgspec.structs.replace(hook, url=wanted.url, events=wanted.events_at(hook), details=details)

    def write(self, before: Hook, after: Hook, secret: Secret | None) -> None:
        """Make or update it. All of `config` each time: what an update leaves out of it, the secret too, is removed."""
        config = {
            "url": after.url,
            "content_type": "json",
            "insecure_ssl": before.kept.get("insecure_ssl", "0"),
            **({} if secret is None else {"secret": secret.reveal()}),
        }
        body: dict[str, Any] = {"active": True, "events": after.events or ("*",), "config": config}
        name = after.place.partition(" ")[2]
        if before.id:
            self._call(name, "PATCH", f"/{before.id}", body)
        else:
            self._call(name, "POST", "", {"name": "web", **body})

    def remove(self, hook: Hook) -> None:
        """Delete it."""
        self._call(hook.place.partition(" ")[2], "DELETE", f"/{hook.id}")

    def _hooks(self, name: str) -> list[Hook]:
        found: dict[int, _Webhook] = {}
        for number in count(1):
            page = self._call(name, "GET", f"?per_page={_PAGE}&page={number}")
            more = self.read(page, list[_Webhook], does="lists webhooks")
            known = len(found)
            found |= {webhook.id: webhook for webhook in more}
            if len(more) < _PAGE or len(found) == known:  # the second: a server in between that ignores `page`
                break
        return [_hook(name, webhook) for webhook in found.values()]

    def _call(self, name: str, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 -- the API's JSON
        below = f"/repos/{name}" if "/" in name else f"/orgs/{name}"
        try:
            return self.api.call(method, f"{below}/hooks{path}", body)
        except Answered as error:
            if error.status != _NOT_FOUND:
                raise
            raise RegistrationFailed(f"{error}; there is no {_words(name)}, or this is not {self.credential}") from None


def _words(name: str) -> str:
    return f"repository {name}" if "/" in name else f"organisation {name}"


def _hook(name: str, webhook: _Webhook) -> Hook:
    return Hook(
        place=_words(name),
        id=str(webhook.id),
        url=webhook.config.url,
        events=() if "*" in webhook.events else tuple(sorted(webhook.events)),
        details={"content type": webhook.config.content_type, "active": "yes" if webhook.active else "no"},
        kept={"insecure_ssl": str(webhook.config.insecure_ssl)},
    )
