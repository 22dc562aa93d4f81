"""One tenant's session over a client that does what the test says: as whom, when, and what its row is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from core.clock import Clock
from core.errors import DatabaseUnavailable, OpenFailed, SendFailed
from core.model import Outgoing
from core.session_rows import Lease
from core.sessions.session import Session
from core.transport.base import Sent
from core.transport.wire import (
    AskedAgain,
    ClientOutdated,
    Connected,
    Disconnected,
    Ended,
    Identity,
    LoggedOut,
    LoginRefused,
    PhoneSeen,
    Received,
    Replaced,
    TemporaryBan,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from core.sessions.surroundings import OnEvent, Surroundings

JID = "628111:7@s.whatsapp.net"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
MESSAGE = Outgoing(id="m", tenant="shop", to="628222", content="hi", expires_at=datetime(2030, 1, 1, tzinfo=UTC))


class QuickClock(Clock):
    """Sleeps are remembered and over at once; `at` is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class FakeClient:
    """Opens unless told otherwise, and is logged in as `jid`."""

    def __init__(self, device: str, on_event: OnEvent, failures: list[str]) -> None:
        self.jid, self.tell_now, self._failures = device, on_event, failures
        self.closed = False
        self.answers: list[Exception | str] = []

    async def open(self) -> None:
        await asyncio.sleep(0)
        if self._failures:
            raise OpenFailed(self._failures.pop(0))

    async def close(self, within: float) -> bool:
        await asyncio.sleep(0)
        self.closed = True
        return True

    async def identity(self) -> Identity:
        return Identity(self.jid, "", "")

    async def send(self, to: str, text: str, **_: Any) -> Sent:
        answer = self.answers.pop(0) if self.answers else "3EB0"
        if isinstance(answer, Exception):
            raise answer
        return Sent(answer, datetime.now(UTC))

    async def logout(self) -> None:
        await asyncio.sleep(0)

    async def tell(self, event: Any) -> None:
        """An event of the library's, handled to its end."""
        answer = self.tell_now(event)
        if answer is not None:
            await answer


class World:
    """The Surroundings and the store in one, and all that they were told."""

    process, sandbox, timelock_pause = 1, False, 60.0

    def __init__(self) -> None:
        self.clock, self.turn = QuickClock(), asyncio.Lock()
        self.store = self.intake = self.logins = self
        self.clients: list[FakeClient] = []
        self.failures: list[str] = []
        self.states: list[tuple[str, str | None]] = []
        self.usables = self.rested = self.unbound = self.lost_leases = 0
        self.given_up: list[str] = []
        self.openings: list[bool] = []
        self.devices, self.away = {JID}, False
        self.heard_from: set[str] = set()
        self.seen = 0
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.unserved: set[str] = set()
        self.alarms: list[str] = []
        self.timelocks: list[tuple[int, float]] = []

    def client(self, tenant: str, device: str | None, fence: int, on_event: OnEvent) -> FakeClient:
        self.clients.append(FakeClient(device or "", on_event, self.failures))
        return self.clients[-1]

    def opening(self, tenant: str, *, over: bool) -> None:
        self.openings.append(over)

    def usable(self, tenant: str) -> None:
        self.usables += 1

    def rests(self, tenant: str) -> None:
        self.rested += 1

    def lost(self, tenant: str) -> None:
        self.lost_leases += 1

    def give_up(self, why: str) -> None:
        self.given_up.append(why)

    async def changed(self, process: int, tenant: str, state: str, reason: str | None, pairing: object) -> bool:
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailable("away")
        self.states.append((state, reason))
        return True

    async def device_exists(self, jid: str) -> bool:
        return jid in self.devices

    async def unfit(self, tenant: str, jid: str) -> tuple[str, str] | None:
        return None if jid in self.devices else ("unpaired", "its login is not in the database")

    async def asked_again(self, tenant: str, wa_ids: tuple[str, ...], served: tuple[str, ...]) -> list[str]:
        if self.away:
            raise DatabaseUnavailable("away")
        self.asked.append((wa_ids, served))
        return list(self.unserved - set(served))

    async def unbind(self, process: int, tenant: str) -> bool:
        self.unbound += 1
        return True

    async def take(self, tenant: str, event: object) -> None:
        """What comes in is written elsewhere."""

    async def timelocked(self, process: int, tenant: str, refusals: int, seconds: float) -> None:
        self.timelocks.append((refusals, seconds))

    async def phone_seen(self, process: int, tenant: str) -> None:
        self.seen += 1

    async def raise_alarm(self, name: str, words: str) -> bool:
        self.alarms.append(name)
        return len(self.alarms) == 1

    async def clear_alarm(self, name: str) -> None:
        self.alarms.clear()

    async def has_heard_from(self, tenant: str, to: str) -> bool:
        if self.away:
            raise DatabaseUnavailable("away")
        return to in self.heard_from

    async def quoted(self, tenant: str, wa_id: str) -> None:
        if self.away:
            raise DatabaseUnavailable("away")

    def session(self, jid: str | None = JID, *, sandbox: bool = False) -> Session:
        return Session(Lease("shop", 1, jid, sandbox), cast("Surroundings", self))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[Session, FakeClient]]:
        """A session that is logged in; closed at the end."""
        session = self.session()
        session.open()
        await until(lambda: bool(self.openings) and self.openings[-1])
        await self.clients[-1].tell(Connected())
        assert session.status.state == "connected"
        try:
            yield session, self.clients[-1]
        finally:
            await session.close()


