"""What a person sees on the pairing page, whoever plays WhatsApp: a test's own session process, or the real library and
the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.browser import Tab

PICTURE = "document.querySelector('#qr').getAttribute('src')"
VIEW = "document.querySelector('main').dataset.view"


async def sees_a_code(page: Tab) -> str:
    """The QR code's picture as soon as it is really shown, big enough to be scanned."""
    await page.wait_for(f"{VIEW} === 'scan' && document.querySelector('#qr').naturalWidth > 200")
    await page.wait_for("document.querySelector('#qr').getBoundingClientRect().width >= 200")
    await page.wait_for("/^new code in \\d+ s$/.test(document.querySelector('#left').textContent)")
    return str(await page.evaluate(PICTURE))


async def links_a_phone(
    page: Tab, url: str, change: Callable[[], Awaitable[object]], scan: Callable[[], Awaitable[object]], phone: str
) -> None:
    """Open the page, see a code, see it change, scan it, and read that the phone is connected, without an error.

    `change` brings about another code, or waits for one; `scan` has the phone take the one that is shown.
    """
    await page.open(url)
    first = await sees_a_code(page)
    await change()
    await page.wait_for(f"{PICTURE} !== {first!r}")
    await sees_a_code(page)
    await scan()
    await page.wait_for(f"{VIEW} === 'done'")
    shown = await page.evaluate("document.querySelector('main').innerText")
    assert "connected" in shown
    assert f"+{phone}" in shown
    assert page.errors == []
