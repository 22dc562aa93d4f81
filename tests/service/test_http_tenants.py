"""No tenant sees or changes what is another's, on any route there is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.web import make_app, qr
from tests.plugin_kit import incoming
from tests.service.conftest import ALPHA, BETA, NUMBER, SLOW
from tests.service.fake_sessions import fake_sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.conftest import Answer, House

GAMMA = "gamma"
NOBODYS = "/api/messages/01970000-0000-7000-8000-000000000000"
DOCS = Path(__file__).parents[2] / "docs" / "api.md"


async def queued(house: House, key: str) -> Answer:
    """A message of that tenant that stays queued: one has gone before it."""
    await house.send(text="first", key=key)
    return await house.send(text=f"of {key}", key=key)


async def send_message(house: House) -> None:
    """The same idempotency key is another one for another tenant, and so is the same recipient's quota."""
    headers = {"Idempotency-Key": "same"}
    mine, theirs = await house.send(headers=headers), await house.send(key=BETA, headers=headers)
    assert mine.body["id"] != theirs.body["id"]
    assert theirs.body["quota"]["used"] == 1
    assert "Idempotency-Replayed" not in theirs.headers
    rows = house.rows("SELECT tenant_id, count FROM daily_limits ORDER BY 1")
    assert rows == [(ALPHA, 1), (BETA, 1)]


async def get_message(house: House) -> None:
    """Another tenant's message is answered as one that does not exist, byte for byte."""
    theirs = await queued(house, BETA)
    answer, nobodys = await house.call("GET", theirs.headers["Location"]), await house.call("GET", NOBODYS)
    assert answer.status == nobodys.status == 404
    assert answer.raw == nobodys.raw
    assert (await house.call("GET", theirs.headers["Location"], key=BETA)).status == 200


async def delete_message(house: House) -> None:
    """Another tenant's message cannot be cancelled, and the answer does not betray that it exists."""
    theirs = await queued(house, BETA)
    answer, nobodys = await house.call("DELETE", theirs.headers["Location"]), await house.call("DELETE", NOBODYS)
    assert answer.status == nobodys.status == 404
    assert answer.raw == nobodys.raw
    assert (await house.call("GET", theirs.headers["Location"], key=BETA)).body["status"] == "queued"


async def get_events(house: House) -> None:
    """Another tenant's events are not told, are not counted and wake nobody."""
    waiting = asyncio.create_task(house.call("GET", "/api/events?wait=1"))
    theirs = await queued(house, BETA)
    assert (await waiting).body == {"events": [], "next": 0}
    told = await house.call("GET", "/api/events", key=BETA)
    assert theirs.body["id"] in {event["data"]["id"] for event in told.body["events"]}
    assert (await house.call("GET", "/api/events?after=1")).status == 410


async def callbacks(house: House) -> None:
    """Another tenant's deliveries are not listed, and cannot be sent again; that they exist is not told."""
    await queued(house, BETA)
    async with asyncio.timeout(60):
        while not (await house.call("GET", "/api/callbacks", key=BETA)).body["deliveries"]:
            await asyncio.sleep(0.01)
    [theirs, *_] = (await house.call("GET", "/api/callbacks", key=BETA)).body["deliveries"]
    mine = await house.call("GET", "/api/callbacks")
    assert mine.body == {"endpoints": [], "deliveries": [], "next": None}
    page = await house.call("GET", f"/api/callbacks?after={theirs['id']}")
    assert page.body == mine.body
    answer = await house.call("POST", f"/api/callbacks/{theirs['id']}/redeliver")
    nobodys = await house.call("POST", "/api/callbacks/01970000-0000-4000-8000-000000000000/redeliver")
    assert (answer.status, answer.body["code"], answer.raw) == (404, "delivery_not_found", nobodys.raw)


