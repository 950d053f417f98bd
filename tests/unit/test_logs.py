import asyncio
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
import pytest
import structlog

from bridge.telemetry import logs

HOSTILE = "a\nfake=line\r\x1b[31mred\x1b]0;title\x07\x00\x7f\x9b2J\u2028\u202etxt\udcff"


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    """The set-up is the process's: give pytest's own handlers and structlog's defaults back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.shutdown(1.0)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    assert logs.shutdown(5.0)
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def raise_with_locals(message: str = "it broke") -> None:
    password = "hunter2-in-a-local"
    try:
        {}[len(password)]
    except KeyError as error:
        raise ValueError(message) from error


def test_a_line_is_one_json_object_with_time_level_and_event_first() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)

    structlog.get_logger().bind(source="shop").info("delivered", count=2, data={"a": [1, None]})

    (line,) = logged(stream)
    assert list(line) == ["timestamp", "level", "event", "source", "count", "data"]
    assert (line["level"], line["event"], line["count"], line["data"]) == ("info", "delivered", 2, {"a": [1, None]})
    time = datetime.fromisoformat(line["timestamp"])
    assert time.utcoffset() == UTC.utcoffset(None)
    assert abs((datetime.now(UTC) - time).total_seconds()) < 60


def test_levels_below_the_configured_one_cost_nothing_and_write_nothing() -> None:
    stream = io.StringIO()
    logs.configure("json", "warning", stream)
    log = structlog.get_logger()

    for write in (log.debug, log.info, log.warning, log.error, log.critical):
        write("happened")
    assert log.bind().info.__name__ == "_nop"

    assert [line["level"] for line in logged(stream)] == ["warning", "error", "critical"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_in_a_value_reaches_a_terminal_or_ends_the_line(form: Any) -> None:
    stream = io.StringIO()
    logs.configure(form, "info", stream)

    class Odd:
        def __repr__(self) -> str:
            return HOSTILE

    structlog.get_logger().info(HOSTILE, text=HOSTILE, odd=Odd(), nested=[{HOSTILE: HOSTILE}], **{HOSTILE: 1})
    logging.getLogger("uvicorn.error").warning("%s", HOSTILE)
    assert logs.shutdown(5.0)

    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_hostile_text_survives_json_unchanged() -> None:
    text = HOSTILE.replace("\udcff", "")
    stream = io.StringIO()
    logs.configure("json", "info", stream)

    structlog.get_logger().info("seen", text=text)

    assert logged(stream)[0]["text"] == text


def test_a_value_that_cannot_be_encoded_is_shown_some_other_way() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    cycle: list[object] = []
    cycle.append(cycle)
    stream = io.StringIO()
    logs.configure("json", "info", stream)

    structlog.get_logger().info("odd", broken=Broken(), other=1)
    structlog.get_logger().info("cyclic", cycle=cycle, day=datetime(2026, 1, 2, tzinfo=UTC), kind={1: b"x"})

    first, second = logged(stream)
    assert (first["event"], first["level"], first["other"]) == ("odd", "info", "1")
    assert "RuntimeError" in first["broken"]
    assert second["event"] == "cyclic"


def test_a_traceback_in_json_is_structured_and_has_no_locals() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)

    try:
        raise_with_locals()
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("asyncio").exception("Task exception was never retrieved")

    assert "hunter2" not in stream.getvalue()
    for line in logged(stream):
        assert line["level"] == "error"
        outer, cause = line["exception"]
        assert (outer["exc_type"], outer["exc_value"], cause["exc_type"]) == ("ValueError", "it broke", "KeyError")
        assert outer["frames"][-1]["name"] == "raise_with_locals"
        assert all("locals" not in frame for frame in outer["frames"])
    assert "hunter2" not in stream.getvalue()


def test_a_traceback_for_people_is_indented_and_has_no_locals() -> None:
    stream = io.StringIO()
    logs.configure("console", "info", stream)

    try:
        raise_with_locals("first\n12:00:00 [info] forged\x1b[2J")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    assert logs.shutdown(5.0)

    head, *trace = stream.getvalue().splitlines()
    assert "failed" in head
    assert any("raise_with_locals" in line for line in trace)
    assert all(line.startswith("  ") and line.isprintable() for line in trace)
    assert "hunter2" not in stream.getvalue()


def test_the_console_is_readable_and_colourless_off_a_terminal() -> None:
    stream = io.StringIO()
    logs.configure("console", "info", stream)

    structlog.get_logger().info("serving", listen="127.0.0.1:8080", ready=True)
    assert logs.shutdown(5.0)

    time, rest = stream.getvalue().rstrip("\n").split(" ", 1)
    assert datetime.strptime(time, "%H:%M:%S").replace(tzinfo=UTC)
    assert rest.split() == ["[info", "]", "serving", "listen=127.0.0.1:8080", "ready=True"]


def test_standard_library_loggers_come_through_once_from_warning_up() -> None:
    stream = io.StringIO()
    noise = io.StringIO()
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "nats"):
        logging.getLogger(name).addHandler(logging.StreamHandler(noise))
    logs.configure("json", "info", stream)

    for name in ("uvicorn.error", "nats.aio.client", "asyncio", "some.library"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("%s of %d", name, 3)
    talkative = logging.getLogger("some.library.talkative")
    talkative.setLevel(logging.DEBUG)
    talkative.info("chatter")
    assert not logging.getLogger("some.other").isEnabledFor(logging.INFO)
    logging.getLogger("uvicorn.access").error('GET "/webhooks/chatlevel/a-token"')
    logging.getLogger("nats").critical("gone")
    logging.getLogger("x").warning("%d", "not a number")

    lines = logged(stream)
    assert [(line["logger"], line["event"], line["level"]) for line in lines] == [
        ("uvicorn.error", "uvicorn.error of 3", "warning"),
        ("nats.aio.client", "nats.aio.client of 3", "warning"),
        ("asyncio", "asyncio of 3", "warning"),
        ("some.library", "some.library of 3", "warning"),
        ("nats", "gone", "critical"),
        ("x", "%d", "warning"),
    ]
    assert noise.getvalue() == ""
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_a_later_configure_takes_loggers_along_that_are_in_use() -> None:
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger()
    logs.configure("console", "info", first)
    log.info("one")
    logs.configure("json", "info", second)
    log.info("two")

    assert "one" in first.getvalue()
    assert "two" not in first.getvalue()
    assert [line["event"] for line in logged(second)] == ["two"]


class Pipe:
    """A pipe nobody reads until asked to."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream: TextIO = os.fdopen(writer, "w")

    def read_all(self) -> bytes:
        """Read to the end, from a thread's view: the writer is closed when all was written."""
        chunks = []
        while chunk := os.read(self.reader, 65_536):
            chunks.append(chunk)
        os.close(self.reader)
        return b"".join(chunks)


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


