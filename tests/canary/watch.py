"""Every secret that a test gives a bridge, and every place that a bridge writes to: the one must not be in the other.

A session's fixture (`watching`) and a hook (`judged`), which `tests/conftest.py` installs; helpers that start bridges,
ask them or read from their brokers tell `WATCH` what they gave and what they got. What is found fails the test that it
was found in, with the place and the secret's name, never its value.

Looked through: logs and whatever else is printed, of processes and of bridges in this one; what commands say; answers
of the webhooks' and the ops port, headers included; records, with topics, keys and headers; files in data directories.

Not looked through, for the secrets are meant to be there:
- `tokens/` in a data directory: that is where made ones are kept.
- what `serve` prints on a terminal, the URL to register: no helper reads from one.
- what a test prints or sends itself: requests carry proofs.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from bridge.config.broker_settings import KafkaConfig, NatsConfig
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.variables import SOURCE_PREFIX, own_variables, variables
from bridge.providers import PROVIDERS
from bridge.secret import Secret
from bridge.server import HttpServer
from bridge.telemetry import logs
from tests.canary.needles import leak, needles_of

__all__ = ["WATCH", "Watch", "is_secret", "judged", "watching"]

_MOST_NEEDLES = 4000  # a generator of secrets makes thousands; its last ones will do
_MOST_FILE_BYTES = 32 * 1024 * 1024


class Watch:
    """What one test gave and what was found of it.

    Attributes:
        found: leaks, in words.
        ports: that bridges listen on: their answers are looked through.
    """

    def __init__(self) -> None:
        self._needles: dict[bytes, str] = {}
        self.found: list[str] = []
        self.ports: set[int] = set()

    def given(self, secret: str, name: str) -> None:
        """Look for this from now on."""
        for needle, shown in needles_of(secret, name).items():
            self._needles[needle] = self._needles.pop(needle, shown)  # by its first name; the last one at the end
        while len(self._needles) > _MOST_NEEDLES:
            del self._needles[next(iter(self._needles))]

    def given_in(self, env: Mapping[str, str]) -> None:
        """Look for the secrets among these settings, as they are and as the files they name hold them."""
        for name, text in env.items():
            if is_secret(name):
                self.given(text, name)
            elif is_secret(name.removesuffix("_FILE")) or name.endswith("_TLS_KEY_FILE"):
                with suppress(OSError, ValueError):
                    self.given(Path(text).read_text().replace("-----", " "), name)

    def given_to_publisher(self, settings: Mapping[str, Any]) -> None:
        """Look for the logins among a publisher's settings."""
        for name in ("password", "token", "nkey", "creds"):
            with suppress(OSError):
                if settings.get(name) is not None:
                    self.given(settings[name](), name)

    def look(self, where: str, *contents: object) -> None:
        """Note what is in them; texts and bytes are taken as they are."""
        for content in contents:
            text = content if isinstance(content, bytes | str) else str(content)
            if found := leak(where, text, self._needles):
                self.found.append(found)

    def look_at_files(self, data_dir: Path) -> None:
        """Of a bridge, which may run and so take files away from under us; `walk` minds no folder that is gone."""
        for folder, _, names in os.walk(data_dir):
            for path in (Path(folder, name) for name in names):
                shown = path.relative_to(data_dir)
                with suppress(FileNotFoundError):
                    if "tokens" not in shown.parts and path.is_file() and path.stat().st_size <= _MOST_FILE_BYTES:
                        self.look(f"the file {shown}", path.read_bytes().rstrip(b"\0"))

    def end(self) -> list[str]:
        """What was found; from now on it is about another test."""
        found, self.found = list(dict.fromkeys(self.found)), []
        self._needles.clear()
        return found


WATCH = Watch()


def is_secret(name: str) -> bool:
    """Whether the settings call this variable one, without `_FILE`."""
    return name in _secrets() or (_of_sources().fullmatch(name) is not None)


@cache
def _secrets() -> frozenset[str]:
    every = [variable for owner in (Config, NatsConfig, KafkaConfig) for variable in variables(owner)]
    return frozenset(variable.name for variable in every if variable.secret)


@cache
def _of_sources() -> re.Pattern[str]:
    owners = [provider.settings for provider in PROVIDERS.values() if provider.settings is not None]
    own = [variable for owner in owners for variable in own_variables(owner)]
    names = {variable.field.upper() for variable in (*variables(SourceConfig), *own) if variable.secret}
    return re.compile(f"{SOURCE_PREFIX.partition('<')[0]}[A-Z0-9_]+_({'|'.join(sorted(names))})")


@contextmanager
def watching() -> Iterator[None]:
    """While the tests of a session run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Secret, "__init__", _noting_secrets(Secret.__init__))
        patch.setattr(HttpServer, "start", _noting_port(HttpServer.start))
        patch.setattr(httpx.Client, "send", _looking(httpx.Client.send))
        patch.setattr(httpx.AsyncClient, "send", _looking_later(httpx.AsyncClient.send))
        _log_here()
        yield


def _log_here() -> None:
    """As a process logs, but seen; commands of this process set the log up for themselves."""
    structlog.configure(
        processors=logs._json_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(0),  # else a command's level outlives it
        logger_factory=lambda *_: _Printed(),
        cache_logger_on_first_use=False,
    )


class _Printed:
    """Where a bridge in this process logs to: standard output, as a process would, and never a traceback's locals."""

    def msg(self, line: bytes) -> None:
        WATCH.look("the log", line)
        sys.stdout.write(line.decode())

    log = debug = info = warning = error = critical = msg


def _noting_secrets(init: Callable[..., None]) -> Callable[..., None]:
    def noting(secret: Secret, value: str, path: Path | None = None) -> None:
        init(secret, value, path)
        WATCH.given(value, "a secret")

    return noting


def _noting_port(start: Callable[..., Any]) -> Callable[..., Any]:
    async def noting(server: HttpServer) -> None:
        WATCH.ports.add(server._listener.getsockname()[1])
        await start(server)

    return noting


def _looking(send: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    @wraps(send)
    def looking(*arguments: Any, **options: Any) -> httpx.Response:
        response = send(*arguments, **options)
        _look_at(response)
        return response

    return looking


def _looking_later(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    async def looking(*arguments: Any, **options: Any) -> httpx.Response:
        response: httpx.Response = await send(*arguments, **options)
        _look_at(response)
        return response

    return looking


def _look_at(response: httpx.Response) -> None:
    if response.request.url.port in WATCH.ports:
        body = response.content if response.is_closed else b""  # a stream is its reader's
        WATCH.look("an answer", response.reason_phrase, str(response.headers.raw), body)


def judged(report: pytest.TestReport) -> pytest.TestReport:
    """The report of a test's phase, failed if the test gave a secret away; what it printed is looked through, too."""
    if report.when != "teardown":
        return report
    _log_here()
    for section, content in report.sections:
        WATCH.look(section, content)
    if found := WATCH.end():
        report.outcome = "failed"
        lines = "\n".join(f"  {one}" for one in found[:20])
        said = f"{len(found)} times a secret is where it must not be (see tests/canary/watch.py):\n{lines}"
        report.longrepr = f"{report.longrepr}\n{said}" if report.longrepr else said
    return report
