"""The APIs by which webhooks are registered, as their documentation has them: strict about requests, true in errors.

Chatlevel: its OpenAPI document. Telegram: core.telegram.org/bots/api. GitHub: docs.github.com/rest/repos/webhooks and
rest/orgs/webhooks. Where a document leaves something open, the worse reading.
"""

import contextlib
import itertools
import json
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs, urlsplit

from tests.servers import serving_beside

__all__ = ["ApiServer", "ChatlevelApi", "GitHubApi", "TelegramApi", "serving"]

Answer = tuple[int, object]
JSON = dict[str, Any]
_A = TypeVar("_A", bound="ApiServer")


class ApiServer(ThreadingTCPServer):
    """One API.

    Attributes:
        requests: method, path and body of each.
        faults: status, headers and body to answer the next requests with, whatever they are.
    """

    daemon_threads = True
    base: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: deque[tuple[int, dict[str, str], object]] = deque()

    @property
    def url(self) -> str:
        """For `--api`."""
        return f"http://127.0.0.1:{self.server_address[1]}{self.base}"

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        """The requests that were to change something."""
        return [request for request in self.requests if request[0] != "GET"]

    @abstractmethod
    def answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        """Status and JSON; None: no body."""


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def __getattr__(self, name: str) -> Any:
        """Each method is answered at the same place."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        path = self.path.removeprefix(self.server.base)
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = None
        if content:
            assert self.headers["content-type"] == "application/json"
            body = json.loads(content)
        self.server.requests.append((self.command, path, body))
        if self.server.faults:
            status, more, answer = self.server.faults.popleft()
        else:
            status, answer = self.server.answer(self.command, path, self.headers, body)
            more = {}
        self.send_response(status)
        for name, value in {"content-type": "application/json; charset=utf-8", **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if answer is not None:
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(server: _A) -> Iterator[_A]:
    """The server, until the block ends."""
    with serving_beside(server):
        yield server


class ChatlevelApi(ApiServer):
    """A PUT replaces the device here: what it does not name is gone, and `active` restarts a session."""

    base = "/v1"
    EVENTS = (
        *("connection.open", "connection.closed", "connection.auth", "connection.timeout", "connection.logout"),
        *("message.received", "message.sent", "message.updated", "message.deleted", "call"),
    )
    UPDATE: ClassVar[dict[str, Any]] = {"name": str, "webhookUrl": str | None, "webhookEvents": list}
    UPDATE["subscription_status"] = str

    def __init__(self, key: str, *devices: JSON) -> None:
        super().__init__()
        self.key = key
        self.restarts = 0
        self.devices = {device["id"]: self._device(device) for device in devices}

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        if headers.get("authorization") != f"Bearer {self.key}":
            message = "Missing or invalid authorization header. Please provide a Bearer token."
            return 401, {"status": "error", "error": {"code": 401, "message": message}}
        if method == "GET" and path == "/devices":
            return 200, {"devices": [*self.devices.values()], "status": {"code": 200, "message": "Success"}}
        found = re.fullmatch(r"/devices/(\d+)", path)
        device = self.devices.get(int(found[1])) if found else None
        if device is None:
            return self._status(404, "Device not found")
        if method == "PUT":
            if not self._fits(body):
                return self._status(400, "Invalid JSON format")
            self.restarts += body.get("subscription_status") == "active"
            emptied = dict.fromkeys(("name", "webhookUrl", "webhookEvents"))
            device = self.devices[device["id"]] = self._device(device | emptied | body)
        return 200, {"device": device, "status": {"code": 200, "message": "Success"}}

    def _fits(self, body: Any) -> bool:
        return (
            isinstance(body, dict)
            and body.keys() <= self.UPDATE.keys()
            and all(isinstance(value, self.UPDATE[name]) for name, value in body.items())
            and set(body.get("webhookEvents", ())) <= set(self.EVENTS)
        )

    def _device(self, given: JSON) -> JSON:
        events = given.get("webhookEvents")
        return {
            "name": None,
            "status": "connected",
            "qr": "data:image/png;base64,iVBORw0KGgo=",
            "webhookUrl": None,
            "messagesSent": 150,
            "subscription_status": "active",
            "createdAt": "2026-01-15T10:30:00Z",
            **given,
            "webhookEvents": list(self.EVENTS) if events is None else events,
        }

    @staticmethod
    def _status(code: int, message: str) -> Answer:
        return code, {"status": {"code": code, "message": message}}


class TelegramApi(ApiServer):
    """One bot; what setWebhook does not name is gone, but for `allowed_updates`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "url": str,
        "ip_address": str,
        "max_connections": int,
        "allowed_updates": list,
        "drop_pending_updates": bool,
        "secret_token": str,
    }

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.webhook: JSON = {"url": ""}
        self.allowed: list[str] = []
        self.certificate = False

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        found = re.fullmatch(r"/bot(\d+:[\w-]+)/(\w+)", path)
        if not found:
            return self._error(404, "Not Found")
        if found[1] != self.token:
            return self._error(401, "Unauthorized")
        match method, found[2]:
            case "GET", "getWebhookInfo":
                return 200, {"ok": True, "result": self._info()}
            case "POST", "setWebhook":
                return self._set(body)
            case "POST", "deleteWebhook":
                self.webhook = {"url": ""}
                return 200, {"ok": True, "result": True, "description": "Webhook was deleted"}
        return self._error(404, "Not Found")

    def _info(self) -> JSON:
        info = {"url": self.webhook["url"], "has_custom_certificate": self.certificate, "pending_update_count": 0}
        if self.webhook["url"]:
            info |= {"max_connections": self.webhook.get("max_connections", 40), "ip_address": "203.0.113.7"}
        return info | ({"allowed_updates": self.allowed} if self.allowed else {})

    def _set(self, body: JSON) -> Answer:
        assert all(isinstance(value, self.PARAMETERS[name]) for name, value in body.items())
        url = urlsplit(body["url"])
        if url.scheme != "https":
            return self._error(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        if (url.port or 443) not in (443, 80, 88, 8443):
            return self._error(400, "Bad Request: bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", body.get("secret_token", "")):
            return self._error(400, "Bad Request: secret token contains unallowed characters")
        assert 1 <= body.get("max_connections", 40) <= 100
        self.allowed = body.get("allowed_updates", self.allowed)
        self.webhook = body
        return 200, {"ok": True, "result": True, "description": "Webhook was set"}

    @staticmethod
    def _error(code: int, description: str) -> Answer:
        return code, {"ok": False, "error_code": code, "description": description}


class GitHubApi(ApiServer):
    """Repositories and organisations with their webhooks. A secret is never shown, and gone if an update lacks it."""

    EVENTS = frozenset({"*", "push", "pull_request", "issues", "release"})
    has_pages = True

    def __init__(self, token: str, *places: str) -> None:
        super().__init__()
        self.token = token
        self.hooks: dict[str, dict[int, JSON]] = {place: {} for place in places}
        self._ids = itertools.count(12345678)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        if not headers.get("user-agent"):
            return 403, b"Request forbidden by administrative rules."
        assert headers["accept"] == "application/vnd.github+json"
        assert headers["x-github-api-version"] == "2022-11-28"
        if headers.get("authorization") != f"Bearer {self.token}":
            return self._error(401, "Bad credentials")
        parts = urlsplit(path)
        found = re.fullmatch(r"/(?:repos/([\w.-]+/[\w.-]+)|orgs/([\w.-]+))/hooks(?:/(\d+))?", parts.path)
        hooks = self.hooks.get(found[1] or found[2]) if found else None
        if found is None or hooks is None or (found[3] and int(found[3]) not in hooks):
            return self._error(404, "Not Found")
        hook = hooks[int(found[3])] if found[3] else None
        return self._do(method, hooks, hook, parts.query, body, of_organisation=bool(found[2]))

    def _do(
        self, method: str, hooks: dict[int, JSON], hook: JSON | None, query: str, body: Any, *, of_organisation: bool
    ) -> Answer:
        match method, hook:
            case "GET", None:
                asked = {name: int(value) for name, (value,) in parse_qs(query).items()}
                size, page = asked.get("per_page", 30), asked.get("page", 1) if self.has_pages else 1
                return 200, [self._shown(each) for each in hooks.values()][size * (page - 1) : size * page]
            case "POST", None:
                return self._create(hooks, body, of_organisation=of_organisation)
            case "PATCH", dict():
                return self._update(hooks, hook, body)
            case "DELETE", dict():
                del hooks[hook["id"]]
                return 204, None
        return self._error(404, "Not Found")

    def add(self, place: str, url: str, **more: Any) -> JSON:
        """A webhook that somebody made."""
        identity = next(self._ids)
        hook = {"id": identity, "name": "web", "active": True, "events": ["push"], **more}
        hook["config"] = {"url": url, "content_type": "form", "insecure_ssl": "0", **more.get("config", {})}
        self.hooks[place][identity] = hook
        return hook

    def _create(self, hooks: dict[int, JSON], body: JSON, *, of_organisation: bool) -> Answer:
        assert body.keys() <= {"name", "config", "events", "active"}
        if body.get("name", "" if of_organisation else "web") != "web":
            return self._invalid("name", "custom", "name should be 'web'")
        if any(hook["config"]["url"] == body["config"]["url"] for hook in hooks.values()):
            return self._invalid("", "custom", "Hook already exists on this repository")
        identity = next(self._ids)
        hook = {"id": identity, "name": "web", "active": True, "events": ["push"], "config": {}}
        answer = self._update(hooks, hook, {name: value for name, value in body.items() if name != "name"})
        return (201, answer[1]) if answer[0] == 200 else answer

    def _update(self, hooks: dict[int, JSON], hook: JSON, body: JSON) -> Answer:
        assert body.keys() <= {"config", "events", "add_events", "remove_events", "active"}
        config = body.get("config", hook["config"])
        assert config.keys() <= {"url", "content_type", "secret", "insecure_ssl"}
        if not config.get("url"):
            return self._invalid("url", "missing_field", "")
        if unknown := set(body.get("events", ())) - self.EVENTS:
            return self._invalid("events", "custom", f"{unknown.pop()} is not a valid event")
        config = {"content_type": "form", "insecure_ssl": "0", **config}
        hooks[hook["id"]] = hook | {"events": body["events"], "active": body["active"], "config": config}
        return 200, self._shown(hooks[hook["id"]])

    @staticmethod
    def _shown(hook: JSON) -> JSON:
        config = hook["config"] | ({"secret": "********"} if "secret" in hook["config"] else {})
        return hook | {"config": config, "type": "Repository", "last_response": {"code": None}}

    def _invalid(self, field: str, code: str, message: str) -> Answer:
        error = {"resource": "Hook", "code": code, **({"field": field} if field else {})}
        error |= {"message": message} if message else {}
        return self._error(422, "Validation Failed", errors=[error])

    @staticmethod
    def _error(code: int, message: str, **more: Any) -> Answer:
        about = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(code)}
        return HTTPStatus(code), about | more
