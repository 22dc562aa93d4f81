"""Who holds a session, what its row says, and what of it stands in messages."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import psycopg2
import pytest

from core.errors import StatementRejected
from core.session_rows import Device, FreeConnections, Lease, Pairing
from core.sessions.founding import signs_of_life
from db.session_store import SessionStore
from tests.db.candidates import KEY, Door, candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.database import Database
    from tests.conftest import PostgresServer

DEVICE = Device("628111:7@s.whatsapp.net", "900:7@lid", "Shop", sandbox=True)


@pytest.fixture
async def sessions(db: Database) -> SessionStore:
    return SessionStore(db)


@pytest.fixture
async def door(db: Database) -> Door:
    door = Door(db)
    await door.store.add_tenant("shop", KEY)
    return door


@contextlib.contextmanager
def living(url: str, *processes: int) -> Iterator[None]:
    """These processes show that they live."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            for process in processes:
                cursor.execute("SELECT pg_advisory_lock(process_class(), %s)", (process,))
        connection.commit()
        yield
    finally:
        with connection.cursor() as cursor:  # the server would do it a little after the connection is closed
            cursor.execute("SELECT pg_advisory_unlock_all()")
        connection.close()


async def test_a_lease_is_one_process_s_until_it_ends_or_dies(sessions: SessionStore, database_url: str) -> None:
    """The fence grows with every new holder and with no renewal; time that is over, or a death, frees the session, and
    whoever takes it then knows that it was not given back."""
    with living(database_url, 1, 2):
        for _ in range(2):
            assert await sessions.lease(1, ["shop"], 60) == [Lease("shop", 1, None, sandbox=False)]
        assert await sessions.lease(2, ["shop", "cafe"], 60) == [Lease("cafe", 1, None, sandbox=False)]
        await sessions.lease(1, ["shop"], 0)
        assert await sessions.lease(2, ["shop"], 60) == [Lease("shop", 2, None, sandbox=False, taken_over=True)]
        assert await sessions.lease(2, ["shop"], 60) == [Lease("shop", 2, None, sandbox=False)]
    with living(database_url, 1):
        taken = {lease.tenant: lease.taken_over for lease in await sessions.lease(1, ["shop", "cafe"], 60)}
        assert taken == {"shop": True, "cafe": True}
        await sessions.release(1, None, None)
        assert [lease.taken_over for lease in await sessions.lease(1, ["shop"], 60)] == [False]


async def test_a_463_is_handed_on_with_the_session(sessions: SessionStore, database_url: str) -> None:
    """Who leases it next hears how often in a row and for how long; only its holder says so. The number takes it along
    to another device, and another number begins anew; so does who was refused a day ago."""
    with living(database_url, 1, 2):
        await sessions.lease(1, ["shop"], 60)
        await sessions.bind(1, "shop", DEVICE)
        await sessions.timelocked(1, "shop", 2, 300.0)
        await sessions.timelocked(2, "shop", 9, 9.0)
        await sessions.release(1, ["shop"], None)
        [lease] = await sessions.lease(2, ["shop"], 60)
        assert lease.refusals == 2
        assert 200 < lease.refused_for <= 300
        again, other = (replace(DEVICE, jid=jid) for jid in ("628111:8@s.whatsapp.net", "628999:1@s.whatsapp.net"))
        for device, refusals in ((again, 2), (other, 0)):
            await sessions.bind(2, "shop", device)
            assert [lease.refusals for lease in await sessions.lease(2, ["shop"], 60)] == [refusals]
        for ago, refusals in ((5.0, 1), (86_500.0, 0)):
            await sessions.timelocked(2, "shop", 1, -ago)
            [lease] = await sessions.lease(2, ["shop"], 60)
            assert (lease.refusals, lease.refused_for) == (refusals, 0.0)


async def test_supervisors_show_that_they_live(sessions: SessionStore, database_url: str) -> None:
    """By the connection that says so; whoever dies is gone at once."""
    connections = [psycopg2.connect(database_url) for _ in range(2)]
    for number, connection in enumerate(connections, 1):
        for sql, parameters in signs_of_life(number):
            connection.cursor().execute(sql, parameters)
    assert await sessions.supervisors() == {1, 2}
    for connection in connections:
        connection.close()
    while await sessions.supervisors():
        await asyncio.sleep(0.01)


