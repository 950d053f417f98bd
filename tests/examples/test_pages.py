"""The examples' pages in a real browser: what a person sees. Needs Chromium and Node, so `make system` runs it."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import Example
from tests.examples.pairing import PNG, Monitor, auth
from tests.examples.real_time import RealTime, real_time
from tests.processes import BridgeProcess

__all__ = ["real_time"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture
async def page() -> AsyncIterator[Any]:
    """A page of Chromium, which must load nothing from elsewhere and report no error."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 -- installed for `make system` alone

    chromium = shutil.which("chromium") or pytest.fail("chromium is missing: run `make system`, which installs it")
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = await browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
        yield page
        await browser.close()
    assert errors == []


async def test_a_code_is_shown_and_taken_away_even_if_the_server_is_gone(
    page: Any, running: BridgeProcess, example: Callable[..., Example], tmp_path: Path
) -> None:
    monitor = Monitor(running, example, tmp_path)
    token = monitor.add_viewer("ana", "480213", "480214")
    program = monitor.start()
    await page.goto(monitor.url)
    await page.get_by_label("Device").fill("480213")
    await page.get_by_label("Your token").fill(token)
    await page.get_by_role("button").click()
    await page.get_by_text("No code now").wait_for()
    monitor.post(auth(480213, pairingCode="ABCD-1234"))
    await page.get_by_text("ABCD-1234").wait_for()
    monitor.post(auth(480213, event="connection.open"))
    await page.get_by_text("ABCD-1234").wait_for(state="detached")
    await page.get_by_label("Device").fill("480214")
    monitor.post(auth(480214, age_s=48, qrCode=PNG))  # expires in 12 s
    image = page.get_by_role("img")
    await image.wait_for()
    assert await image.evaluate("image => [image.complete, image.naturalWidth]") == [True, 1]
    program.end(9)
    await page.get_by_text("expired").wait_for(timeout=20_000)
    assert not await image.is_visible()
    assert PNG not in await page.content()
    assert page.url == monitor.url + "/"
    assert await page.evaluate("localStorage.length + sessionStorage.length") == 0


async def test_who_may_not_see_it_is_told_so_and_sees_nothing(
    page: Any, running: BridgeProcess, example: Callable[..., Example], tmp_path: Path
) -> None:
    monitor = Monitor(running, example, tmp_path)
    token = monitor.add_viewer("bo", "7")
    monitor.post(auth(480213, qrCode=PNG))
    monitor.start()
    await page.goto(monitor.url)
    for device, given, told in (("480213", token, "not yours"), ("480213", token[:-1], "not known")):
        await page.get_by_label("Device").fill(device)
        await page.get_by_label("Your token").fill(given)
        await page.get_by_role("button").click()
        await page.get_by_text(told).wait_for()
        assert PNG not in await page.content()


async def test_a_page_shows_events_as_they_come_and_goes_on_after_the_server_was_away(
    page: Any, real_time: RealTime
) -> None:
    program = real_time.start()
    await page.goto(real_time.url)
    await page.get_by_text("live").wait_for()
    real_time.send()
    await page.get_by_text("messaging.message.received.v1 · Ana Lúcia · Bom dia!").wait_for()
    real_time.send("connection.auth")
    program.end()
    real_time.send("call")
    real_time.start()
    await page.get_by_text("messaging.call.v1").wait_for()
    assert await page.get_by_role("listitem").count() == 2
    real_time.post_text("<img src=x onerror=alert(1)>")
    await page.get_by_text("<img src=x onerror=alert(1)>").wait_for()
