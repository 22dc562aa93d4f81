"""Every state that WhatsApp can put a session in, with its reason, and what becomes of the queue meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wire.town import until

if TYPE_CHECKING:
    from sandbox import Phone
    from tests.wire.town import Town

SHOP, CAFE, BAKER, TAILOR, BARBER = (f"62811111111{number}" for number in range(1, 6))
BUDI, SITI = "628222222222", "628333333333"
LIMITED = "{api_key: , daily_limit: {limit: 2}, delay: {min: 0, max: 0}}"


async def paired(town: Town, **numbers: str) -> None:
    """A gateway with these tenants, linked to these numbers."""
    for tenant in numbers:
        await town.add(tenant)
    await town.serve()
    for tenant, number in numbers.items():
        await town.pair(tenant, number)


async def reconnected(town: Town, tenant: str) -> None:
    """POST /api/reconnect, which is accepted."""
    status, answer = await town.ask(tenant, "POST", "/api/reconnect")
    assert status == 200, answer


def device(town: Town, number: str) -> int:
    """The one linked device of a number."""
    return town.sandbox.devices(number)[0]


async def arrived(phone: Phone, *texts: str) -> None:
    """Exactly these have arrived, in this order."""
    await until(lambda: len(phone.received), lambda count: count >= len(texts))
    assert tuple(message.text for message in phone.received) == texts


async def test_code_463_holds_new_conversations_and_answers_go_on(town: Town) -> None:
    """The refused message goes back to its place and counts once; the state is `restricted` with the reason; who has
    written before is written to as ever, which lifts nothing; the first new conversation that WhatsApp takes makes the
    session `connected` again."""
    town.installation.write("service.yaml", "sessions: {timelock_pause: 30}\n")
    await town.add("shop", plugins=LIMITED)
    await town.serve()
    await town.pair("shop", SHOP)
    budi, siti = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone(SITI, "Siti")
    await siti.send(SHOP, "hello")
    await until(lambda: town.query("SELECT id FROM incoming_messages"), bool)
    town.sandbox.refuse_sends(SHOP, 463, 1)
    refused = await town.send("shop", BUDI, "one")
    restricted = await town.until_state("shop", "restricted")
    assert "463" in restricted["reason"]
    held = await town.send("shop", BUDI, "two")
    known = await town.send("shop", SITI, "to an old acquaintance")
    await town.until_status("shop", known["id"], "sent", "delivered")
    assert (await town.state("shop"))["state"] == "restricted"
    assert [(await town.status_of("shop", each["id"]))["status"] for each in (refused, held)] == ["queued", "queued"]
    told = await town.status_of("shop", refused["id"])
    assert told["history"][-1]["cause"] == "reach_out_timelock"
    await arrived(budi, "one", "two")
    await arrived(siti, "to an old acquaintance")
    await town.until_state("shop", "connected")


async def test_refused_logins_have_each_their_state(town: Town) -> None:
    """405 keeps the session and says what to do; 402 is a ban with its end; 401 and 403 log out; 503 is tried again by
    itself. What is queued waits in all of them, and leaves when the session is there again."""
    await paired(town, outdated=SHOP, banned=CAFE, unlinked=BAKER, locked=TAILOR, busy=BARBER)
    budi = town.sandbox.phone(BUDI, "Budi")
    codes = {"outdated": (SHOP, 405), "banned": (CAFE, 402), "unlinked": (BAKER, 401), "locked": (TAILOR, 403)}
    for tenant, (number, code) in codes.items():
        town.sandbox.refuse_logins(number, code)
        await reconnected(town, tenant)
    town.sandbox.refuse_logins(BARBER, 503, 1)
    await reconnected(town, "busy")
    assert "405" in (await town.until_state("outdated", "client_outdated"))["reason"]
    assert "until 20" in (await town.until_state("banned", "banned"))["reason"]
    assert "unlinked" in (await town.until_state("unlinked", "logged_out"))["reason"]
    assert "403" in (await town.until_state("locked", "logged_out"))["reason"]
    await town.until_state("busy", "connected")
    kept = {tenant for (tenant,) in town.query("SELECT tenant_id FROM sessions WHERE jid IS NOT NULL")}
    assert kept == {"outdated", "banned", "busy"}
    waiting = {tenant: await town.send(tenant, BUDI, tenant) for tenant in codes}
    sent = await town.send("busy", BUDI, "busy", wait=20)
    await town.until_status("busy", sent["id"], "sent", "delivered")
    for tenant, message in waiting.items():
        assert (await town.status_of(tenant, message["id"]))["status"] == "queued", tenant
    for tenant in ("outdated", "banned"):
        town.sandbox.refuse_logins(codes[tenant][0], 0)
        await reconnected(town, tenant)
        await town.until_state(tenant, "connected")
        await town.until_status(tenant, waiting[tenant]["id"], "sent", "delivered")
    arrives = ["banned", "busy", "outdated"]
    await until(lambda: sorted(message.text for message in budi.received), lambda texts: texts == arrives)


async def test_one_alarm_for_all_who_are_outdated_and_a_ban_that_ends(town: Town) -> None:
    """405 concerns everybody: it is said aloud once, `tenant list` names it until a session has connected. A ban for
    some seconds is sat out: the session opens again by itself, and what waited is sent."""
    await paired(town, shop=SHOP, cafe=CAFE, baker=BAKER)
    budi = town.sandbox.phone(BUDI, "Budi")
    for tenant, number in {"shop": SHOP, "cafe": CAFE}.items():
        town.sandbox.refuse_logins(number, 405)
        await reconnected(town, tenant)
        await town.until_state(tenant, "client_outdated")
    [alarm] = town.installation.answer("tenant", "list")["alarms"]
    assert alarm["name"] == "client_outdated"
    assert town.gateway.stderr.count("alarm.client_outdated") == 1

    town.sandbox.refuse_logins(BAKER, 402, 1, expire=3)
    await reconnected(town, "baker")
    assert "until 20" in (await town.until_state("baker", "banned"))["reason"]
    await town.send("baker", BUDI, "after the ban")
    await town.until_state("baker", "connected")
    await arrived(budi, "after the ban")
    await until(lambda: town.installation.answer("tenant", "list")["alarms"], lambda alarms: alarms == [])


async def test_lost_connections(town: Town) -> None:
    """Replaced: stays away until POST /api/reconnect. A dropped socket, and a busy WhatsApp after it: connected by
    itself, and what was queued meanwhile arrives once. A gateway that is told to log out unlinks the device."""
    await paired(town, shop=SHOP, cafe=CAFE)
    budi = town.sandbox.phone(BUDI, "Budi")
    await town.sandbox.replace(CAFE, device(town, CAFE))
    assert "another program" in (await town.until_state("cafe", "replaced"))["reason"]

    since = (await town.state("shop"))["since"]
    await town.sandbox.drop(SHOP, device(town, SHOP))
    await until(lambda: town.state("shop"), lambda now: now["state"] == "connected" and now["since"] != since)
    town.sandbox.refuse_logins(SHOP, 503)
    await town.sandbox.drop(SHOP, device(town, SHOP))
    await town.until_state("shop", "disconnected")
    await town.send("shop", BUDI, "meanwhile")
    town.sandbox.refuse_logins(SHOP, 503, 1)
    await town.until_state("shop", "connected")
    await town.send("shop", BUDI, "afterwards", wait=20)
    await arrived(budi, "meanwhile", "afterwards")

    assert (await town.state("cafe"))["state"] == "replaced"
    assert not town.sandbox.is_online(CAFE, device(town, CAFE))
    await reconnected(town, "cafe")
    await town.until_state("cafe", "connected")

    status, answer = await town.ask("shop", "POST", "/api/logout")
    assert status == 200, answer
    assert "on request" in (await town.until_state("shop", "logged_out"))["reason"]
    assert town.sandbox.devices(SHOP) == []
    assert town.query("SELECT tenant_id FROM sessions WHERE jid IS NOT NULL") == [("cafe",)]


async def test_a_login_that_is_not_there_stops_one_tenant(town: Town) -> None:
    """A jid that whatsmeow's tables do not have would end the process of everybody: its tenant is unpaired, says why,
    and the others are not disturbed; it can be linked again."""
    await paired(town, shop=SHOP, cafe=CAFE)
    await town.stop()
    town.query("UPDATE sessions SET jid = '628999999999:3@s.whatsapp.net' WHERE tenant_id = 'cafe'")
    await town.serve()
    lost = await town.until_state("cafe", "unpaired")
    assert "628999999999:3" in lost["reason"]
    await town.until_state("shop", "connected")
    since = (await town.state("shop"))["since"]
    town.query("UPDATE sessions SET asked_at = NULL")
    await town.pair("cafe", CAFE)
    assert (await town.state("shop"))["since"] == since