@pytest.fixture
async def world(loop: asyncio.AbstractEventLoop) -> World:
    return World()


async def until(true: Callable[[], bool]) -> None:
    """Let the others run until it is so."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happens")


@pytest.mark.parametrize(
    ("jid", "sandbox", "state"),
    [
        (None, False, "unpaired"),
        ("628999:1@s.whatsapp.net", False, "unpaired"),
        (JID, True, "disconnected"),
    ],
)
async def test_what_must_not_be_opened_is_never_given_to_the_library(
    world: World, jid: str | None, sandbox: bool, state: str
) -> None:
    """No device, one that is not in the store, one of another WhatsApp: it rests with the reason, and no client is
    made."""
    session = world.session(jid, sandbox=sandbox)
    session.open()
    await until(lambda: world.rested == 1)
    assert session.status.state == state
    assert session.status.reason
    assert world.clients == []


async def test_a_login_as_somebody_else_is_closed(world: World) -> None:
    """Nothing goes out of a number that is not the tenant's."""
    session = world.session()
    session.open()
    await until(lambda: world.openings == [False, True])
    world.clients[0].jid = "628999:1@s.whatsapp.net"
    await world.clients[0].tell(Connected())
    assert not session.ready
    await until(lambda: world.rested == 1)
    assert world.clients[0].closed
    assert "628999:1" in (session.status.reason or "")


@pytest.mark.parametrize(
    ("event", "state", "unbound"),
    [
        (LoggedOut(401, on_connect=False), "logged_out", 1),
        (LoggedOut(406, on_connect=True), "banned", 1),
        (TemporaryBan(101, None), "banned", 0),
        (ClientOutdated(), "client_outdated", 0),
    ],
)
async def test_an_end_is_final_whatever_the_library_says_next(
    world: World, event: Any, state: str, unbound: int
) -> None:
    """From that moment nothing is sent; the loop of the library that ends after it does not open it again."""
    async with world.connected() as (session, client):
        await client.tell(event)
        assert not session.ready
        await client.tell(Ended("the library's loop ended"))
        await client.tell(Connected())
        await until(lambda: world.rested == 1)
        assert session.status.state == state
        assert (len(world.clients), world.unbound, client.closed) == (1, unbound, True)


async def test_a_login_that_is_refused_again_and_again_is_tried_more_and_more_rarely(world: World) -> None:
    """503 every time: a busy WhatsApp is not asked every two seconds for ever."""
    async with world.connected():
        for number in range(2, 6):
            await world.clients[-1].tell(LoginRefused(503))
            await until(lambda n=number: len(world.clients) == n and len(world.openings) == 2 * n)
        assert world.clock.slept == [2.0, 5.0, 15.0, 60.0]


