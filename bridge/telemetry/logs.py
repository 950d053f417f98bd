"""Log set-up: structlog and the standard library's loggers come out of one pipeline, as JSON lines or for people.

Not here: what is logged (`facts`). Called by the command line at start; modules take `structlog.get_logger()`.

Lines hold no locals of a traceback (reliability: structlog's default shows them, secrets and bodies included), and
nothing in a value can end a line or reach a terminal as a control sequence.
"""

import atexit
import logging
import os
import re
from collections.abc import Callable
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.dev import ConsoleRenderer
from structlog.processors import ExceptionRenderer, TimeStamper, add_log_level, format_exc_info
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from bridge.telemetry.line_writer import LineWriter

__all__ = ["configure", "dropped_lines", "shutdown"]

Format = Literal["json", "console"]
Level = Literal["debug", "info", "warning", "error", "critical"]

_MAX_QUEUED_BYTES = 4 * 1024 * 1024  # some ten thousand lines: seconds of a busy bridge whose reader stalls
_EXIT_TIMEOUT_S = 1.0

# DEL, the C1 controls (U+009B is a terminal's CSI), line and paragraph separators, bidirectional overrides: legal in
# JSON as they are, and not for a terminal that shows the line.
_UNSAFE_UTF8 = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


class _Output:
    """What structlog's loggers hand their lines to; keeps its identity when the writer is exchanged."""

    def __init__(self) -> None:
        self.writer: LineWriter | None = None

    def msg(self, line: bytes) -> None:
        if self.writer is not None:
            self.writer.put(line)

    log = debug = info = warning = error = critical = msg


_output = _Output()
_processors: list[Processor] = []  # one list for ever: loggers that cached it follow a later `configure`


def configure(
    format: Format,  # noqa: A002 -- as in BRIDGE_LOG_FORMAT
    level: Level,
    stream: TextIO,
    *,
    max_queued_bytes: int = _MAX_QUEUED_BYTES,
) -> None:
    """Send all logs to the stream from now on, in the background.

    A stalled reader never blocks the caller: what does not fit into the queue is dropped, counted, and reported by a
    line `log_lines_dropped` once the stream moves. Loggers of the standard library (uvicorn, nats, asyncio) come
    through at `warning` and above; uvicorn's access log is off.

    Calling it again exchanges format and stream; loggers already used keep their level.

    Args:
        format: `json`, one object a line: timestamp (ISO 8601, UTC), level, event, then the rest; or `console`.
        level: the least important one written.
        stream: such as `sys.stdout`. Not closed here.
        max_queued_bytes: how much may wait for the reader.
    """
    shutdown(_EXIT_TIMEOUT_S)
    processors = _json_processors() if format == "json" else _console_processors(colors=_has_colors(stream))
    _processors[:] = processors

    def report(count: int) -> bytes:
        return _rendered(processors, "log_lines_dropped", count)

    _output.writer = LineWriter(stream, max_queued_bytes=max_queued_bytes, report=report)
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: _output,
        cache_logger_on_first_use=True,
    )
    _route_standard_library()
    atexit.unregister(shutdown)
    atexit.register(shutdown, _EXIT_TIMEOUT_S)


def shutdown(timeout_s: float) -> bool:
    """Write what is queued, for at most so long. Lines after it are lost. Whether all were written.

    Idempotent; also runs at the interpreter's exit. The standard library's loggers are on their own again.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _StandardLibraryHandler):
            root.removeHandler(handler)
    writer, _output.writer = _output.writer, None
    return writer is None or writer.close(timeout_s)


def dropped_lines() -> int:
    """How many lines were lost since `configure`, for a counter."""
    return _output.writer.dropped_total if _output.writer is not None else 0


def _rendered(processors: list[Processor], event: str, count: int) -> bytes:
    """One line of our own, past the loggers and their level."""
    line: Any = {"event": event, "count": count}
    for processor in processors:
        line = processor(None, "warning", line)
    return bytes(line)


def _json_processors() -> list[Processor]:
    return [
        add_log_level,
        TimeStamper(fmt="iso", utc=True),
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False, use_rich=False)),
        _render_json,
    ]


def _console_processors(*, colors: bool) -> list[Processor]:
    renderer = ConsoleRenderer(colors=colors, sort_keys=False)

    def render(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
        return renderer(logger, name, event).encode(errors="backslashreplace") + b"\n"

    return [add_log_level, TimeStamper(fmt="%H:%M:%S", utc=False), format_exc_info, _escape, render]


_encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=repr).encode


def _render_json(_logger: WrappedLogger, _name: str, event: EventDict) -> bytes:
    line = {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event"), **event}
    try:
        encoded = _encode(line)
    except Exception:  # noqa: BLE001 -- lone surrogates, a failing repr, a cycle: a log call never raises
        encoded = _encode({_ascii(key): _ascii(value) for key, value in line.items()})
    return _UNSAFE_UTF8.sub(_json_escape, encoded) + b"\n"


def _json_escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())


def _escape(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """ConsoleRenderer lets ESC and new lines through; here only a traceback's own lines stay, indented."""
    escaped: EventDict = {}
    for key, value in event.items():
        if key == "exception":
            escaped[key] = "\n".join(f"  {_printable(line)}" for line in str(value).split("\n"))
        elif value is None or isinstance(value, bool | int | float):
            escaped[_printable(str(key))] = value
        else:
            escaped[_printable(str(key))] = _printable(value if isinstance(value, str) else _repr(value))
    return escaped


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 -- a log call never raises
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"


def _ascii(value: object) -> str:
    text = value if isinstance(value, str) else _repr(value)
    return text.encode("ascii", "backslashreplace").decode()


def _has_colors(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org


class _StandardLibraryHandler(logging.Handler):
    """Takes the standard library's records into the same pipeline."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logger = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 -- arguments that do not fit: the text without them
            message = str(record.msg)
        exc_info = {"exc_info": record.exc_info} if record.exc_info else {}
        if record.levelno >= logging.CRITICAL:
            write = self._logger.critical
        else:
            write = self._logger.error if record.levelno >= logging.ERROR else self._logger.warning
        write(message, logger=record.name, **exc_info)


def _route_standard_library() -> None:
    """One handler, at the root. Whatever uvicorn or others attached to theirs would write the line twice."""
    root = logging.getLogger()
    root.handlers[:] = [_StandardLibraryHandler()]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "nats", "asyncio", "litestar"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    access = logging.getLogger("uvicorn.access")  # a path may hold a token
    access.handlers.clear()
    access.propagate = False
