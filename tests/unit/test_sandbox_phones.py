"""Simulated phones among themselves: no client, no socket."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Phone, Sandbox, UnknownMessage, UnknownNumber
from sandbox.attach import attach
from sandbox.errors import AttachError
from sandbox.phones.bodies import Quote, copy_for_own_devices, other_body, read_body, text_body
from sandbox.wire import protobuf

ROOT = Path(__file__).resolve().parents[2]
ANI, BUDI = "628111111111", "628222222222"


def pair() -> tuple[Phone, Phone]:
    sandbox = Sandbox()
    return sandbox.phone(ANI, "Ani"), sandbox.phone(BUDI, "Budi")


async def test_a_text_is_delivered_and_read() -> None:
    """A text arrives with its id; the sender is told that it was delivered, and then that it was read."""
    ani, budi = pair()
    sent = await ani.send(BUDI, "halo", id="3A01")
    got = await budi.next()
    assert (sent, got.id, got.sender, got.text, got.to) == ("3A01", "3A01", ANI, "halo", None)
    await ani.receipt(sent, "delivered")
    await budi.read(sent)
    assert (await ani.receipt(sent, "read")).sender == BUDI
    assert [(line.text, line.from_me, line.status) for line in ani.chats[BUDI]] == [("halo", True, "read")]
    assert [(line.text, line.from_me, line.status) for line in budi.chats[ANI]] == [("halo", False, "read")]


async def test_a_reply_quotes() -> None:
    """A reply names the message it answers and repeats its words; mentions are numbers on both ends."""
    ani, budi = pair()
    asked = await ani.send(BUDI, "how much?")
    await budi.next()
    await budi.send(ANI, "ten, ask @628111111111", reply_to=asked, mentions=[ANI])
    got = await ani.next()
    assert (got.reply_to, got.quoted_text, got.mentions) == (asked, "how much?", (ANI,))


async def test_an_offline_phone_waits() -> None:
    """A phone that is off gets nothing and acknowledges nothing until it is on; then all, in order."""
    ani, budi = pair()
    budi.online = False
    sent = [await ani.send(BUDI, str(number)) for number in range(5)]
    assert (budi.received, ani.receipts) == ([], [])
    budi.online = True
    assert [(await budi.next()).id for _ in sent] == sent
    await ani.receipt(sent[-1], "delivered")


async def test_typing_and_reading_at_once() -> None:
    """Typing is seen as it happens; a phone with auto_read reads what comes, after it was delivered."""
    ani, budi = pair()
    budi.auto_read = True
    await ani.typing(BUDI)
    await ani.typing(BUDI, False)
    assert [(seen.sender, seen.state) for seen in budi.typing_seen] == [(ANI, "composing"), (ANI, "paused")]
    await ani.receipt(await ani.send(BUDI, "halo"), "read")
    assert [seen.type for seen in ani.receipts] == ["delivered", "read"]


async def test_the_retry_dance() -> None:
    """A phone that lost its sessions asks again and gets the message once."""
    ani, budi = pair()
    await ani.send(BUDI, "one")
    await budi.next()
    await budi.send(ANI, "two")
    await ani.next()
    budi.line.keys.sessions.clear()
    sent = await ani.send(BUDI, "three")
    assert (await budi.next()).id == sent
    assert len(budi.failures) >= 1
    await ani.receipt(sent, "delivered")
    assert [received.text for received in budi.received] == ["one", "three"]


async def test_both_begin_at_the_same_time() -> None:
    """Two that write to each other for the first time at once read each other, then and later."""
    ani, budi = pair()
    await ani.send(BUDI, "a")
    await budi.send(ANI, "b")
    assert ((await budi.next()).text, (await ani.next()).text) == ("a", "b")
    for number in range(6):
        await (ani.send(BUDI, str(number)) if number % 2 else budi.send(ANI, str(number)))
    assert [(await budi.next()).text for _ in range(3)] == ["1", "3", "5"]
    assert [(await ani.next()).text for _ in range(3)] == ["0", "2", "4"]
    assert ani.failures + budi.failures == []


async def test_waiting_for_changes() -> None:
    """A page that knows an older version hears at once; one that knows the newest waits for the next, or its time."""
    ani, budi = pair()
    await ani.send(BUDI, "halo")
    assert await ani.wait_changed(0, 10) == ani.version
    assert await budi.wait_changed(budi.version, 0) == budi.version
    known = ani.version
    change = asyncio.ensure_future(ani.wait_changed(known, 10))
    await asyncio.sleep(0)
    await ani.send(BUDI, "lagi")
    assert await change > known


async def test_what_is_unknown_has_a_name() -> None:
    """Numbers and messages nobody knows are refused by name; a receipt that does not come is a TimeoutError."""
    ani, _ = pair()
    for wrong in (ani.send("62999", "halo"), ani.typing("62999")):
        with pytest.raises(UnknownNumber):
            await wrong
    for wrong_id in (ani.send(BUDI, "halo", reply_to="no"), ani.read("no")):
        with pytest.raises(UnknownMessage):
            await wrong_id
    with pytest.raises(TimeoutError):
        await ani.receipt("no", "read", timeout=0)


@pytest.mark.parametrize("number", ["", "+62811", "0811", "62 811", "٦٢٨١١", "6" * 15])
def test_a_number_is_digits(number: str) -> None:
    """Country code first, digits only, shorter than a LID."""
    with pytest.raises(UnknownNumber):
        Sandbox().phone(number)


def test_bodies() -> None:
    """All have a fresh messageSecret of 32 bytes, which a copy for own devices shows outside as well; quotes, mentions
    and copies are read back."""
    one, two = (protobuf.decode(text_body("halo")).message(35).data(3) for _ in range(2))
    assert len(one) == 32 and one != two
    shown = other_body("sticker")
    outside = protobuf.decode(copy_for_own_devices("1@lid", shown)).message(35).data(3)
    assert len(outside) == 32 and outside == protobuf.decode(shown).message(35).data(3)
    body = read_body(text_body("ya", Quote("3A", "1@lid", "jadi?"), ["62811@s.whatsapp.net"]))
    assert body is not None
    assert (body.text, body.reply_to, body.quoted_text, body.mentions) == (
        "ya",
        "3A",
        "jadi?",
        ("62811@s.whatsapp.net",),
    )
    copy = read_body(copy_for_own_devices("1@lid", text_body("halo")))
    assert copy is not None and (copy.text, copy.destination) == ("halo", "1@lid")
    picture = read_body(other_body("image", "a caption"))
    assert picture is not None and (picture.kind, picture.text) == ("image", "a caption")
    sticker = read_body(copy_for_own_devices("1@lid", other_body("sticker")))
    assert sticker is not None and (sticker.kind, sticker.text, sticker.destination) == ("sticker", "", "1@lid")
    assert read_body(protobuf.encode({12: {2: 6}})) is None


def test_attach_wants_neonize() -> None:
    """Without neonize in the process, or with a key that is none, it says so."""
    with pytest.raises(AttachError, match="32 bytes"):
        attach(b"short")
    code = "from sandbox.attach import attach\nattach(bytes(32))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "import neonize` first" in done.stderr


def test_attach_is_light() -> None:
    """Importing it loads nothing of the server, and no third party's code."""
    code = "import sys, sandbox.attach; print(*sorted(m for m in sys.modules if 'sandbox' in m or m == 'aiohttp'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sandbox", "sandbox.attach", "sandbox.errors"]
