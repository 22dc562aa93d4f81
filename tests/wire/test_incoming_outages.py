"""Messages that come in while PostgreSQL is away, plugins are slow, or the gateway is stopped: all, once each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.wire.processes import resident
from tests.wire.town import UNPACED, built, until

if TYPE_CHECKING:
    from pathlib import Path

    from db.embedded import EmbeddedPostgres
    from sandbox import Phone, Sandbox
    from tests.wire.town import Town

SHOP, CAFE = "628111111111", "628111111112"
MEGABYTE = 1 << 20

SLOW = """
import asyncio
from pathlib import Path

from core import hookimpl


@hookimpl
async def on_message(message, gateway):
    shown = await gateway.store.get("shown") or []
    # Far from done when it is stopped, however long that takes to come about; then there is a file, and no more hurry.
    behind = len(shown) >= 150 and not Path(__file__).with_name("quicker").exists()
    await asyncio.sleep(0.3 if behind else 0.02)
    await gateway.store.set("shown", [*shown, message.content])
"""


async def speak(phone: Phone, to: str, count: int) -> None:
    """That many messages, one after another."""
    for number in range(count):
        await phone.send(to, f"{phone.number} {number}")
        await asyncio.sleep(0.02)


def expected(phones: list[Phone], count: int) -> list[str]:
    """What `speak` of these phones says, sorted."""
    return sorted(f"{phone.number} {number}" for phone in phones for number in range(count))


async def test_300_messages_while_postgresql_is_away_and_comes_back(
    own_postgres: EmbeddedPostgres, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The sockets are dropped at once, so that WhatsApp keeps what comes; then all arrive, once each, and the sessions
    are connected again by themselves."""
    url = own_postgres.url
    assert url is not None
    async with built(sandbox, tmp_path / "town", url) as town:
        for tenant in ("shop", "cafe"):
            await town.add(tenant)
        await town.serve()
        await town.pair("shop", SHOP)
        await town.pair("cafe", CAFE)
        phones = [sandbox.phone(f"62822222222{number}") for number in range(3)]
        speaking = asyncio.gather(*(speak(phone, SHOP, 100) for phone in phones))
        await until(lambda: arrived(town), lambda texts: len(texts) >= 30)
        await asyncio.to_thread(own_postgres.stop)
        for number in (SHOP, CAFE):
            device = sandbox.devices(number)[0]
            await until(lambda n=number, d=device: sandbox.is_online(n, d), lambda online: not online, within=30)
        await speaking
        own_postgres.start()
        for tenant in ("shop", "cafe"):
            await town.until_state(tenant, "connected")
        await until(lambda: arrived(town), lambda texts: len(texts) >= 300)
        assert arrived(town) == expected(phones, 100)
        assert [failure for phone in phones for failure in phone.failures] == []
        assert named_as_lost(town) == []


def named_as_lost(town: Town) -> list[str]:
    """What is told as lost, or would be in half a minute."""
    told = town.query("SELECT incoming FROM events WHERE type = 'message.lost' UNION ALL SELECT id FROM arrivals")
    return [message_id for (message_id,) in told]


def arrived(town: Town) -> list[str]:
    """The texts of all incoming messages, sorted."""
    return sorted(text for (text,) in town.query("SELECT content FROM incoming_messages"))


async def test_300_messages_against_a_slow_plugin_with_a_restart_in_between(town: Town, tmp_path: Path) -> None:
    """The processes' memory stays flat while the plugin is behind, and SIGTERM in the midst loses nothing: the next
    start shows the rest."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "slow.py").write_text(SLOW)
    town.installation.write("service.yaml", f"plugins_dir: {tmp_path / 'own'}\n")
    await town.add("shop", plugins=UNPACED.replace("}, delay", "}, slow: , delay"))
    await town.serve()
    await town.pair("shop", SHOP)
    phones = [town.sandbox.phone(f"62822222222{number}") for number in range(3)]
    await asyncio.gather(*(speak(phone, SHOP, 10) for phone in phones))
    await until(lambda: shown(town), lambda texts: len(texts) >= 30)
    processes = [town.gateway.pid, await town.session_process()]
    before = [resident(pid) for pid in processes]
    for phone in phones:
        for number in range(10, 100):
            await phone.send(SHOP, f"{phone.number} {number}")
    await until(lambda: shown(town), lambda texts: len(texts) >= 100)
    grown = [resident(pid) - was for pid, was in zip(processes, before, strict=True)]
    assert max(grown) < 24 * MEGABYTE, grown
    assert await town.stop() == 0
    assert len(shown(town)) < 300
    (tmp_path / "own" / "quicker").touch()
    await town.serve()
    await until(lambda: shown(town), lambda texts: len(texts) >= 300)
    assert sorted(shown(town)) == expected(phones, 100)
    for phone in phones:
        own = [text for text in shown(town) if text.startswith(phone.number)]
        assert own == [f"{phone.number} {number}" for number in range(100)]
    assert named_as_lost(town) == []


def shown(town: Town) -> list[str]:
    """What the plugin has seen, in order."""
    rows = town.query("SELECT value FROM plugin_data WHERE key = 'shown'")
    return list(rows[0][0]) if rows else []