async def test_who_took_a_session_over_comes_back_when_it_is_replaced(world: World) -> None:
    """Three times in ten minutes, after growing pauses: its former holder may have been about to connect. The fourth
    time, and for who did not take it from anybody, it rests."""
    session = Session(Lease("shop", 2, JID, sandbox=False, taken_over=True), cast("Surroundings", world))
    session.open()
    for times in range(1, 5):
        await until(lambda n=times: len(world.openings) == 2 * n)
        await world.clients[-1].tell(Connected())
        assert session.status.state == "connected"
        await world.clients[-1].tell(Replaced())
        assert not session.ready
    await until(lambda: world.rested == 1)
    assert session.status.state == "replaced"
    assert (len(world.clients), world.clock.slept) == (4, [2.0, 5.0, 15.0])


@pytest.mark.parametrize(("taken_over", "seconds"), [(False, 0), (True, 600)])
async def test_who_is_replaced_otherwise_rests(world: World, taken_over: bool, seconds: float) -> None:
    """Nobody was there before, or it is long ago: somebody else uses the login, and would be thrown out for ever."""
    session = Session(Lease("shop", 2, JID, sandbox=False, taken_over=taken_over), cast("Surroundings", world))
    session.open()
    await until(lambda: world.openings == [False, True])
    await world.clients[-1].tell(Connected())
    world.clock.at += seconds
    await world.clients[-1].tell(Replaced())
    await until(lambda: world.rested == 1)
    assert session.status.state == "replaced"


async def test_a_lease_that_is_another_s_by_now_is_told(world: World) -> None:
    """The library was refused by the fence: the message has not left, and the session is let go."""
    async with world.connected() as (session, client):
        client.answers = [SendFailed("lease_lost", retry=True)]
        with pytest.raises(SendFailed):
            await session.send(MESSAGE)
        assert world.lost_leases == 1


async def test_the_row_tells_what_holds_last(world: World) -> None:
    """States that change while PostgreSQL is away do not overtake each other: the last one is written."""
    async with world.connected() as (session, client):
        world.away = True
        down = asyncio.create_task(client.tell(Disconnected("cut")))
        await until(lambda: session.status.state == "disconnected")
        up = asyncio.create_task(client.tell(Connected()))
        await until(lambda: session.status.state == "connected")
        world.away = False
        await asyncio.gather(down, up)
        assert world.states[-1] == ("connected", None)


async def test_what_a_suspended_client_says_is_no_news(world: World) -> None:
    """PostgreSQL is away and the socket was dropped: a Connected that was under way makes nothing usable."""
    async with world.connected() as (session, client):
        session.suspend()
        await client.tell(Connected())
        assert session.status.reason == "PostgreSQL is away"
        assert not session.ready
        assert world.usables == 1
        session.open()
        await until(lambda: len(world.clients) == 2 and world.openings[-1])
        assert client.closed


async def test_a_quote_that_cannot_be_looked_up_leaves_the_message_in_its_line(world: World) -> None:
    """It has not left: it is tried again, and not held as unknown."""
    async with world.connected() as (session, _):
        world.away = True
        with pytest.raises(SendFailed) as failure:
            await session.send(
                Outgoing(id="m", tenant="shop", to="1", content="x", expires_at=MESSAGE.expires_at, reply_to="3EB0")
            )
        assert (failure.value.retry, failure.value.left) == (True, False)
        world.away = False


async def test_463_lets_a_new_conversation_try_now_and_then_also_after_a_reconnect(world: World) -> None:
    """Held for the first pause and five times as long after the second refusal, which is told with the refusal; a new
    connection changes nothing; the first new conversation that begins lifts it."""
    async with world.connected() as (session, client):
        client.answers = [SendFailed("reach_out_timelock"), SendFailed("reach_out_timelock"), "3EB0"]
        for pause in (60, 300):
            with pytest.raises(SendFailed) as refused:
                await session.send(MESSAGE)
            assert (refused.value.retry, refused.value.pause) == (True, pause)
            assert session.status.state == "restricted"
            world.clock.at += pause - 1
            assert (session.ready, session.known_only) == (True, True)
            await client.tell(Disconnected())
            await client.tell(Connected())
            assert session.status.state == "restricted"
            assert session.known_only
            world.clock.at += 1
            assert not session.known_only
        await session.send(MESSAGE)
        assert session.status.state == "connected"
        assert not session.known_only
    assert world.timelocks == [(1, 60), (2, 300), (0, 0)]


