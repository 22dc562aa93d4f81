"""Linking a device: the real neonize against the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.wire.conftest import Wire


async def test_a_scanned_code_pairs_and_connects(wire: Wire) -> None:
    """A new device shows a QR code; scanned, it is paired, then connected, and knows who it is."""
    process = await wire.process()
    jid = await wire.pair(process, "shop", "628111111111")
    assert process.kinds("shop") == ["QrShown", "Paired", "Connected"]
    me = await process.ask("identity", "shop")
    assert me["jid"] == jid
    assert jid.startswith("628111111111:")
    assert me["lid"].endswith("@lid")
    assert await process.ask("close", "shop") is True
