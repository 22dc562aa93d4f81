"""The real neonize talks with simulated phones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import Sandbox
    from tests.wire.sandbox.client import Client

TOKO, CAROL = "628111111111", "628777777777"


async def test_texts_go_both_ways(sandbox: Sandbox, new_client: Callable[..., Client]) -> None:
    """A client that scanned gets what a phone writes and the phone gets its answer, with the same ids on both sides."""
    client, carol = new_client(), sandbox.phone(CAROL, "Carol")
    assert await client.pair(TOKO, "Toko") == 1
    sent = await carol.send(TOKO, "halo é 🌏")
    got = await client.event("Message")
    assert (got["id"], got["text"], got["sender_number"], got["name"]) == (sent, "halo é 🌏", CAROL, "Carol")
    answer = await client.call("send", CAROL, "hai juga")
    received = await carol.next()
    assert (received.id, received.text, received.sender, received.sender_device) == (answer, "hai juga", TOKO, 1)
    assert (await client.event("Receipt"))["ids"] == [answer]
    assert carol.failures == []
