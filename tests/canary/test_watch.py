"""What is looked for is found, however it is written, and whoever gives it away fails, without it being shown again."""

import json
import os
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import structlog

from bridge.secret import Secret
from bridge.telemetry import logs
from tests.canary import watch
from tests.canary.needles import leak, needles_of
from tests.canary.watch import WATCH, Watch, is_secret, judged
from tests.server.conftest import Serve, serve

__all__ = ["serve"]

SECRET = 'p/w:"~%\\ > ö and-more'.replace(" ", "")


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        lambda text: quote(text, safe=""),
        lambda text: text.encode().hex(),
        lambda text: text.encode().hex().upper(),
        *(lambda text, n=n: b64encode(b"user:"[:n] + text.encode() + b"!").decode() for n in range(4)),
        *(lambda text, n=n: urlsafe_b64encode(b"user:"[:n] + text.encode()).decode() for n in range(4)),
    ],
)
def test_a_secret_is_found_however_it_is_written_and_not_shown(write: Callable[[str], str]) -> None:
    needles = needles_of(SECRET, "it")
    found = leak("the log", f'{{"path": "/webhooks/{write(SECRET)}/x"}}', needles)
    assert found is not None
    assert found.startswith("the log has it, ")
    assert SECRET not in found
    assert write(SECRET) not in found
    assert leak("the log", f"/webhooks/{write(SECRET[::-1])}", needles) is None


def test_a_long_secret_is_found_by_either_end_and_several_in_one_each() -> None:
    long, other = "abcdefghijklmnopqrstuvwxyz0123456789", "9876543210zyxwvutsrqponmlkjihgfedcba"
    needles = needles_of(f"{long},\n{other}", "it")
    assert all(leak("", text, needles) for text in (long[:30], long[-30:], other[:30], other[-30:]))
    assert not needles_of("short, xxxxxxxxxxxxxxxxxxxxxxxxx", "it"), "these are anywhere"


def test_the_settings_say_what_is_secret() -> None:
    for name in ("BRIDGE_SOURCE_SHOP_1_TOKEN", "BRIDGE_SOURCE_A_SECRET", "BRIDGE_KAFKA_TOKEN", "BRIDGE_NATS_CREDS"):
        assert is_secret(name)
    for name in ("BRIDGE_SOURCE_SHOP_VERIFY", "BRIDGE_NATS_USER", "BRIDGE_BROKER", "BRIDGE_SOURCE_A_SECRET_FILE"):
        assert not is_secret(name)


async def test_what_a_bridge_in_this_process_logs_or_answers_fails_the_test(serve: Serve) -> None:
    logs.configure("console", "error", sys.stderr)  # as a command does that a test before this one ran here
    logs.shutdown(1)
    watch._log_here()
    Secret("canary-logged-by-a-bridge")
    structlog.get_logger().info("oops", path="/webhooks/canary-logged-by-a-bridge")
    assert len(WATCH.found) == 1
    served = await serve()
    Secret("application/json")  # as if it were one
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{served.port}/webhooks/nowhere")
    report = pytest.TestReport(
        "a test", ("", 0, ""), {}, "passed", None, "teardown", [("out", "canary-logged-by-a-bridge")]
    )
    assert judged(report).failed
    assert "the log has a secret" in str(report.longrepr)
    assert "an answer has a secret" in str(report.longrepr)
    assert "out has a secret" in str(report.longrepr)
    assert "canary-logged" not in str(report.longrepr)
    assert WATCH.found == [], "the next test begins anew"


def test_a_file_that_its_running_owner_takes_away_is_passed_over_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Watch()
    looking.given("canary-in-a-file", "it")
    for name in ("a.tmp", "b", "c.tmp"):
        (tmp_path / name).write_text("canary-in-a-file")
    stat = Path.stat

    def taken_away_after(path: Path, **options: bool) -> os.stat_result:
        seen = stat(path, **options)
        if path.suffix == ".tmp":
            path.unlink()
        return seen

    monkeypatch.setattr(Path, "stat", taken_away_after)
    looking.look_at_files(tmp_path)
    assert [found.partition(" has")[0] for found in looking.found] == ["the file b"]
