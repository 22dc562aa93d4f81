"""Logins of many tenants: made quickly, looked at, talked through, lost."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.wire.town import UNPACED, until

if TYPE_CHECKING:
    from sandbox.phones.phone import Phone
    from tests.wire.conftest import Wire
    from tests.wire.town import Town


async def link(town: Town, wire: Wire, numbers: dict[str, str]) -> None:
    """Linked devices, as so many pairings would leave them; all in one process, which is faster. `numbers`: tenant ->
    phone number."""
    process = await wire.process(sessions=len(numbers))
    for tenant, number in numbers.items():
        # So many times `tenant add` would take longer than everything else here.
        town.keys[tenant] = key = f"sk_{tenant}"
        town.installation.write(f"tenants/{tenant}.yaml", f"transport: whatsapp\nplugins: {UNPACED}\n")
        digest = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
        town.query("INSERT INTO api_keys (tenant_id, api_key) VALUES (%s, %s)", tenant, digest)
        jid = await wire.pair(process, tenant, number)
        town.query("INSERT INTO sessions (tenant_id, jid, sandbox) VALUES (%s, %s, true)", tenant, jid)
    await process.end()


def connected(town: Town) -> list[str]:
    """Whose session works, held by a process that lives."""
    rows = town.query(
        "SELECT tenant_id FROM sessions WHERE state = 'connected' AND process IN (SELECT live_processes()) ORDER BY 1"
    )
    return [tenant for (tenant,) in rows]


async def talk(town: Town, us: tuple[str, str], phone: Phone, count: int, word: str) -> None:
    """`count` messages each way between `us` (tenant, number) and a phone; every one arrives once and can be read."""
    tenant, number = us
    for n in range(count):
        await town.send(tenant, phone.number, f"{word} to {n}", wait=20)
        assert (await phone.next(30)).text == f"{word} to {n}"
        await phone.send(number, f"{word} from {n}")
    wanted = sorted(f"{word} from {n}" for n in range(count))
    query = "SELECT content FROM incoming_messages WHERE tenant_id = %s AND content LIKE %s"
    await until(
        lambda: sorted(row[0] for row in town.query(query, tenant, f"{word} from %")), lambda got: got == wanted
    )


def drop_store(town: Town) -> None:
    """Every table of whatsmeow's."""
    for (table,) in town.query("SELECT tablename FROM pg_tables WHERE tablename ~ '^whatsmeow_'"):
        town.query(f"DROP TABLE {table} CASCADE")


def disagreements(town: Town) -> list[tuple[str, ...]]:
    """Where mirror and store differ, for anybody."""
    return town.query("SELECT d.tenant_id, x.* FROM wa_devices d, wa_differences_v1(d.tenant_id) x")