async def test_who_takes_a_session_over_goes_on_with_its_463(world: World) -> None:
    """It is `restricted` as soon as it is connected, tries no new conversation before the time that its last holder was
    given, and the next refusal is one more of the same row."""
    lease = Lease("shop", 2, JID, sandbox=False, refusals=1, refused_for=50.0)
    session = Session(lease, cast("Surroundings", world))
    session.open()
    await until(lambda: bool(world.openings) and world.openings[-1])
    await world.clients[-1].tell(Connected())
    assert session.status.state == "restricted"
    assert "463" in (session.status.reason or "")
    world.clock.at += 49
    assert session.known_only
    world.clock.at += 1
    assert not session.known_only
    world.clients[-1].answers = [SendFailed("reach_out_timelock")]
    with pytest.raises(SendFailed) as refused:
        await session.send(MESSAGE)
    assert refused.value.pause == 300
    assert world.timelocks == [(2, 300)]
    await session.close()


async def test_what_goes_to_old_acquaintances_says_nothing_about_new_conversations(world: World) -> None:
    """Answers, and messages to who has written before, go while WhatsApp refuses others: that they do lifts nothing.
    While PostgreSQL cannot say who has written, nothing is taken for lifted."""
    async with world.connected() as (session, client):
        client.answers = [SendFailed("reach_out_timelock")]
        with pytest.raises(SendFailed):
            await session.send(MESSAGE)
        await session.send(replace(MESSAGE, answers="3EB0"))
        world.heard_from = {MESSAGE.to}
        await session.send(MESSAGE)
        world.heard_from, world.away = set(), True
        await session.send(MESSAGE)
        world.away = False
        assert session.status.state == "restricted"


async def test_a_ban_that_ends_is_sat_out(world: World) -> None:
    """Not a moment too early, and each time later when WhatsApp bans it again; the state says so meanwhile, and the
    session is not given away. One without an end rests."""
    until_then = world.clock.now() + timedelta(hours=2)
    session = world.session()
    session.open()
    for times in (1, 2):
        await until(lambda: world.openings.count(True) >= times)  # noqa: B023 - asked at once
        await world.clients[-1].tell(TemporaryBan(101, until_then))
        await until(lambda: len(world.clients) > times)  # noqa: B023
    first, second = (seconds - 7200 for seconds in world.clock.slept if seconds > 3600)
    assert 0 < first <= 20
    assert 290 <= second <= 600
    assert [state for state, _ in world.states].count("banned") == 2
    assert world.rested == 0
    await until(lambda: world.openings.count(True) == 3)
    await world.clients[-1].tell(TemporaryBan(None, None))
    await until(lambda: world.rested == 1)
    await session.close()


