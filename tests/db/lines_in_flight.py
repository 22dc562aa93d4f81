"""The library and its processes in the hands of a test: what they write while a message is on its way."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg2

from core.clock import Clock
from core.model import StatusChange
from core.outbox import Claimed, Wait
from db.session_store import SessionStore
from tests.db.candidates import KEY, Door, candidate
from tests.db.whatsmeow_store import INSERTS, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model import Status
    from core.outbox import StoredMessage
    from db.database import Database

JID = "628111111111:7@s.whatsapp.net"


@dataclass
class Attempt:
    """A message on its way: who has it, under which fence, and its secret."""

    message: str
    to: str
    process: int
    fence: int
    secret: bytes


@dataclass
class Flight:
    """The outbox of the tenant `shop`, whose session is linked; `url` is a database with the library's tables in it."""

    db: Database
    door: Door = field(init=False)
    sessions: SessionStore = field(init=False)

    def __post_init__(self) -> None:
        self.door, self.sessions = Door(self.db), SessionStore(self.db)

    @property
    def url(self) -> str:
        return self.db.url

    @property
    def store(self) -> Store:
        return Store(self.url, "shop")

    async def begin(self) -> None:
        """The tenant, its device, its session, and the triggers."""
        await self.door.store.add_tenant("shop", KEY)
        self.store.link(JID)
        await self.db.execute("INSERT INTO sessions (tenant_id, jid, state) VALUES ('shop', %s, 'connected')", (JID,))
        for table in ("message_secrets", "sessions", "sender_keys"):
            await self.db.fetch("SELECT wa_attend_v1(%s)", (table,))
        for table in ("sessions", "sender_keys"):
            await self.db.fetch("SELECT wa_install_fence_v1(%s)", (table,))

    @contextlib.contextmanager
    def living(self, process: int) -> Iterator[None]:
        """Meanwhile this process shows its sign of life."""
        connection = psycopg2.connect(self.url)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(process_class(), %s)", (process,))
            yield
        finally:
            with connection.cursor() as cursor:  # the server would do it a little after the connection is closed
                cursor.execute("SELECT pg_advisory_unlock_all()")
            connection.close()

    async def claim(self, process: int = 7, *, known_only: bool = False) -> Attempt | Wait | None:
        """As the holder of the session that it is, or becomes."""
        [lease] = await self.sessions.lease(process, ["shop"], 60)
        claimed = await self.door.store.claim("shop", process, Clock().secret(), known_only=known_only)
        if not isinstance(claimed, Claimed):
            return claimed
        assert claimed.secret is not None
        return Attempt(claimed.message.id, claimed.message.to, process, lease.fence, claimed.secret)

    async def claimed(self, process: int = 7) -> Attempt:
        attempt = await self.claim(process)
        assert isinstance(attempt, Attempt), attempt
        return attempt

    async def on_its_way(self, to: str = "628222", process: int = 7) -> Attempt:
        """A message of its own, claimed."""
        await self.door.admit(candidate(to))
        return await self.claimed(process)

    def keep_secret(self, attempt: Attempt, wa_id: str) -> None:
        """The library gives the message an id, and writes it down."""
        self.store.run(
            "INSERT INTO whatsmeow_message_secrets (our_jid, chat_jid, sender_jid, message_id, key)"
            " VALUES (%s, '5@lid', '100@lid', %s, %s)",
            (JID, wa_id, attempt.secret),
        )

    @contextlib.contextmanager
    def encrypting(self, fence: int) -> Iterator[None]:
        """The library has moved a conversation on, and commits that at the end. Raises psycopg2.Error."""
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('wa.tenant', 'shop', false), set_config('wa.fence', %s, false)", (str(fence),)
                )
                cursor.execute(INSERTS["sessions"], (JID, "5_1:0", b"{}"))
                yield
        finally:
            with connection.cursor() as cursor:  # the server would do it a little after the connection is closed
                cursor.execute("SELECT pg_advisory_unlock_all()")
            connection.close()

    def encrypt(self, attempt: Attempt) -> None:
        """It has done so: the frame leaves in the next moment."""
        with self.encrypting(attempt.fence):
            pass

    async def settle(self, grace: float = 0.0) -> list[tuple[str, str, str | None]]:
        """[(recipient, status, cause)] of what was settled."""
        return [(c.to, c.status, c.cause) for c in await self.door.store.settle(grace)]

    async def record(self, attempt: Attempt, status: Status, wa_id: str | None = None) -> StatusChange | None:
        """As the process that made the attempt would."""
        change = StatusChange(
            tenant="shop", message_id=attempt.message, to=attempt.to, status=status, at=datetime.now(UTC)
        )
        return await self.door.store.record(
            change, attempt.process, secret=attempt.secret, wa_id=wa_id, gives_back=status == "failed"
        )

    async def ack(self, wa_id: str, status: Status = "delivered") -> bool:
        """A receipt comes; whether it was known."""
        return bool(await self.sessions.acked("shop", [wa_id], status, 7))

    async def stored(self, message: str) -> StoredMessage:
        found = await self.door.store.message("shop", message)
        assert found is not None
        return found

    async def story(self, message: str) -> list[tuple[str, str | None]]:
        """(status, cause), from the first `sending` on."""
        return [(event["status"], event.get("cause")) for event in (await self.stored(message)).history[2:]]

    async def ago(self, seconds: float) -> None:
        """All that has happened to messages and sessions happened so much earlier."""
        for table, column in (("messages", "claimed_at"), ("messages", "settled_at"), ("attempts", "began_at"),
                              ("messages", "retry_at"), ("sessions", "since")):  # fmt: skip
            await self.db.execute(f"UPDATE {table} SET {column} = {column} - make_interval(secs => {seconds})")
