"""The sandbox's page in a real browser: a person with two phones, a code to scan, and a sandbox that goes away."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox
from sandbox.control import serve_control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.browser import Tab

BUDI, TOKO = "628222222222", "628111111111"
LAST = "[...document.querySelectorAll('.bubble p')].at(-1)?.textContent"


class Shown(Sandbox):
    """One QR code and one pairing code are shown somewhere; who scans them has device 1, connected, until it is
    unlinked."""

    linked: frozenset[str] = frozenset()

    def devices(self, number: str) -> list[int]:
        return [1] if number in self.linked else super().devices(number)

    def is_online(self, number: str, device: int) -> bool:
        return True

    def waiting(self, number: str, device: int) -> int:
        return 0

    async def scan(self, qr: str, number: str, name: str = "") -> int:
        if qr != "2@shown":
            return await super().scan(qr, number, name)
        self.linked = frozenset({number})
        return 1

    async def enter_code(self, code: str, number: str, name: str = "") -> int:
        if code != "ABCD1234":
            return await super().enter_code(code, number, name)
        self.linked = frozenset({number})
        return 1

    async def unlink(self, number: str, device: int) -> None:
        self.linked = frozenset()


@pytest.fixture
async def sandbox(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Sandbox]:
    """A sandbox with the shop's phone, in which nothing goes wrong during a test."""
    async with Shown() as sandbox:
        sandbox.phone(TOKO, "Toko Maju")
        yield sandbox
        assert (sandbox.unhandled, sandbox.errors) == ([], [])


@pytest.fixture
async def page(browser: Tab, sandbox: Sandbox) -> AsyncIterator[Tab]:
    """The page of that sandbox, whose scripts throw nothing."""
    async with serve_control(sandbox, 0) as url:
        await browser.open(url)
        yield browser
        assert not [error for error in browser.errors if "exceptionId" in error]


async def open_budi(page: Tab) -> None:
    """Make Budi's phone as a person does."""
    await page.click("#new-phone")
    await page.type("#new-number", "+62 822-2222-222")
    await page.type("#new-name", "Budi Santoso\n")
    await page.wait_for("document.querySelector('#owner').textContent === 'Budi Santoso'")


async def looks_round(page: Tab) -> None:
    """Until the page has asked for all phones, and has drawn what it was answered."""
    asked = "performance.getEntriesByName(`${location.origin}/phones`).length"
    before = await page.evaluate(asked)
    await page.wait_for(f"{asked} > {before + 1}")


async def test_two_people_talk(page: Tab, sandbox: Sandbox, tmp_path: Path) -> None:
    """A text is typed; its ticks turn; "typing…" shows; the answer quotes, mentions and is read by being seen."""
    toko = sandbox.phone(TOKO)
    await open_budi(page)
    await page.type("#start-number", f"+{TOKO}\n")
    await page.type("#text", "Masih buka?")
    await page.type("#text", " 🌏\n")
    asked = await toko.next(60)
    assert (asked.sender, asked.text) == (BUDI, "Masih buka? 🌏")
    async with asyncio.timeout(60):  # that she types is said on another connection than what she has typed
        while "composing" not in [seen.state for seen in toko.typing_seen]:
            await asyncio.sleep(0.01)
    await page.wait_for("document.querySelector('.bubble.mine .ticks.delivered')")
    await toko.read(asked.id)
    await page.wait_for("document.querySelector('.bubble.mine .ticks.read')")
    await toko.typing(BUDI)
    await page.wait_for("document.querySelector('#peer-state').textContent === 'typing…'")
    answer = await toko.send(BUDI, f"Sampai jam 8, @{BUDI} <b>!", reply_to=asked.id, mentions=[BUDI])
    await page.wait_for(f"{LAST} === 'Sampai jam 8, @Budi Santoso <b>!'")
    await page.wait_for("document.querySelector('.quote').textContent === 'Masih buka? 🌏'")
    await toko.receipt(answer, "read", 60)
    await page.click(f".reply[data-id='{answer}']")
    await page.type("#text", "Oke\n")
    assert (await toko.next(60)).reply_to == answer
    await page.screenshot(tmp_path / "chat.png")


