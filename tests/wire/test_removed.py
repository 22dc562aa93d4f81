"""A tenant that is removed, and another one who gets its id, with the real neonize."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.wire.town import until

if TYPE_CHECKING:
    from tests.wire.town import Town

SHOP, CAFE, NEXT = "628111111111", "628111111112", "628111111113"
LOGINS = "SELECT tenant_id FROM auth_creds UNION SELECT tenant_id FROM auth_keys UNION SELECT tenant_id FROM wa_devices"


@pytest.mark.parametrize("is_open", [True, False])
async def test_who_gets_the_id_begins_without_a_phone(town: Town, is_open: bool) -> None:
    """While its session is open, the phone is told and lists the device no more; otherwise the phone still lists it.
    Nothing is left of it here in either case, and the next tenant of that id links a phone of its own; who else is
    connected stays so."""
    await town.add("shop")
    await town.add("cafe")
    await town.serve()
    await town.pair("shop", SHOP)
    await town.pair("cafe", CAFE)
    if not is_open:
        await town.stop()
    await asyncio.to_thread(town.installation.answer, "tenant", "remove", "shop", "--yes")
    if is_open:
        await until(lambda: town.sandbox.devices(SHOP), lambda devices: devices == [])
    else:
        assert len(town.sandbox.devices(SHOP)) == 1
    await town.add("shop")
    if not is_open:
        await town.serve()
    told = await town.until_state("shop", "unpaired")
    assert told["phone"] is None
    # WhatsApp knows of the logout before the library has deleted its rows.
    await until(lambda: town.query(LOGINS), lambda rows: rows == [("cafe",)])
    await until(lambda: town.query("SELECT count(*) FROM whatsmeow_device"), lambda rows: rows == [(1,)])
    await town.pair("shop", NEXT)
    assert (await town.until_state("cafe", "connected"))["phone"] == CAFE
    assert (await town.state("shop"))["phone"] == NEXT