def drain(pipe: Pipe) -> list[dict[str, Any]]:
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_all()))
    reader.start()
    assert logs.shutdown(10.0)
    pipe.stream.close()
    reader.join(10)
    return [msgspec.json.decode(line) for line in found[0].splitlines()]


def reported(received: bytes) -> int:
    """How many dropped lines the whole lines among these bytes tell of."""
    lines = [msgspec.json.decode(line) for line in received[: received.rfind(b"\n") + 1].splitlines()]
    return sum(line["count"] for line in lines if line["event"] == "log_lines_dropped")


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_stalled_reader_stalls_nobody_and_learns_what_it_missed(pipe: Pipe, blocking: bool) -> None:
    os.set_blocking(pipe.stream.fileno(), blocking)
    logs.configure("json", "info", pipe.stream, max_queued_bytes=100_000)
    log = structlog.get_logger()
    loop = asyncio.get_running_loop()
    slowest_s = 0.0

    for number in range(20_000):
        before = loop.time()
        log.info("event", number=number)
        slowest_s = max(slowest_s, loop.time() - before)
        if number % 100 == 0:
            await asyncio.sleep(0)

    dropped = logs.dropped_lines()
    assert slowest_s < 1.0
    assert dropped > 10_000
    lines = await asyncio.to_thread(drain, pipe)
    numbers = [line["number"] for line in lines if line["event"] == "event"]
    reports = [line for line in lines if line["event"] == "log_lines_dropped"]
    assert numbers == sorted(numbers)
    assert len(numbers) + sum(line["count"] for line in reports) == 20_000
    assert sum(line["count"] for line in reports) == dropped
    assert all(line["level"] == "warning" and line["timestamp"] for line in reports)


