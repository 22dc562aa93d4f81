"""What one tenant's login outlives, twenty outlive together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.wire.logins import connected, disagreements, drop_store, link, talk
from tests.wire.town import until

if TYPE_CHECKING:
    from tests.wire.conftest import Wire
    from tests.wire.town import Town

NUMBERS = {f"tenant-{number:02}": f"6281111111{number:02}" for number in range(20)}


async def everybody_talks(town: Town, word: str) -> None:
    """Two messages each way for each tenant, all tenants at once, each with a phone that nobody else writes to."""
    await asyncio.gather(
        *(
            talk(town, (tenant, number), town.sandbox.phone(number.replace("62811", "62822")), 2, word)
            for tenant, number in NUMBERS.items()
        )
    )


async def test_twenty_logins_need_no_scan_after_a_kill_nor_without_the_store(town: Town, wire: Wire) -> None:
    """Twenty linked tenants that have talked: after SIGKILL of the gateway all are connected again as the same devices,
    and the next messages can be read on both sides; without any table of whatsmeow's it is the same, with no
    command, and the mirror agrees with the store in the end."""
    await link(town, wire, NUMBERS)
    devices = {number: town.sandbox.devices(number) for number in NUMBERS.values()}
    await town.serve()
    await until(lambda: connected(town), lambda tenants: tenants == list(NUMBERS))
    await everybody_talks(town, "first")
    for what in ("killed", "without a store"):
        await town.kill_and_wait()
        if what == "without a store":
            drop_store(town)
        await town.serve()
        await until(lambda: connected(town), lambda tenants: tenants == list(NUMBERS))
        await everybody_talks(town, what)
    assert {number: town.sandbox.devices(number) for number in NUMBERS.values()} == devices
    assert all(len(held) == 1 for held in devices.values())
    await until(lambda: disagreements(town), lambda found: found == [])
