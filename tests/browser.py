"""A real browser for tests: a headless Chromium, driven through its DevTools protocol with nothing but aiohttp.

async def test_page(browser: Tab) -> None:
    await browser.open(url)
    await browser.type("#text", "hello\\n")
    await browser.wait_for("document.querySelector('.line').textContent === 'hello'")
    assert browser.errors == []
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine."""

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--remote-debugging-port=0"),
    *("--disable-backgrounding-occluded-windows", "--no-proxy-server", "--window-size=1280,900", "--lang=en"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",  # pages must live without the world
)


@dataclass
class Tab:
    """One page. `errors`: what its scripts threw, and what the console calls an error (a refused fetch too)."""

    http: aiohttp.ClientSession
    devtools: str
    socket: aiohttp.ClientWebSocketResponse
    errors: list[str] = field(default_factory=list)
    _calls: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def new(cls, http: aiohttp.ClientSession, devtools: str) -> Tab:
        """An empty page of the browser whose DevTools answer at that URL."""
        async with http.put(f"{devtools}/json/new?about:blank") as response:
            url = (await response.json(content_type=None))["webSocketDebuggerUrl"]
        tab = cls(http, devtools, await http.ws_connect(url, max_msg_size=0))
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        return tab

    async def another(self) -> Tab:
        """A second page of the same browser; both go on living."""
        return await self.new(self.http, self.devtools)

    async def open(self, url: str) -> None:
        """Go there, and wait until it is loaded. Fails when nobody answers."""
        came = await self.call("Page.navigate", url=url)
        assert "errorText" not in came, f"{url}: {came['errorText']}"
        await self.wait_for("document.readyState === 'complete'")

    async def evaluate(self, js: str) -> Any:
        """The value of an expression, or of the promise that it is. What it throws is an AssertionError."""
        done = await self.call("Runtime.evaluate", expression=js, returnByValue=True, awaitPromise=True)
        thrown = done.get("exceptionDetails")
        assert thrown is None, f"{js}: {thrown.get('exception', {}).get('description', thrown['text'])}"
        return done["result"].get("value")

    async def wait_for(self, js: str, timeout: float = PATIENCE) -> Any:
        """The expression's first value that is true (an element is); until then it may throw, as while a page loads."""
        said, end = None, time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                if said := await self.evaluate(f"Promise.resolve({js}).then(value => value instanceof Node || value)"):
                    return said
            except AssertionError as thrown:
                said = thrown
            await asyncio.sleep(0.05)
        shown = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {js} ({said})\nerrors of the page: {self.errors}\nit shows: {shown}")

    async def click(self, selector: str, held: Callable[[], Awaitable[object]] | None = None) -> None:
        """Click in the middle of the first match, as soon as it is there and enabled and nothing covers it. `held` is
        what happens before the button of the mouse is released."""
        where = await self.wait_for(f"""(() => {{
            const found = document.querySelector({json.dumps(selector)});
            found.scrollIntoView({{block: "nearest", behavior: "instant"}});
            const box = found.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
            return !found.disabled && found.contains(document.elementFromPoint(x, y)) && {{x, y}};
        }})()""")
        await self.call("Input.dispatchMouseEvent", type="mousePressed", button="left", clickCount=1, **where)
        if held is not None:
            await held()
        await self.call("Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, **where)

    async def type(self, selector: str, text: str) -> None:
        """Click it and type; a newline at the end is the Enter key."""
        await self.click(selector)
        await self.call("Input.insertText", text=text.removesuffix("\n"))
        if text.endswith("\n"):
            enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
            await self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **enter)

    async def screenshot(self, path: Path) -> None:
        """What is visible, as a PNG."""
        png = base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])
        await asyncio.to_thread(path.write_bytes, png)

    async def call(self, method: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol and its result."""
        async with self._turn, asyncio.timeout(PATIENCE):
            self._calls += 1
            await self.socket.send_json({"id": self._calls, "method": method, "params": parameters})
            while (said := await self.socket.receive_json()).get("id") != self._calls:
                details = said["params"].get("exceptionDetails") or said["params"].get("entry", {})
                if "exceptionId" in details or details.get("level") == "error":
                    self.errors.append(json.dumps(details))
        assert "error" not in said, f"{method}: {said['error']}"
        return said["result"]


@pytest.fixture
def devtools(tmp_path: Path) -> Iterator[str]:
    """Where a browser of this test's own is driven. Skipped where there is none: the only skip of this project."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium, chromium-browser or google-chrome here: pages were not looked at")
    ready, end = tmp_path / "browser" / "DevToolsActivePort", time.monotonic() + PATIENCE
    process = subprocess.Popen([program, *FLAGS, f"--user-data-dir={ready.parent}"], stderr=subprocess.DEVNULL)
    try:
        while not ready.exists() or "\n" not in ready.read_text():
            assert process.poll() is None and time.monotonic() < end, f"{program} does not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{ready.read_text().split()[0]}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
async def browser(devtools: str, loop: asyncio.AbstractEventLoop) -> AsyncIterator[Tab]:
    """An empty page."""
    async with aiohttp.ClientSession() as http:
        yield await Tab.new(http, devtools)
