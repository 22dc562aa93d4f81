"""A session process without WhatsApp: it shows a sign of life, claims commands and writes the rows of sessions, all as
the real one does; the test decides what the phone does."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2

from core.session_rows import Device, Pairing
from db.database import Database
from db.session_store import SessionStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.model import SessionState
    from core.session_rows import Command

QR = "2@made-up-for-a-test,{0},AAAA,BBBB"
CODE = "ABCDEFGH"
PHONE = "6281200000001"


@dataclass
class FakeSessions:
    """`refuses`: (code, detail) with which the next commands are answered; `asked`: the commands that came."""

    store: SessionStore
    process: int
    refuses: tuple[str, str] | None = None
    asked: list[Command] = field(default_factory=list)
    shown: dict[str, Pairing] = field(default_factory=dict)

    async def work(self) -> None:
        """Answer commands for ever."""
        while True:
            for command in await self.store.claim_commands(self.process, [self.process]):
                self.asked.append(command)
                await self.store.answer(command.id, await self._carry_out(command))
            await asyncio.sleep(0.02)

    async def _carry_out(self, command: Command) -> dict[str, str]:
        if self.refuses is not None:
            return {"refused": self.refuses[0], "detail": self.refuses[1]}
        tenant = command.tenant
        match command.kind:
            case "pair":
                await self.pairs(tenant, CODE if command.arguments.get("number") else None)
            case "logout":
                await self.ends(tenant, "logged out on request")
            case "reconnect":
                await self.becomes(tenant, "connecting")
        return {}

    async def pairs(self, tenant: str, code: str | None = None, *, seconds: float = 60.0) -> Pairing:
        """A new QR code is shown, and a code for the phone's number too if given."""
        await self.store.lease(self.process, [tenant], 3600)
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        pairing = Pairing(QR.format(secrets.token_hex(4)), until, code, until if code else None)
        assert await self.store.changed(self.process, tenant, "pairing", None, pairing)
        self.shown[tenant] = pairing
        return pairing

    async def becomes(self, tenant: str, state: SessionState, reason: str | None = None) -> None:
        """The session is in that state."""
        await self.store.lease(self.process, [tenant], 3600)
        assert await self.store.changed(self.process, tenant, state, reason)

    async def connects(self, tenant: str, phone: str = PHONE) -> None:
        """A phone has scanned the code: the tenant is linked and connected."""
        await self.store.lease(self.process, [tenant], 3600)
        device = Device(f"{phone}:7@s.whatsapp.net", "900000000000001:7@lid", "Toko", sandbox=True)
        assert await self.store.bind(self.process, tenant, device)
        await self.becomes(tenant, "connected")

    async def ends(self, tenant: str, reason: str, state: SessionState = "unpaired") -> None:
        """There is no device, or none any more, for that reason."""
        assert await self.store.unbind(self.process, tenant)
        await self.becomes(tenant, state, reason)


@contextlib.asynccontextmanager
async def fake_sessions(database_url: str) -> AsyncIterator[FakeSessions]:
    """A session process on that database, alive until the end of the block."""
    sign_of_life = psycopg2.connect(database_url)
    database = await Database.open(database_url, connect_timeout=10)
    fake = FakeSessions(SessionStore(database), secrets.randbelow(2**31 - 1) + 1)
    with sign_of_life.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(process_class(), %s)", (fake.process,))
    sign_of_life.commit()
    working = asyncio.create_task(fake.work())
    try:
        yield fake
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        await database.close()
        sign_of_life.close()
