"""What happens to a session's connection, with the real neonize: each end has its event, and its send errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.conftest import Refused, until

if TYPE_CHECKING:
    from tests.wire.conftest import ClientProcess, Wire

SHOP, CAROL = "628111111111", "628777777777"


class Shop:
    """A tenant that was paired, and the process it lives in."""

    def __init__(self, wire: Wire, process: ClientProcess, jid: str) -> None:
        self.wire, self.process, self.jid = wire, process, jid
        self.device = int(jid.partition(":")[2].partition("@")[0])

    async def reopened(self) -> None:
        await self.process.ask("close", "shop")
        self.process.events.clear()
        await self.process.ask("open", "shop", device=self.jid)

    async def fails_to_send(self) -> Refused:
        """The error of the first send that fails: the library's socket may outlive by a moment what ended it."""
        with pytest.raises(Refused) as caught:
            while True:
                await self.process.ask("send", "shop", to=CAROL, text="halo")
        return caught.value


@pytest.fixture
async def shop(wire: Wire) -> Shop:
    """A paired tenant, online, and a customer."""
    process = await wire.process()
    jid = await wire.pair(process, "shop", SHOP)
    wire.sandbox.phone(CAROL, "Carol")
    return Shop(wire, process, jid)


async def test_a_stored_device_is_opened_again_without_a_code(shop: Shop) -> None:
    """After a close its jid opens it: Connected, the same identity, no QR."""
    await shop.reopened()
    await shop.process.event("Connected", "shop")
    assert (await shop.process.ask("identity", "shop"))["jid"] == shop.jid
    assert "QrShown" not in shop.process.kinds("shop")
    await shop.process.ask("send", "shop", to=CAROL, text="kembali")
    assert (await shop.wire.sandbox.phones[CAROL].next()).text == "kembali"


async def test_a_dropped_socket_is_told_and_the_library_comes_back(shop: Shop) -> None:
    """Disconnected, then Connected without anybody's doing; then sends work."""
    await shop.wire.sandbox.drop(SHOP, shop.device)
    await shop.process.event("Disconnected", "shop")
    await shop.process.event("Connected", "shop", skip=1)
    await shop.process.ask("send", "shop", to=CAROL, text="lagi")
    assert (await shop.wire.sandbox.phones[CAROL].next()).text == "lagi"


async def test_messages_of_the_time_away_arrive_after_the_reconnect(shop: Shop) -> None:
    """What was said while the session was closed waits at WhatsApp."""
    await shop.process.ask("close", "shop")
    await shop.wire.sandbox.phones[CAROL].send(SHOP, "buka?")
    shop.process.events.clear()
    await shop.process.ask("open", "shop", device=shop.jid)
    assert (await shop.process.event("Received", "shop"))["content"] == "buka?"


@pytest.mark.parametrize("code", [401, 403, 406])
async def test_a_refused_login_that_logs_out_tells_its_code_and_deletes_the_device(shop: Shop, code: int) -> None:
    """LoggedOut with WhatsApp's code; the device's row is gone, so that it must not be opened again."""
    shop.wire.sandbox.refuse_logins(SHOP, code)
    await shop.reopened()
    told = await shop.process.event("LoggedOut", "shop")
    assert (told["code"], told["on_connect"]) == (code, True)
    await until(lambda: shop.wire.devices() == [])
    failure = await shop.fails_to_send()
    assert (failure.left, failure.retry) == (False, True)
    assert failure.cause in ("not_logged_in", "database")  # the latter while the rows are being deleted


@pytest.mark.parametrize(
    ("code", "kind", "fields"),
    [(405, "ClientOutdated", {}), (402, "TemporaryBan", {"code": 101}), (400, "LoginRefused", {"code": 400})],
)
async def test_a_refused_login_keeps_the_device(shop: Shop, code: int, kind: str, fields: dict[str, Any]) -> None:
    """Outdated, banned for a while, refused for another reason: each has its event, and the device stays."""
    shop.wire.sandbox.refuse_logins(SHOP, code)
    await shop.reopened()
    told = await shop.process.event(kind, "shop")
    assert told.items() >= fields.items()
    assert shop.wire.devices() == [shop.jid]
    failure = await shop.fails_to_send()
    assert (failure.cause, failure.left, failure.retry) == ("disconnected", False, True)


async def test_a_login_refused_with_503_is_repeated_by_the_library(shop: Shop) -> None:
    """WhatsApp is busy: the library tries again by itself until it is in."""
    shop.wire.sandbox.refuse_logins(SHOP, 503, 1)
    await shop.reopened()
    await shop.process.event("Connected", "shop")


async def test_a_device_removed_on_the_phone_is_logged_out(shop: Shop) -> None:
    """LoggedOut 401, not at a login; the row is gone."""
    await shop.wire.sandbox.unlink(SHOP, shop.device)
    told = await shop.process.event("LoggedOut", "shop")
    assert (told["code"], told["on_connect"]) == (401, False)
    await until(lambda: shop.wire.devices() == [])
    failure = await shop.fails_to_send()
    assert (failure.left, failure.retry) == (False, True)


async def test_a_replaced_session_is_told_and_stays_away(shop: Shop) -> None:
    """Replaced, no reconnect: two processes with one session would throw each other out for ever."""
    await shop.wire.sandbox.replace(SHOP, shop.device)
    await shop.process.event("Replaced", "shop")
    await shop.fails_to_send()  # it may have been under way when the socket went
    failure = await shop.fails_to_send()
    assert (failure.cause, failure.left, failure.retry) == ("disconnected", False, True)
    assert shop.process.kinds("shop").count("Connected") == 1
    assert not shop.wire.sandbox.is_online(SHOP, shop.device)
    assert shop.wire.devices() == [shop.jid]


async def test_logging_out_unlinks_the_device_and_deletes_its_row(shop: Shop) -> None:
    """No event tells of it: the caller knows."""
    await shop.process.ask("logout", "shop")
    assert shop.wire.devices() == []
    assert shop.wire.sandbox.devices(SHOP) == []
    await shop.process.ask("close", "shop")


async def test_a_send_whose_socket_is_cut_is_repeated_by_the_library_on_the_next(shop: Shop) -> None:
    """The frame left, its ack did not come, the socket broke: the library sends the same frame again, and the phone
    has the message once."""
    await shop.process.ask("send", "shop", to=CAROL, text="pertama")
    await shop.wire.sandbox.phones[CAROL].next()
    shop.wire.sandbox.hold_acks(SHOP, True)
    sending = shop.process.order("send", "shop", to=CAROL, text="kedua")
    await shop.wire.sandbox.phones[CAROL].next()
    shop.wire.sandbox.hold_acks(SHOP, False)
    await shop.wire.sandbox.drop(SHOP, shop.device)
    answer = await sending
    assert "ok" in answer or (answer["cause"], answer["left"]) == ("disconnected", True)


async def test_a_send_that_nobody_acknowledged_before_the_session_was_replaced_may_have_left(shop: Shop) -> None:
    """The library cannot know: `left` is true."""
    shop.wire.sandbox.hold_acks(SHOP, True)
    sending = shop.process.order("send", "shop", to=CAROL, text="sampai?")
    await shop.wire.sandbox.phones[CAROL].next()
    await shop.wire.sandbox.replace(SHOP, shop.device)
    answer = await sending
    assert (answer["error"], answer["cause"], answer["left"]) == ("SendFailed", "disconnected", True)
