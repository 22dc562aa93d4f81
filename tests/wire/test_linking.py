"""A person links a phone: the page in a browser and the command in a terminal, with the real library and a WhatsApp on
loopback."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.service.pairing_page import PICTURE, links_a_phone
from tests.wire.town import until

if TYPE_CHECKING:
    import pytest

    from tests.browser import Tab
    from tests.wire.town import Town

NUMBER = "628111111111"


async def test_the_page(town: Town, browser: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing but a link: a code, the next one when its time is over, a scan on the sandbox's page, connected."""
    # The library shows the first of six codes for a minute, and each of fewer for twenty seconds.
    monkeypatch.setattr("sandbox.server.pairing.QR_CODES", 4)
    await town.add("shop")
    await town.serve()
    _, link = await town.ask("shop", "POST", "/api/pair-link")

    async def changes() -> None:
        first = await browser.evaluate(PICTURE)
        await browser.wait_for(f"{PICTURE} !== {first!r}")

    async def scans() -> None:
        phone = await browser.another()
        await phone.open(f"{town.control}/#{NUMBER}")
        await phone.click("#link")
        await phone.type("#link-url", f"{link['url']}\n")
        await phone.wait_for("document.querySelector('#devices .dot.on')")

    town.sandbox.phone(NUMBER, "Shop")
    await links_a_phone(browser, link["url"], changes, scans, NUMBER)
    assert (await town.state("shop"))["phone"] == NUMBER


async def test_a_code_to_type(town: Town) -> None:
    """A phone without a camera: its number in, eight characters out, which it types."""
    await town.add("shop")
    await town.serve()
    status, answer = await town.pair_code("shop", "0811-1111-111")
    assert status == 200, answer
    await town.sandbox.enter_code(answer["code"], NUMBER, "shop")
    await town.until_state("shop", "connected")


async def test_from_a_terminal(town: Town) -> None:
    """`tenant pair` beside a running gateway tells its events, and ends with status 0 when the phone is connected; no
    secret of it is in the gateway's log."""
    await town.add("shop")
    gateway = await town.serve()
    port = urlsplit(gateway.url).port
    town.installation.write("service.yaml", f"server: {{ port: {port} }}\n")
    command = asyncio.create_task(asyncio.to_thread(town.installation.run, "tenant", "pair", "shop", "--json"))
    [[qr]] = await until(lambda: town.query("SELECT pairing->>'qr' FROM sessions WHERE pairing->'qr' <> 'null'"), bool)
    await town.sandbox.scan(qr, NUMBER, "shop")
    done = await command
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert {event["event"] for event in events} >= {"link", "qr", "connected"}
    assert (events[-1]["event"], events[-1]["phone"]) == ("connected", NUMBER)
    [token] = [event["url"].partition("token=")[2] for event in events if event["event"] == "link"]
    parts = [part for part in qr.split(",") if len(part) > 20]
    assert parts
    for secret in (token, *parts):
        assert secret not in gateway.stderr + done.stderr