async def test_a_chat_that_nobody_looks_at(page: Tab, sandbox: Sandbox) -> None:
    """It is counted as unread until it is opened; going back shows the chats again."""
    await open_budi(page)
    message = await sandbox.phone(TOKO).send(BUDI, "Promo!")
    await page.wait_for("document.querySelector('.chat .unread').textContent === '1'")
    assert [receipt.type for receipt in sandbox.phone(TOKO).receipts] == ["delivered"]
    await page.click(".chat")
    await sandbox.phone(TOKO).receipt(message, "read", 60)
    await page.click("#back")
    await page.wait_for("document.querySelector('.chat') && !document.querySelector('.unread')")


@pytest.mark.parametrize("shown", ["2@shown", "abcd-1234"])
async def test_a_device_is_linked_and_unlinked(page: Tab, shown: str) -> None:
    """A code that nobody shows is told inside the box, which stays open; the right one, of either kind, links."""
    await open_budi(page)
    await page.click("#link")
    await page.type("#link-text", "2@nothing")
    await page.click("#link-box .primary")
    await page.wait_for("document.querySelector('#link-box[open] .wrong').textContent.includes('QR')")
    await page.evaluate("document.querySelector('#link-text').value = ''")
    await page.type("#link-text", shown)
    await page.click("#link-box .primary")
    await page.wait_for("document.querySelector('#devices .dot.on') && !document.querySelector('#link-box').open")
    await page.click("#devices .unlink")
    await page.wait_for("document.querySelector('#devices .none')")


async def test_a_click_takes_its_time(page: Tab) -> None:
    """Also when the page looks round and finds nothing new between the press of a button and its release."""
    await open_budi(page)
    await page.click("#link")
    await page.type("#link-text", "2@shown")
    await page.click("#link-box .primary")
    await page.wait_for("document.querySelector('#devices .dot.on') && !document.querySelector('#link-box').open")
    await page.click("#devices .unlink", held=lambda: looks_round(page))
    await page.wait_for("document.querySelector('#devices .none')")


async def test_what_a_tenant_shows_is_scanned(page: Tab) -> None:
    """The address goes to the sandbox, which says why it does not look there."""
    await open_budi(page)
    await page.click("#link")
    await page.type("#link-url", "http://example.com/api/qr\n")
    await page.wait_for("document.querySelector('#link-box .wrong').textContent.includes('127.0.0.1')")


async def test_what_is_refused_is_told(page: Tab) -> None:
    """A text to nobody comes back into the box, with the reason."""
    await open_budi(page)
    await page.type("#start-number", "628999999999\n")
    await page.type("#text", "Halo?\n")
    await page.wait_for("document.querySelector('#toast').textContent.includes('628999999999')")
    await page.wait_for("document.querySelector('#text').value === 'Halo?'")


async def test_a_phone_goes_offline(page: Tab, sandbox: Sandbox) -> None:
    """The two switches are those of the phone."""
    await open_budi(page)
    budi = sandbox.phone(BUDI)
    await page.click("#online")
    await page.click("#auto-read")
    async with asyncio.timeout(60):
        while budi.online or not budi.auto_read:
            await asyncio.sleep(0.01)


async def test_it_lives_through_a_reload_and_a_restart(browser: Tab, sandbox: Sandbox) -> None:
    """The address keeps phone and chat; while the sandbox is away the page says so, and goes on when it is back."""
    sandbox.phone(BUDI, "Budi")
    with socket.socket() as held:
        # Bound and never listening: while the sandbox is away nobody else on this machine gets its port.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        async with serve_control(sandbox, port) as url:
            await browser.open(f"{url}/#{BUDI}/{TOKO}")
            await browser.wait_for("document.querySelector('#peer').textContent === 'Toko Maju'")
        await browser.wait_for("!document.querySelector('#away').hidden")
        async with serve_control(sandbox, port):
            await browser.wait_for("document.querySelector('#away').hidden")
            await sandbox.phone(TOKO).send(BUDI, "Sudah kembali?")
            await browser.wait_for(f"{LAST} === 'Sudah kembali?'")