async def test_many_who_want_one_session_get_it_once(sessions: SessionStore, database_url: str) -> None:
    """Whatever the order in which they name the tenants, nobody waits for ever."""
    tenants = [f"t{number}" for number in range(20)]
    with living(database_url, *range(1, 9)):
        wishes = [sessions.lease(process, tenants[:: 1 if process % 2 else -1], 60) for process in range(1, 9)]
        given = [lease.tenant for leases in await asyncio.gather(*wishes) for lease in leases]
    assert sorted(given) == sorted(tenants)


@pytest.mark.parametrize(
    ("state", "why", "after"),
    [
        ("connected", "died", ("disconnected", "died")),
        ("restricted", "died", ("disconnected", "died")),
        ("connecting", "died", ("disconnected", "died")),
        ("connecting", None, ("connecting", "before")),
        ("replaced", "died", ("replaced", "before")),
        ("client_outdated", "died", ("client_outdated", "before")),
    ],
)
async def test_a_released_session_works_no_more(
    sessions: SessionStore, state: str, why: str | None, after: tuple[str, str]
) -> None:
    """What worked does so no more, with the reason; a state that waits for somebody stays as it is."""
    await sessions.lease(1, ["shop"], 60)
    await sessions.bind(1, "shop", DEVICE)
    await sessions.changed(1, "shop", state, "before")  # type: ignore[arg-type]
    assert await sessions.release(2, None, "not mine") == []
    assert await sessions.release(1, None, why) == ["shop"]
    [row] = await sessions.sessions("shop")
    assert (row.state, row.reason) == after
    assert (row.process, row.held) == (None, False)


async def test_pairing_that_is_released_shows_no_code_any_more(sessions: SessionStore) -> None:
    """Unpaired with the reason: a code is worth nothing without the process that waits for the phone."""
    await sessions.lease(1, ["shop"], 60)
    await sessions.changed(1, "shop", "pairing", None, Pairing("a QR"))
    [row] = await sessions.sessions("shop")
    assert row.pairing == Pairing("a QR")
    await sessions.release(1, ["shop"], "the process that was pairing died; ask for a new code")
    [row] = await sessions.sessions("shop")
    assert (row.state, row.pairing) == ("unpaired", None)
    assert "died" in (row.reason or "")


async def test_only_the_holder_may_write(sessions: SessionStore, database_url: str) -> None:
    """Who has lost the lease changes nothing any more: neither state nor device."""
    with living(database_url, 1, 2):
        await sessions.lease(1, ["shop"], 0)
        await sessions.lease(2, ["shop"], 60)
        assert not await sessions.changed(1, "shop", "connected", None)
        assert not await sessions.bind(1, "shop", DEVICE)
        assert not await sessions.unbind(1, "shop")
        assert await sessions.changed(2, "shop", "connecting", None)


async def test_one_device_is_one_tenant_s(sessions: SessionStore, db: Database) -> None:
    """A row that names another tenant's device is refused; a number's device that is given anew has left its old
    tenant, who is told so."""
    await sessions.lease(1, ["cafe", "shop"], 60)
    await sessions.bind(1, "shop", DEVICE)
    with pytest.raises(StatementRejected, match="23505"):
        await db.execute("UPDATE sessions SET jid = %s WHERE tenant_id = 'cafe'", (DEVICE.jid,))
    assert await sessions.bind(1, "cafe", DEVICE)
    assert await sessions.bind(1, "cafe", DEVICE)
    rows = {row.tenant: row for row in await sessions.sessions()}
    assert (rows["cafe"].jid, rows["shop"].jid) == (DEVICE.jid, None)
    assert rows["shop"].state == "unpaired"
    assert "another tenant" in (rows["shop"].reason or "")


async def test_who_does_not_hold_the_session_takes_no_device(sessions: SessionStore, database_url: str) -> None:
    """A bind that comes too late does not cost another tenant its device."""
    await sessions.lease(1, ["shop"], 60)
    await sessions.bind(1, "shop", DEVICE)
    assert not await sessions.bind(2, "cafe", DEVICE)
    assert [row.jid for row in await sessions.sessions()] == [DEVICE.jid]


