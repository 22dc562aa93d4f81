"""How pairing ends when it does not end well, through the doors; and what no log may hold afterwards."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from typing import TYPE_CHECKING

import sandbox.server.pairing
from tests.wire.processes import session_processes
from tests.wire.town import until

if TYPE_CHECKING:
    import pytest

    from tests.wire.town import Town

SHOP, CAFE, BUDI = "628111111111", "628111111112", "628222222222"
WHATSAPPS_QR_CODES = sandbox.server.pairing.QR_CODES


def may_ask_again(town: Town) -> None:
    """Let a minute pass since pairing was last asked for."""
    town.query("UPDATE sessions SET asked_at = asked_at - interval '1 minute'")


async def test_pairing_that_ends_badly_can_begin_anew(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes run out, the process is killed: unpaired with the reason, and the next attempt works. A second one
    while a number is linked is refused."""
    for tenant in ("slow", "shop"):
        await town.add(tenant)
    await town.serve()
    # The library gives a single code twenty seconds, longer than any lease is good for.
    monkeypatch.setattr(sandbox.server.pairing, "QR_CODES", 1)
    await town.qr("slow")
    running_out = asyncio.create_task(until_unpaired(town, "slow"))
    monkeypatch.setattr(sandbox.server.pairing, "QR_CODES", WHATSAPPS_QR_CODES)

    others = set(session_processes(town.gateway.pid))
    await town.qr("shop")
    [child] = set(session_processes(town.gateway.pid)) - others
    os.kill(child, signal.SIGKILL)
    killed = await town.until_state("shop", "unpaired")
    assert killed["reason"] == "the process that was pairing died; ask for a new code"
    may_ask_again(town)
    status, shown = await town.pair_code("shop", SHOP)
    assert status == 200, shown
    await town.sandbox.enter_code(shown["code"], SHOP, "shop")
    await town.until_state("shop", "connected")
    may_ask_again(town)
    assert (await town.pair_code("shop", CAFE))[0] == 409
    status, shown = await town.ask("shop", "GET", "/api/qr")
    assert (status, shown["qr"], shown["connected"]) == (200, None, True)
    assert (await town.state("shop"))["phone"] == SHOP

    assert await running_out == "nobody scanned the code in time; ask for a new one"
    may_ask_again(town)
    await town.pair("slow", CAFE)


async def until_unpaired(town: Town, tenant: str) -> str:
    """Wait for the end of pairing, and its reason. Until then the code that is shown must be somebody's: a session that
    nobody holds shows none."""

    def look() -> tuple[str, str, bool]:
        [row] = town.query("SELECT state, reason, leased_until > now() FROM sessions WHERE tenant_id = %s", tenant)
        assert row[0] == "unpaired" or row[2], "the process that shows a code has lost its lease"
        return tuple(row)

    _, reason, _ = await until(look, lambda row: row[0] == "unpaired")
    return str(reason)


async def test_no_log_holds_a_secret(town: Town) -> None:
    """After pairing by QR and by code, messages both ways, a dropped socket, a restart and a logout: no QR text, no
    pairing code, API key, link token, or key of a device in any log."""
    secrets: list[str] = []
    for tenant in ("shop", "cafe"):
        await town.add(tenant)
    await town.serve()
    _, link = await town.ask("shop", "POST", "/api/pair-link")
    secrets.append(str(link["url"]).rpartition("/")[2].rpartition("=")[2])
    qr = await town.qr("shop")
    await town.sandbox.scan(qr, SHOP, "shop")
    secrets += [qr, *qr.split(",")]
    await town.until_state("shop", "connected")
    _, shown = await town.pair_code("cafe", CAFE)
    secrets += [shown["code"], shown["code"].replace("-", "")]
    await town.sandbox.enter_code(shown["code"], CAFE, "cafe")
    await town.until_state("cafe", "connected")
    budi = town.sandbox.phone(BUDI, "Budi")
    await budi.send(SHOP, "the text of a person")
    await town.send("shop", BUDI, "the text of a caller", wait=20)
    await town.sandbox.drop(SHOP, town.sandbox.devices(SHOP)[0])
    await town.send("cafe", BUDI, "the text of a caller", wait=20)
    secrets += stored_keys(town)
    await town.stop()
    await town.serve()
    await town.until_state("shop", "connected")
    assert (await town.ask("shop", "POST", "/api/logout"))[0] == 200
    await town.stop()
    secrets += [*town.keys.values(), "the text of a person", "the text of a caller"]
    logs = "".join(gateway.stderr + gateway.stdout for gateway in town.gateways)
    assert "is linked as" in logs
    assert "is connected as" in logs
    assert [secret for secret in secrets if len(secret) >= 8 and secret in logs] == []


def stored_keys(town: Town) -> list[str]:
    """Every key in whatsmeow's table of devices, as base64 and as hex."""
    columns = [
        name
        for (name,) in town.query(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'whatsmeow_device' AND data_type = 'bytea'"
        )
    ]
    assert {"noise_key", "identity_key", "adv_key"} <= set(columns)
    keys = [
        bytes(key)
        for row in town.query(f"SELECT {', '.join(columns)} FROM whatsmeow_device")
        for key in row
        if key is not None and len(bytes(key)) >= 16
    ]
    assert keys
    return [text for key in keys for text in (base64.b64encode(key).decode().rstrip("="), key.hex())]