async def test_an_outdated_client_is_said_aloud_once_until_one_connects(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It concerns everybody: whoever writes the alarm down first says it."""
    for times in (1, 2):
        session = world.session()
        session.open()
        await until(lambda: world.openings.count(True) >= times)  # noqa: B023 - asked at once
        await world.clients[-1].tell(ClientOutdated())
        await until(lambda: world.rested == times)  # noqa: B023
        await session.close()
    assert [record.levelname for record in caplog.records if "405" in record.message].count("CRITICAL") == 1
    assert world.alarms == ["client_outdated"] * 2
    world.openings.clear()
    async with world.connected():
        assert world.alarms == []


async def test_signs_of_the_phone_are_written_down_once_an_hour(world: World) -> None:
    """Its receipts, and what is written on it; what another linked device does is no sign of it."""
    written = Received(id="A", chat="628222", sender="628111", content="hi", at=NOW, from_me=True, from_phone=True)
    async with world.connected() as (_, client):
        await client.tell(replace(written, from_phone=False))
        assert world.seen == 0
        await client.tell(PhoneSeen())
        await client.tell(written)
        assert world.seen == 1
        world.clock.at += 3600
        await client.tell(written)
        assert world.seen == 2


async def test_a_client_that_the_library_never_lets_go_ends_the_process(world: World) -> None:
    """It could not be opened again in this process, by nobody."""
    world.failures = ["already_open"] * 50
    session = world.session()
    session.open()
    await until(lambda: len(world.clients) > 2)
    assert world.given_up == []
    world.clock.at += 301
    await until(lambda: bool(world.given_up))
    await session.close()


async def test_a_session_that_was_closed_does_nothing_more(world: World) -> None:
    """A timer or an order that comes late opens nothing that nobody would close."""
    async with world.connected() as (session, _):
        pass
    session.open()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(world.clients) == 1


async def test_who_logs_out_meanwhile_hears_the_same(world: World) -> None:
    """Two at once unlink the device once, and neither is answered before it is written that there is none; a third one
    who comes later as well."""
    async with world.connected() as (session, client):
        asked: list[None] = []

        async def logout() -> None:
            asked.append(None)
            await asyncio.sleep(0)

        async def logs_out() -> tuple[int, str]:
            await session.logout()
            return world.unbound, world.states[-1][0]

        client.logout = logout  # type: ignore[method-assign]
        assert set(await asyncio.gather(logs_out(), logs_out())) == {(1, "logged_out")}
        assert await logs_out() == (1, "logged_out")
        assert len(asked) == 1


async def test_a_logout_that_failed_can_be_asked_for_again(world: World) -> None:
    """All who wait for it hear why; the next one tries anew."""
    async with world.connected() as (session, client):

        async def fails() -> None:
            raise SendFailed("disconnected", retry=True)

        client.logout, works = fails, client.logout  # type: ignore[method-assign]
        refusals = await asyncio.gather(session.logout(), session.logout(), return_exceptions=True)
        assert [str(refused) for refused in refusals] == ["disconnected"] * 2
        assert session.ready
        client.logout = works  # type: ignore[method-assign]
        await session.logout()
        assert session.status.state == "logged_out"


async def test_a_removed_tenants_phone_hears_of_it_before_its_session_is_closed(world: World) -> None:
    """Two are told at once that the tenant is gone: who forgets its login, and who closes its session."""
    async with world.connected() as (session, client):
        said: list[bool] = []

        async def logout() -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            said.append(client.closed)

        client.logout = logout  # type: ignore[method-assign]
        await asyncio.gather(session.forget(), session.close())
        assert (said, client.closed) == ([False], True)


async def test_what_the_present_client_has_sent_the_library_sends_again_by_itself(world: World) -> None:
    """From the moment in which it is handed over, before WhatsApp's answer; of the last 256 messages. Nothing is queued
    for it, and a new client remembers nothing."""
    async with world.connected() as (session, client):
        usables, world.unserved = world.usables, {"m"}

        async def asks(to: str, text: str, **_: Any) -> Sent:
            await client.tell(AskedAgain(("3EB0",)))
            return Sent("3EB0", NOW)

        client.send = asks  # type: ignore[method-assign]
        await session.send(MESSAGE)
        assert (world.asked, world.usables) == ([(("3EB0",), ("m",))], usables)
        for number in range(256):
            await session.send(replace(MESSAGE, id=str(number)))
        assert [len(world.asked[-1][1]), "m" in world.asked[-1][1]] == [256, False]
        session.open()
        await until(lambda: world.openings[2:] == [False, True])
        await world.clients[-1].tell(AskedAgain(("3EB0",)))
        assert world.asked[-1] == (("3EB0",), ())


async def test_what_nobody_remembers_is_queued_and_the_sender_hears_of_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """While PostgreSQL is away the request waits."""
    async with world.connected() as (_, client):
        usables, world.unserved, world.away = world.usables, {"m"}, True
        asking = asyncio.ensure_future(cast("Any", client.tell(AskedAgain(("3EB0",)))))
        await until(lambda: bool(world.clock.slept))
        assert (world.asked, world.usables) == ([], usables)
        world.away = False
        await asking
        assert (len(world.asked), world.usables) == (1, usables + 1)
    assert [
        record.__dict__["tenant"] for record in caplog.records if record.__dict__.get("action") == "send.asked_again"
    ] == ["shop"]
