"""Conversations that the library cannot load are found before it loads them, and no other is touched."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from core.sessions.logins import Logins
from core.transport.whatsapp.database import STORE_VERSION
from db.database import Database
from db.login_store import MIRRORED, LoginStore
from tests.baileys_vectors import login
from tests.conftest import PATIENT
from tests.db.whatsmeow_store import PUBLIC, SECRET, Store, record

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from tests.conftest import PostgresServer

JID = "628111111111:7@s.whatsapp.net"

Change = "Callable[[dict[str, Any]], object]"
WHOLE: dict[str, Change] = {
    "as it is": lambda _: None,
    "no earlier state": lambda it: it.update(PreviousStates=None),
    "nothing was received": lambda it: it["SessionState"].update(ReceiverChains=[]),
    "chains are null": lambda it: it["SessionState"].update(ReceiverChains=None),
    "a spent chain": lambda it: it["SessionState"]["ReceiverChains"][0].update(ChainKey={"Key": "", "Index": 0}),
    "skipped keys": lambda it: it["SessionState"]["ReceiverChains"][0].update(MessageKeys=[{"Index": 1}]),
    "unanswered": lambda it: it["SessionState"].update(
        PendingPreKey={"PreKeyID": {"Value": 2, "IsEmpty": False}, "SignedPreKeyID": 1, "BaseKey": PUBLIC}
    ),
}
DAMAGED: dict[str, Change] = {
    "no sender chain": lambda it: it["SessionState"].pop("SenderChain"),
    "a null sender chain": lambda it: it["SessionState"].update(SenderChain=None),
    "an empty sender chain": lambda it: it["SessionState"].update(SenderChain={}),
    "a short ratchet key": lambda it: it["SessionState"]["SenderChain"].update(SenderRatchetKeyPublic="BQ=="),
    "a sender chain without key": lambda it: it["SessionState"]["SenderChain"].pop("ChainKey"),
    "a null among receiving chains": lambda it: it["SessionState"].update(ReceiverChains=[None]),
    "receiving chains of no list": lambda it: it["SessionState"].update(ReceiverChains={}),
    "a null among skipped keys": lambda it: it["SessionState"]["ReceiverChains"][0].update(MessageKeys=[None]),
    "no identity": lambda it: it["SessionState"].update(RemoteIdentityPublic=None),
    "no root": lambda it: it["SessionState"].pop("RootKey"),
    "half of a pre-key": lambda it: it["SessionState"].update(PendingPreKey={"SignedPreKeyID": 1}),
    "no state": lambda it: it.update(SessionState=None),
    "an earlier state without sender chain": lambda it: it["PreviousStates"][0].pop("SenderChain"),
    "a null earlier state": lambda it: it.update(PreviousStates=[None]),
    "earlier states of no list": lambda it: it.update(PreviousStates="x"),
    "nothing": lambda it: it.clear(),
}
UNREADABLE = (b"", b"\x00\xff", b'{"SessionState"', b"[]", b"null", b'{"SessionState":"\\u0000"}')


@pytest.fixture
def shop(postgres: PostgresServer, library_template: str) -> Iterator[Store]:
    """The store of the tenant `shop`, linked and mirrored."""
    with postgres.database(library_template) as url:
        store = Store(url, "shop")
        for table in MIRRORED:
            store.run("SELECT wa_install_v1(%s)", (table,))
        store.link(JID)
        yield store


@pytest.fixture
async def logins(loop: asyncio.AbstractEventLoop, shop: Store) -> Any:
    """LoginStore on that database."""
    database = await Database.open(shop.url, **PATIENT)
    yield LoginStore(database)
    await database.close()


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A whole record after this change, as bytes of the store."""
    it = record()
    change(it)
    return json.dumps(it, separators=(",", ":")).encode()


async def test_only_what_cannot_be_loaded_goes(
    shop: Store, logins: LoginStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening drops each damaged conversation with a warning, mirror and all; every other stays byte for byte; a NULL,
    which the library takes for no conversation, is left alone; another device's rows are not looked at."""
    whole = {f"1{n:03}_1:0": changed(change) for n, change in enumerate(WHOLE.values())}
    bad = {f"2{n:03}_1:0": changed(change) for n, change in enumerate(DAMAGED.values())}
    bad |= {f"3{n:03}_1:0": data for n, data in enumerate(UNREADABLE)}
    for who, data in (whole | bad).items():
        shop.put("sessions", JID, who, data)
    shop.put("sessions", JID, "4000_1:0", None)
    other = Store(shop.url, "cafe")
    other.link("628333333333:2@s.whatsapp.net", lid="200:2@lid")
    other.put("sessions", "628333333333:2@s.whatsapp.net", "1_1:0", b"")
    caplog.set_level(logging.WARNING)

    async def no_tables() -> None:
        raise AssertionError("nobody has to make tables")

    assert await Logins(logins, STORE_VERSION, no_tables).unfit("shop", JID) is None
    left = shop.run("SELECT their_id, session FROM whatsmeow_sessions WHERE our_jid = %s ORDER BY 1", (JID,))
    assert {who: None if data is None else bytes(data) for who, data in left} == whole | {"4000_1:0": None}
    assert shop.differences("shop") == []
    told = [line for line in caplog.records if line.__dict__.get("action") == "login.conversation_damaged"]
    assert len(told) == len(bad)
    assert SECRET not in caplog.text
    assert shop.run("SELECT count(*) FROM whatsmeow_sessions WHERE our_jid <> %s", (JID,)) == [(1,)]
    assert await logins.drop_damaged(JID) == []


async def test_what_moves_in_can_be_loaded(shop: Store, logins: LoginStore) -> None:
    """Sessions that were converted from the old gateway's are whole."""
    sessions = login("b").rows.sessions
    assert len(sessions) > 1
    for row in sessions:
        shop.put("sessions", JID, row.their_id, row.session)
    assert await logins.drop_damaged(JID) == []
