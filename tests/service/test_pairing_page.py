"""The pairing page in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.sessions import remote
from tests.service.conftest import ALPHA
from tests.service.fake_sessions import PHONE, fake_sessions
from tests.service.pairing_page import VIEW, links_a_phone, sees_a_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.browser import Tab
    from tests.service.conftest import House
    from tests.service.fake_sessions import FakeSessions

SAYS = "document.querySelector('#says').textContent"


@pytest.fixture
async def house(open_house: Callable[..., Awaitable[House]]) -> House:
    """A gateway whose tenant alpha sends through WhatsApp."""
    return await open_house(alpha={"transport": "whatsapp"})


@pytest.fixture
async def phones(house: House) -> AsyncIterator[FakeSessions]:
    """Its session process."""
    async with fake_sessions(house.database_url) as fake:
        yield fake


async def link_of(house: House) -> str:
    return str((await house.call("POST", "/api/pair-link")).body["url"])


async def test_a_person_links_a_phone(house: House, phones: FakeSessions, browser: Tab) -> None:
    """With nothing but the link: a code that a phone could scan, with a countdown; the next code; connected."""
    await links_a_phone(
        browser, await link_of(house), lambda: phones.pairs(ALPHA), lambda: phones.connects(ALPHA), PHONE
    )


async def test_codes_run_out(house: House, phones: FakeSessions, browser: Tab) -> None:
    """The page says so and offers a new start; it says how long that has to wait, and begins nothing by itself."""
    await browser.open(await link_of(house))
    await sees_a_code(browser)
    await phones.ends(ALPHA, "nobody scanned the code in time")
    await browser.wait_for(f"{VIEW} === 'again' && {SAYS}.includes('nobody scanned')")
    house.rows("UPDATE sessions SET asked_at = now()")  # however long all that took
    await browser.click("#again")
    await browser.wait_for(f"{SAYS}.includes('once a minute')")
    await browser.wait_for("/again in \\d+ s/.test(document.querySelector('#again').textContent)")
    assert await browser.evaluate("document.querySelector('#again').disabled")
    assert [command.kind for command in phones.asked] == ["pair"]
    house.rows("UPDATE sessions SET asked_at = asked_at - interval '1 minute'")
    await browser.open(await link_of(house))
    await sees_a_code(browser)


async def test_a_code_instead_of_a_camera(house: House, phones: FakeSessions, browser: Tab) -> None:
    """A person without a camera types the phone's number and reads the code to type there; a number that is none is
    explained."""
    await browser.open(await link_of(house))
    await sees_a_code(browser)
    await browser.click("summary")
    await browser.type("#number", "12\n")
    await browser.wait_for("document.querySelector('#number-says').textContent.includes('too short')")
    await browser.evaluate("document.querySelector('#number').value = ''")
    await browser.type("#number", "0812 0000 0001\n")
    await browser.wait_for("document.querySelector('#code').innerText === 'ABCD-EFGH'")
    assert [command.arguments for command in phones.asked][1:] == [{"number": PHONE}]


async def test_a_linked_phone_that_connects_elsewhere(house: House, phones: FakeSessions, browser: Tab) -> None:
    """Between pairing and its first connection a session is disconnected for a moment; nobody is alarmed by that."""
    await browser.open(await link_of(house))
    await sees_a_code(browser)
    await phones.connects(ALPHA)
    await phones.becomes(ALPHA, "disconnected", "its process starts")
    await browser.open(await link_of(house))
    await browser.wait_for(f"{VIEW} === 'waiting' && {SAYS}.includes('The phone is linked')")
    await phones.becomes(ALPHA, "connected")
    await browser.wait_for(f"{VIEW} === 'done'")
    assert browser.errors == []


async def test_a_link_that_is_over(house: House, phones: FakeSessions, browser: Tab) -> None:
    """Whoever opens it reads what to do; whoever had it open reads it as well, and the page asks no more."""
    await browser.open(await link_of(house))
    await sees_a_code(browser)
    house.rows("UPDATE pair_links SET expires_at = now()")
    await browser.wait_for(f"{VIEW} === 'over' && {SAYS}.includes('ask for a new one')")
    await browser.open(f"{house.url}/api/qr/page?token=pl_{'x' * 43}")
    await browser.wait_for("document.querySelector('#detail').textContent.includes('ask for a new one')")


async def test_nobody_answers(house: House, browser: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a session process the page says so and offers a new start."""
    monkeypatch.setattr(remote, "ANSWER_WITHIN", 0.3)
    await browser.open(await link_of(house))
    await browser.wait_for(f"{VIEW} === 'again' && {SAYS}.includes('nobody carried out')")


async def test_it_fits_a_phone(house: House, phones: FakeSessions, browser: Tab) -> None:
    """On a small screen nothing is cut off to the right, and the code is whole."""
    await browser.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    await browser.open(await link_of(house))
    await sees_a_code(browser)
    assert await browser.evaluate("document.documentElement.scrollWidth") <= 360
    box = await browser.evaluate("(({x, right}) => [x, right])(document.querySelector('#qr').getBoundingClientRect())")
    assert box[0] >= 0
    assert box[1] <= 360