async def get_status(house: House) -> None:
    """Everybody is told of the own session; no parameter names another's."""
    mine = await house.call("GET", "/api/status?tenant=beta&instanceName=beta")
    theirs = await house.call("GET", "/api/status", key=BETA)
    assert (mine.body["tenant"], mine.body["transport"], mine.body["state"]) == (ALPHA, "dry_run", "connected")
    assert (theirs.body["tenant"], theirs.body["transport"], theirs.body["connected"]) == (BETA, "whatsapp", False)


async def pairing(house: House) -> None:
    """What one tenant is shown to link a phone is its own: each has another code, and another tenant's link, beside
    one's own key, shows that tenant and nothing of one's own."""
    async with fake_sessions(house.database_url) as phones:
        mine, theirs = await house.call("GET", "/api/qr", key=GAMMA), await house.call("GET", "/api/qr", key=BETA)
        assert (mine.body["tenant"], mine.body["qr"]) == (GAMMA, phones.shown[GAMMA].qr)
        assert (theirs.body["tenant"], theirs.body["qr"]) == (BETA, phones.shown[BETA].qr)
        pictures = [await house.call("GET", "/api/qr/image", key=key) for key in (GAMMA, BETA)]
        assert [p.raw for p in pictures] == [qr.png(phones.shown[key].qr or "") for key in (GAMMA, BETA)]
        link = (await house.call("POST", "/api/pair-link", key=BETA)).body["url"].removeprefix(house.url)
        assert (await house.call("GET", link, key=GAMMA)).status == 200
        shown = await house.call("GET", link.replace("/page", ""), key=GAMMA)
        assert shown.body == theirs.body


async def pair_code(house: House) -> None:
    """A code that one tenant asks for is not shown to another."""
    async with fake_sessions(house.database_url) as phones:
        await house.call("GET", "/api/qr", key=BETA)
        assert (await house.call("POST", "/api/pair-code", key=GAMMA, json={"number": NUMBER})).body["code"]
        assert (await house.call("GET", "/api/qr", key=BETA)).body["code"] is None
        assert [command.tenant for command in phones.asked] == [BETA, GAMMA]


async def ends(house: House) -> None:
    """Logging out and reconnecting reach the own session and no other."""
    async with fake_sessions(house.database_url) as phones:
        for tenant, phone in ((BETA, "6281200000001"), (GAMMA, "6281200000002")):
            await phones.connects(tenant, phone)
        async with asyncio.timeout(60):
            while (await house.call("GET", "/api/status", key=GAMMA)).body["state"] != "connected":
                await asyncio.sleep(0.01)
        assert (await house.call("POST", "/api/reconnect", key=GAMMA)).status == 200
        assert (await house.call("POST", "/api/logout", key=GAMMA)).body["phone"] is None
        theirs = (await house.call("GET", "/api/status", key=BETA)).body
        assert (theirs["state"], theirs["phone"]) == ("connected", "6281200000001")
        assert {command.tenant for command in phones.asked} == {GAMMA}


async def get_whitelist(house: House) -> None:
    """Another tenant's entries are not listed."""
    await house.call("POST", "/api/whitelist", json={"number": NUMBER}, key=BETA)
    assert (await house.call("GET", "/api/whitelist")).body == {"whitelist": [], "total": 0}


async def post_whitelist(house: House) -> None:
    """A number added is on one's own list, and exempts from nobody else's limit."""
    assert (await house.call("POST", "/api/whitelist", json={"number": NUMBER})).status == 201
    assert (await house.call("GET", "/api/whitelist", key=BETA)).body["total"] == 0
    assert (await house.send(key=BETA)).body["quota"]["used"] == 1
    assert (await house.call("POST", "/api/whitelist", json={"number": NUMBER}, key=BETA)).status == 201


async def delete_whitelist(house: House) -> None:
    """A number on another tenant's list only is not there, and stays there."""
    await house.call("POST", "/api/whitelist", json={"number": NUMBER}, key=BETA)
    assert (await house.call("DELETE", "/api/whitelist", json={"number": NUMBER})).status == 404
    assert (await house.call("GET", "/api/whitelist", key=BETA)).body["total"] == 1


