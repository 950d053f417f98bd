"""The examples' pages in a real browser: what a person sees. Needs Chromium and Node, so `make system` runs it."""

import asyncio
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

# What the page says stands there for a moment only where it asks a server that is gone, each second.
KEEP_WHAT_IS_SAID = """() => {
  const status = document.getElementById("status");
  window.said = [];
  new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
}"""


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


async def asks(page: Any, device: str, token: str) -> None:
    await page.get_by_label("Device").fill(device)
    await page.get_by_label("Your token").fill(token)
    await page.get_by_role("button").click()


async def test_a_code_is_shown_and_taken_away_even_if_the_server_is_gone(
    page: Any, running: BridgeProcess, example: Callable[..., Example], tmp_path: Path
) -> None:
    monitor = Monitor(running, example, tmp_path)
    token = monitor.add_viewer("ana", "480213", "480214")
    program = monitor.start()
    await page.goto(monitor.url)
    await asks(page, "480213", token)
    await page.get_by_text("No code now").wait_for()
    monitor.post(auth(480213, pairingCode="ABCD-1234"))
    await page.get_by_text("ABCD-1234").wait_for()
    monitor.post(auth(480213, event="connection.open"))
    await page.get_by_text("the device has gone on").wait_for()
    assert "ABCD-1234" not in await page.content()
    await page.get_by_label("Device").fill("480214")
    await page.get_by_role("button").click()
    monitor.post(auth(480214, age_s=48, qrCode=PNG))  # expires in 12 s
    image = page.get_by_role("img")
    await image.wait_for()
    await image.evaluate("image => image.decode()")  # it has its place before it is loaded
    assert await image.evaluate("image => [image.complete, image.naturalWidth]") == [True, 1]
    assert "480214, for" in await page.locator("figcaption").inner_text()
    assert await image.evaluate("image => getComputedStyle(image).backgroundColor") == "rgb(255, 255, 255)"
    await page.evaluate(KEEP_WHAT_IS_SAID)
    program.end(9)
    await image.wait_for(state="hidden", timeout=20_000)
    assert any("expired" in said for said in await page.evaluate("said"))
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
        await asks(page, device, given)
        await page.get_by_text(told).wait_for()
        assert PNG not in await page.content()


async def test_an_answer_that_comes_late_is_not_shown_for_another_device(
    page: Any, running: BridgeProcess, example: Callable[..., Example], tmp_path: Path
) -> None:
    monitor = Monitor(running, example, tmp_path)
    token = monitor.add_viewer("ana", "1", "2")
    monitor.start()
    monitor.post(auth(1, pairingCode="ABCD-1234"))
    asked, other = asyncio.Event(), asyncio.Event()

    async def late(route: Any) -> None:
        answer = await route.fetch()
        asked.set()
        await other.wait()
        await route.fulfill(response=answer)

    await page.set_viewport_size({"width": 320, "height": 640})
    await page.route("**/codes/1", late)
    await page.goto(monitor.url)
    await asks(page, "1", token)
    await asked.wait()
    await asks(page, "2", token)
    await page.get_by_text("No code now").wait_for()
    async with page.expect_response("**/codes/1"):
        other.set()
    async with page.expect_response("**/codes/2"):
        assert not await page.get_by_text("ABCD-1234").count()
    monitor.post(auth(2, pairingCode="EFGH-5678"))
    await page.get_by_text("Then choose the phone number").wait_for()
    await page.get_by_text("EFGH-5678").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth") == 320, "a narrow phone shows all of it"


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


async def test_a_proxys_error_does_not_end_the_page_and_no_event_is_missed(page: Any, real_time: RealTime) -> None:
    program = real_time.start()
    await page.goto(real_time.url)
    await page.get_by_text("live").wait_for()
    real_time.send()
    await page.get_by_text("Bom dia!").wait_for()
    failed = asyncio.Event()

    async def once_bad(route: Any) -> None:
        if failed.is_set():
            await route.continue_()
        else:
            failed.set()
            await route.fulfill(status=502)

    await page.route("**/events*", once_bad)
    program.end()
    real_time.start()
    real_time.send("call")
    await page.get_by_text("messaging.call.v1").wait_for()
    assert failed.is_set()
    assert await page.get_by_role("listitem").count() == 2