async def test_a_claimed_message_names_its_process_and_fence(door: Door, sessions: SessionStore, db: Database) -> None:
    """The fence is that of the session which sends it; a tenant without a session has none."""
    other = "sha256:" + "1" * 64
    await door.store.add_tenant("dry", other)
    await sessions.lease(1, ["shop"], 0)
    await sessions.lease(7, ["shop"], 60)
    await door.admit(candidate(), msgspec.structs.replace(candidate(tenant="dry"), key=other))
    for tenant in ("shop", "dry"):
        assert await door.store.claim(tenant, 7) is not None
    rows = await db.fetch("SELECT tenant_id, status, process, fence FROM messages ORDER BY tenant_id DESC", ())
    assert [tuple(row) for row in rows] == [("shop", "sending", 7, 2), ("dry", "sending", 7, None)]


async def test_a_message_that_did_not_leave_has_neither_process_nor_fence(
    door: Door, sessions: SessionStore, db: Database
) -> None:
    """It stands in its line again, and only who claimed it may put it there."""
    await sessions.lease(7, ["shop"], 60)
    [outcome] = await door.admit(candidate())
    await door.store.claim("shop", 7)
    await door.store.requeue(outcome.message_id, 8, "not mine")
    assert await door.store.claim("shop", 8) is None
    await door.store.requeue(outcome.message_id, 7, "not_connected")
    [row] = await db.fetch("SELECT status, process, fence, claimed_at FROM messages", ())
    assert tuple(row) == ("queued", None, None, None)
    assert await door.store.claim("shop", 8) is not None
    await door.check_books()


async def test_commands_go_to_whoever_can_carry_them_out(sessions: SessionStore, database_url: str) -> None:
    """To the holder's supervisor, or to anybody when nobody alive holds the session; once; not after their time."""
    with living(database_url, 1):
        await sessions.lease(1, ["shop"], 60)
        held = await sessions.call("shop", "reconnect", {}, 60)
        free = await sessions.call("cafe", "pair", {"number": "628111"}, 60)
        await sessions.call("cafe", "pair", {}, 0)
        assert [command.id for command in await sessions.claim_commands(200, [201])] == [free]
        assert [command.id for command in await sessions.claim_commands(100, [1])] == [held]
        assert await sessions.claim_commands(100, [1]) == []
        orphan = await sessions.call("shop", "reconnect", {}, 60)
    assert [command.id for command in await sessions.claim_commands(200, [201])] == [orphan]
    assert await sessions.result(held) is None
    await sessions.answer(held, {})
    assert await sessions.result(held) == {}


async def test_receipts_never_take_anything_back(door: Door, sessions: SessionStore, db: Database) -> None:
    """Read stays read when a late "delivered" comes; what was unknown is known; ids of nobody's are told apart."""
    [outcome] = await door.admit(candidate())
    message = await door.claim()
    assert message is not None
    await door.sent(message)
    await db.execute("UPDATE messages SET wa_id = '3EB0', status = 'unknown' WHERE id = %s", (outcome.message_id,))
    assert await sessions.acked("shop", ["3EB0", "OTHER"], "read", 1) == {"3EB0"}
    assert await sessions.acked("shop", ["3EB0"], "delivered", 1) == {"3EB0"}
    assert await sessions.acked("cafe", ["3EB0"], "played", 1) == set()
    [row] = await db.fetch("SELECT status FROM messages", ())
    assert row[0] == "read"


async def test_connections_that_are_free(sessions: SessionStore, database_url: str, postgres: PostgresServer) -> None:
    """Every connection of anybody takes one away, a limit of the database's counts too, and each process that listens
    is counted."""
    before = await sessions.free_connections()
    assert 0 < before.free < before.total
    limit, name = 40, urlsplit(database_url).path.removeprefix("/")
    postgres.run(f"ALTER DATABASE {name} CONNECTION LIMIT {limit}")
    alone = await sessions.free_connections()
    assert (alone.total, alone.processes) == (limit, 0)
    listening = [psycopg2.connect(database_url, application_name="gapura-session-listener") for _ in range(2)]
    try:
        assert await sessions.free_connections() == FreeConnections(alone.free - 2, limit, 2)
    finally:
        for connection in listening:
            connection.close()
