"""How real clients are linked, come and go: pairing, what waits for them, lost lines, logouts, refusals."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox, UnknownCode, UnknownQr
from sandbox.server.connection import LAST_WORDS
from tests.wire.sandbox.client import PATIENCE, CallFailed, Client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    NewClient = Callable[..., Client]

TOKO, CAROL = "628111111111", "628777777777"


async def test_pairing_by_code(sandbox: Sandbox, new_client: NewClient) -> None:
    """A mistyped code links nothing; the right one does, and the device works."""
    client = await new_client().start()
    await client.event("qr")
    code = await client.call("pair_code", TOKO)
    with pytest.raises(UnknownCode):
        await sandbox.enter_code(code, CAROL)
    assert await sandbox.enter_code(code.lower(), TOKO, "Toko") == 1
    await client.event("Connected")
    assert (await client.call("me"))["number"] == TOKO
    await sandbox.phone(CAROL).send(TOKO, "halo")
    assert (await client.event("Message"))["text"] == "halo"


async def test_a_wrong_code_links_nothing(sandbox: Sandbox, new_client: NewClient) -> None:
    """A code that is right but for one character is refused."""
    client = await new_client().start()
    await client.event("qr")
    code = await client.call("pair_code", TOKO)
    wrong = code[:-1] + ("1" if code[-1] != "1" else "2")
    with pytest.raises(UnknownCode):
        await sandbox.enter_code(wrong, TOKO)
    assert sandbox.devices(TOKO) == []


async def test_a_qr_is_good_once(sandbox: Sandbox, new_client: NewClient) -> None:
    """The QR of a client that was linked, and any other text, is refused by name."""
    client = await new_client().start()
    qr = (await client.event("qr"))["text"]
    await sandbox.scan(qr, TOKO)
    for text in (qr, "halo", "2@a,b,c,d"):
        with pytest.raises(UnknownQr):
            await sandbox.scan(text, TOKO)


async def test_what_waited_comes_after_a_login(sandbox: Sandbox, new_client: NewClient) -> None:
    """Messages to a client that is away wait, come in order after its login, are counted for it, and wait no more."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    await carol.send(TOKO, "you know me")
    await client.event("Message")
    await client.kill()
    await gone(sandbox)
    for number in range(5):
        await carol.send(TOKO, f"while away {number}")
    assert sandbox.waiting(TOKO, 1) >= 5
    again = await new_client().start()
    assert [(await again.event("Message"))["text"] for _ in range(5)] == [f"while away {n}" for n in range(5)]
    assert (await again.event("OfflineSyncCompleted"))["count"] >= 5
    await settled(sandbox, 1)


async def settled(sandbox: Sandbox, device: int) -> None:
    """Wait until the client has acknowledged all that was sent to it."""
    async with asyncio.timeout(PATIENCE):
        while sandbox.waiting(TOKO, device):
            await asyncio.sleep(0.02)


async def gone(sandbox: Sandbox) -> None:
    """Wait until the server has seen the device's line end."""
    async with asyncio.timeout(PATIENCE):
        while sandbox.is_online(TOKO, 1):
            await asyncio.sleep(0.02)


async def test_an_offline_phone(sandbox: Sandbox, new_client: NewClient) -> None:
    """A phone that is off acknowledges nothing; switched on, it gets what waited and says so."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    carol.online = False
    sent = await client.call("send", CAROL, "are you there?")
    assert (sandbox.waiting(CAROL, 0), carol.received) == (1, [])
    carol.online = True
    assert (await carol.next()).id == sent
    assert (await client.event("Receipt"))["ids"] == [sent]


async def test_the_sandbox_notes_what_a_client_acknowledged(sandbox: Sandbox, new_client: NewClient) -> None:
    """A receipt with its time and the connection that it was acknowledged over; one that comes while the client is away
    waits for it. The connection's end is noted too."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    carol.online = False
    sent = await client.call("send", CAROL, "first")
    assert (sandbox.acknowledged(sent), sandbox.unacknowledged(sent)) == ((), 0)
    carol.online = True
    await client.event("Receipt")
    async with asyncio.timeout(PATIENCE):
        while sandbox.unacknowledged(sent):
            await asyncio.sleep(0.02)
    [done] = sandbox.acknowledged(sent)
    assert (done.type, done.login.number, done.login.device) == ("delivered", TOKO, 1)
    assert done.login is sandbox.logins[-1]
    assert done.login.ended is None
    assert done.login.began <= done.at
    await client.kill()
    await gone(sandbox)
    assert (done.login.ended or 0.0) >= done.at
    await carol.read(sent)
    assert (len(sandbox.acknowledged(sent)), sandbox.unacknowledged(sent)) == (1, 1)