def test_it_writes_on_once_the_reader_is_back(pipe: Pipe) -> None:
    """The report stands between what was kept before the gap and what came after it."""
    logs.configure("json", "info", pipe.stream, max_queued_bytes=50_000)
    log = structlog.get_logger()
    while logs.dropped_lines() < 100:
        log.info("during")
    received = b""
    while reported(received) < logs.dropped_lines():  # before all is told, the queue may still be full
        received += os.read(pipe.reader, 65_536)
    assert received.endswith(b"\n")
    log.info("after")

    lines = drain(pipe)

    assert [line["event"] for line in lines][-1] == "after"


def test_a_reader_that_is_gone_ends_nothing(pipe: Pipe) -> None:
    logs.configure("json", "info", pipe.stream)
    os.close(pipe.reader)
    log = structlog.get_logger()

    log.info("into the void")

    assert logs.shutdown(5.0)
    log.info("after the end")
    pipe.stream.close()


def test_shutdown_writes_what_is_queued_and_gives_up_at_its_timeout(pipe: Pipe) -> None:
    logs.configure("json", "info", pipe.stream)
    log = structlog.get_logger()
    for _ in range(5000):
        log.info("queued")

    assert not logs.shutdown(0.05)

    received = b""
    while received.count(b"\n") < 5000:
        received += os.read(pipe.reader, 65_536)
    assert logs.shutdown(0.05)
    pipe.stream.close()
    os.close(pipe.reader)


_PROGRAM = """
import sys, structlog
from bridge.telemetry import logs
logs.configure("json", "info", sys.stdout)
log = structlog.get_logger()
for number in range(int(sys.argv[1])):
    log.info("event", number=number)
"""


def run(lines: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _PROGRAM, str(lines)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_process_that_ends_without_shutdown_still_writes_its_lines() -> None:
    out, err = run(500).communicate(timeout=30)

    assert err == b""
    assert [msgspec.json.decode(line)["number"] for line in out.splitlines()] == list(range(500))


def test_a_process_ends_although_nobody_reads_its_lines() -> None:
    """A thread stuck in sys.stdout.buffer would be a fatal error of the interpreter here."""
    process = run(20_000)
    assert process.stdout is not None
    assert process.stderr is not None

    assert process.wait(timeout=30) == 0

    assert process.stderr.read() == b""
    process.stdout.close()
    process.stderr.close()


_FULL_DISK = """
import resource, sys, time, structlog
from bridge.telemetry import logs
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
logs.configure("json", "info", sys.stdout)
log = structlog.get_logger()
log.info("cut", text="x" * 2000)
deadline = time.monotonic() + 10
while not logs.dropped_lines() and time.monotonic() < deadline:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.info("after")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")
def test_a_write_that_fails_half_way_spoils_one_line_only(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as output:
        subprocess.run([sys.executable, "-c", _FULL_DISK], stdout=output, check=True, timeout=30)

    cut, *lines = file.read_bytes().splitlines()
    assert len(cut) == 1000
    assert [(line["event"], line.get("count")) for line in map(msgspec.json.decode, lines)] == [
        ("after", None),
        ("log_lines_dropped", 1),
    ]
