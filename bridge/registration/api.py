"""Requests to a provider's API: its pace kept, its errors in words, and no secret in any of them."""

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec

from bridge.errors import RegistrationFailed

__all__ = ["Answered", "Api"]

_TIMEOUT_S = 30.0
_MINUTE_S = 60.0
_LONGEST_WAIT_S = 300.0
_TRIES = 5
_MAX_SAID_CHARS = 500
_MAY_SAY_WHEN = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.FORBIDDEN)
_is_seconds = re.compile(r"[0-9]{1,12}").fullmatch
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
# Where APIs say what went wrong: Chatlevel's two ways, Telegram's, GitHub's.
_SAID = (("error", "message"), ("status", "message"), ("description",), ("message",))


class Answered(RegistrationFailed):
    """The API said no.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One API, for one run of the command.

    Attributes:
        host: what may be shown of its address.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        variable: str,
        hidden: Sequence[str],
        per_minute: int | None = None,
        tell: Callable[[str], None] = lambda _text: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """No request is made.

        Args:
            url: what all paths are below.
            headers: of each request.
            variable: that holds the credential, for messages.
            hidden: texts that no message may show.
            per_minute: requests that the API takes in a minute.
            tell: is told when it waits, and why.
            clock: seconds.
            sleep: waits.
        """
        self.host = httpx.URL(url).netloc.decode()
        self._url = url.rstrip("/")
        self._variable = variable
        forms = {form for text in hidden for form in (text, quote(text, safe=""))}  # as paths are said back
        self._hidden = sorted(forms, key=len, reverse=True)
        self._per_minute = per_minute
        self._tell, self._clock, self._sleep = tell, clock, sleep
        self._sent: deque[float] = deque()
        agent = f"webhook-bridge/{version('webhook-bridge')}"
        # No redirect is followed: it would take the credential along.
        self._client = httpx.Client(headers={"user-agent": agent, **headers}, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 -- the API's JSON
        """The answer's JSON, None where it has no body. Tried again where the API says when.

        Raises:
            Answered: the API said no.
            RegistrationFailed: it said nothing, or nothing that can be read.
        """
        for attempt in range(1, _TRIES + 1):
            response = self._send(method, path, body)
            content = _json(response)
            if response.is_success:
                if content is None and response.content:
                    raise RegistrationFailed(f"{self.host} answered {response.status_code} without JSON: {self._hint}")
                return content
            pause_s = _pause_s(response, content)
            if pause_s is None or attempt == _TRIES or pause_s > _LONGEST_WAIT_S:
                raise self._refused(response, content, pause_s)
            self._tell(f"{self.host} has had enough requests for now; going on in {pause_s:g} s")
            self._sleep(pause_s)
        raise AssertionError

    _hint = "is --api the address of the API?"

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        self._keep_pace()
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"content-type": "application/json"}
        try:
            return self._client.request(method, self._url + path, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = self._shown(str(error) or type(error).__name__)
            raise RegistrationFailed(f"no answer from {self.host}: {reason}") from None  # the cause has the URL

    def _keep_pace(self) -> None:
        """Wait rather than be refused: the limit may be one for all who use the same key."""
        if self._per_minute is None:
            return
        while self._sent and self._clock() - self._sent[0] >= _MINUTE_S:
            self._sent.popleft()
        if len(self._sent) >= self._per_minute:
            pause_s = _MINUTE_S - (self._clock() - self._sent.popleft())
            self._tell(f"{self.host} takes {self._per_minute} requests a minute; going on in {pause_s:.0f} s")
            self._sleep(pause_s)
        self._sent.append(self._clock())

    def _refused(self, response: httpx.Response, content: object, pause_s: float | None) -> Answered:
        status = response.status_code
        said = f"{self.host} answered {status}: {self._shown(_said(content) or httpx.codes.get_reason_phrase(status))}"
        if status == HTTPStatus.UNAUTHORIZED:
            said = f"{said}; the value of {self._variable} is not (or no longer) one that it knows"
        elif pause_s is not None:
            said = f"{said}; it takes requests again in {pause_s:g} s"
        elif response.is_redirect:
            said = f"{said}; redirects are not followed, {self._hint}"
        return Answered(said, status)

    def _shown(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return _CONTROL.sub(" ", text)[:_MAX_SAID_CHARS]


def _json(response: httpx.Response) -> Any:  # noqa: ANN401 -- the API's JSON
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _said(content: object) -> str:
    """The reason in an error's body, empty where there is none."""
    reasons = [found for path in _SAID if isinstance(found := _at(content, *path), str)]
    errors = _at(content, "errors")  # GitHub's: what exactly failed validation
    for error in errors if isinstance(errors, list) else ():
        detail = error if isinstance(error, str) else _at(error, "message") or _at(error, "code")
        field = _at(error, "field")
        reasons.append(f"{field}: {detail}" if field else str(detail))
    return "; ".join(reasons)


def _at(content: object, *path: str) -> Any:  # noqa: ANN401 -- any JSON value
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _pause_s(response: httpx.Response, content: object) -> float | None:
    """How long the API asks to be left alone; None: it does not."""
    status, headers = response.status_code, response.headers
    exhausted = status == HTTPStatus.FORBIDDEN and headers.get("x-ratelimit-remaining") == "0"
    asked = headers.get("retry-after", str(_at(content, "parameters", "retry_after")))
    if _is_seconds(asked) and status in _MAY_SAY_WHEN:
        return float(asked)
    reset = headers.get("x-ratelimit-reset", "")
    if (exhausted or status == HTTPStatus.TOO_MANY_REQUESTS) and _is_seconds(reset):
        return max(1.0, round(float(reset) - time.time()))
    return _MINUTE_S if status == HTTPStatus.TOO_MANY_REQUESTS else None