async def test_a_lost_line(sandbox: Sandbox, new_client: NewClient) -> None:
    """A client whose line is cut comes back by itself and misses nothing."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    await sandbox.drop(TOKO, 1)
    await carol.send(TOKO, "in between")
    await client.event("Disconnected")
    await client.event("Connected")
    assert (await client.event("Message"))["text"] == "in between"


async def test_replaced(sandbox: Sandbox, new_client: NewClient) -> None:
    """A client that another one replaces is told so."""
    client = new_client()
    await client.pair(TOKO)
    await sandbox.replace(TOKO, 1)
    await client.event("StreamReplaced")


async def test_unlinked_from_the_phone(sandbox: Sandbox, new_client: NewClient) -> None:
    """A device that the phone removes is logged out and gone from the account's list."""
    client = new_client()
    await client.pair(TOKO)
    await sandbox.unlink(TOKO, 1)
    assert (await client.event("LoggedOut"))["on_connect"] is False
    assert sandbox.devices(TOKO) == []


async def test_a_client_that_stands_still_hears_the_last_word(sandbox: Sandbox, new_client: NewClient) -> None:
    """The server closes the line when the client has read why, and not before: it would forget what it has read of a
    line that is closed already."""
    for number in range(3):
        client = new_client(f"{number}.db")
        device = await client.pair(TOKO)
        await settled(sandbox, device)
        client.signal(signal.SIGSTOP)
        await sandbox.unlink(TOKO, device)
        await asyncio.sleep(2 * LAST_WORDS)
        client.signal(signal.SIGCONT)
        assert (await client.event("LoggedOut"))["on_connect"] is False


async def test_unlinked_while_away(sandbox: Sandbox, new_client: NewClient) -> None:
    """A device that was removed while it was away is refused at its login."""
    client = new_client()
    await client.pair(TOKO)
    await client.kill()
    await sandbox.unlink(TOKO, 1)
    again = await new_client().start()
    assert await again.event("LoggedOut") == {"event": "LoggedOut", "on_connect": True, "reason": 2}


async def test_logging_out(sandbox: Sandbox, new_client: NewClient) -> None:
    """A client that logs itself out is no device of the account any more."""
    client = new_client()
    await client.pair(TOKO)
    await client.call("logout")
    assert sandbox.devices(TOKO) == []


@pytest.mark.parametrize(
    ("reason", "event"), [(401, "LoggedOut"), (403, "LoggedOut"), (402, "TemporaryBan"), (405, "ClientOutdated")]
)
async def test_refused_logins(sandbox: Sandbox, new_client: NewClient, reason: int, event: str) -> None:
    """Each reason makes the client say what it means; at 401 and 403 the device is gone on both sides."""
    client = new_client()
    await client.pair(TOKO)
    await client.kill()
    sandbox.refuse_logins(TOKO, reason, code=104, expire=7200)
    told = await (await new_client().start()).event(event)
    assert sandbox.devices(TOKO) == ([] if event == "LoggedOut" else [1])
    if reason == 402:
        assert (told["code"], told["expire"]) == (4, 7200), "neonize counts WhatsApp's 101, 102… from 1"


async def test_an_unavailable_service(sandbox: Sandbox, new_client: NewClient) -> None:
    """A client that is refused with 503 tries again by itself, until it is let in."""
    client = new_client()
    await client.pair(TOKO)
    sandbox.refuse_logins(TOKO, 503, times=1)
    await sandbox.drop(TOKO, 1)
    await client.event("Connected")
    assert sandbox.is_online(TOKO, 1)


async def test_refused_and_held_sends(sandbox: Sandbox, new_client: NewClient) -> None:
    """A refused message raises with its code and goes nowhere; one that is not acknowledged arrives all the same."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    sandbox.refuse_sends(TOKO, 463, times=1)
    with pytest.raises(CallFailed, match="463"):
        await client.call("send", CAROL, "refused")
    await client.call("send", CAROL, "let through")
    assert (await carol.next()).text == "let through"
    sandbox.hold_acks(TOKO, True)
    call = asyncio.ensure_future(client.call("send", CAROL, "held"))
    held = await carol.next()
    assert not call.done()
    sandbox.hold_acks(TOKO, False)
    assert await call == held.id


async def test_two_devices_of_one_account(sandbox: Sandbox, new_client: NewClient) -> None:
    """Both get what is written to the account, and each gets what the other sends."""
    one, two, carol = new_client("one.db"), new_client("two.db"), sandbox.phone(CAROL)
    assert (await one.pair(TOKO), await two.pair(TOKO)) == (1, 2)
    await carol.send(TOKO, "to both")
    assert [(await client.event("Message"))["text"] for client in (one, two)] == ["to both"] * 2
    sent = await one.call("send", CAROL, "from one")
    assert (await carol.next()).sender_device == 1
    copy = await two.event("Message")
    assert (copy["id"], copy["from_me"]) == (sent, True)


async def test_what_the_server_does_not_know(tmp_path: Path) -> None:
    """A question of a kind that is not played is recorded, and refused at once instead of after 75 s."""
    async with Sandbox() as sandbox:
        client = Client(sandbox, tmp_path)
        try:
            await client.pair(TOKO)
            with pytest.raises(CallFailed, match="501"):
                await client.call("groups")
        finally:
            await client.kill()
        assert ["w:g2" in stanza for stanza in sandbox.unhandled] == [True]