async def get_opt_outs(house: House) -> None:
    """Another tenant's are not listed, and refuse nothing here."""
    await house.gateway.opt_outs.add(BETA, incoming(tenant=BETA, sender=NUMBER, content="STOP"))
    assert (await house.call("GET", "/api/opt-outs")).body == {"opt_outs": [], "next": None}
    assert (await house.call("GET", "/api/opt-outs", key=BETA)).body["opt_outs"][0]["number"] == NUMBER
    assert ((await house.send()).status, (await house.send(key=BETA)).status) == (202, 403)


async def get_quota(house: House) -> None:
    """Neither another tenant's messages nor its whitelist show in the quota."""
    await house.send(key=BETA)
    await house.call("POST", "/api/whitelist", json={"number": NUMBER}, key=BETA)
    mine = (await house.call("GET", f"/api/quota/{NUMBER}")).body
    theirs = (await house.call("GET", f"/api/quota/{NUMBER}", key=BETA)).body
    assert (mine["used"], mine["remaining"], mine["whitelisted"]) == (0, 3, False)
    assert (theirs["used"], theirs["remaining"], theirs["whitelisted"]) == (1, None, True)


async def health(house: House) -> None:
    """Who may ask without a key is told of no tenant at all."""
    await queued(house, BETA)
    for path in ("/healthz", "/readyz"):
        said = await house.call("GET", path, key=None)
        assert not re.search(rb"alpha|beta|sk_|postgres|628", said.raw)


CROSSINGS: dict[tuple[str, str], Callable[[House], Awaitable[None]]] = {
    ("POST", "/api/send-message"): send_message,
    ("GET", "/api/messages/{id}"): get_message,
    ("DELETE", "/api/messages/{id}"): delete_message,
    ("GET", "/api/events"): get_events,
    ("GET", "/api/callbacks"): callbacks,
    ("POST", "/api/callbacks/{id}/redeliver"): callbacks,
    ("GET", "/api/status"): get_status,
    ("POST", "/api/logout"): ends,
    ("POST", "/api/reconnect"): ends,
    ("GET", "/api/qr"): pairing,
    ("GET", "/api/qr/image"): pairing,
    ("GET", "/api/qr/page"): pairing,
    ("POST", "/api/pair-link"): pairing,
    ("POST", "/api/pair-code"): pair_code,
    ("GET", "/api/whitelist"): get_whitelist,
    ("POST", "/api/whitelist"): post_whitelist,
    ("DELETE", "/api/whitelist"): delete_whitelist,
    ("GET", "/api/opt-outs"): get_opt_outs,
    ("GET", "/api/quota/{number}"): get_quota,
    ("GET", "/healthz"): health,
    ("GET", "/readyz"): health,
}
"""Route -> what shows that it keeps tenants apart."""


@pytest.mark.parametrize("route", CROSSINGS, ids=" ".join)
async def test_tenants_are_apart(open_house: Callable[..., Awaitable[House]], route: tuple[str, str]) -> None:
    """Whatever alpha does on this route, beta's things are neither seen nor changed. (The function in CROSSINGS tells
    more.)"""
    plugins = {**SLOW, "opt_out": {}}
    hook = {"url": "http://127.0.0.1:9/", "unsigned": True}
    beta = {"plugins": plugins, "transport": "whatsapp", "callbacks": [hook]}
    house = await open_house(alpha={"plugins": plugins}, beta=beta, gamma=beta)
    await house.add_tenant(GAMMA)
    await CROSSINGS[route](house)


async def test_every_route_is_tried_and_described(house: House) -> None:
    """A route without a test above, or without a heading in docs/api.md, does not come in; and no heading describes a
    route that is not there."""
    app = make_app(house.gateway.services())
    routes = {(r.method, r.resource.canonical) for r in app.router.routes() if r.resource and r.method != "HEAD"}
    headings = re.findall(r"^### `([A-Z]+) (/\S*)`$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert routes == set(CROSSINGS)
    assert routes == set(headings)
    assert len(headings) == len(set(headings))
