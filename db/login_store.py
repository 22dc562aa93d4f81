"""Logins as PostgreSQL has them, twice: in whatsmeow's tables and in auth_creds and auth_keys. It fails as `db.store`
does."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from db.sql import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.database import Database

Fitness = Literal["ready", "fresh", "forgotten", "lost", "absent"]
"""See wa_open_v1 in db/migrations/0008_mirror.sql."""

FENCED = ("sessions", "sender_keys")
"""whatsmeow's tables that it writes before a message leaves."""

MIRRORED = ("device", "sessions", "identity_keys", "pre_keys", "sender_keys", "app_state_sync_keys")
"""whatsmeow's tables that make a login."""

ATTENDED = ("message_secrets", "sessions", "sender_keys")
"""whatsmeow's tables that tell whether a message has left; see db/migrations/0011_attempts.sql."""

_LOCK = 0x6761_7077_6D65_6F77


class LoginStore:
    """Typed calls; stateless but for its database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @contextlib.asynccontextmanager
    async def preparing(self) -> AsyncIterator[None]:
        """Only one process at a time is inside: whatsmeow does not guard the making of its tables."""
        async with self._db.transaction(statement_timeout=0) as tx:
            await tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            yield

    async def store_version(self) -> int | None:
        """Of whatsmeow's tables; None: there are none, or not all."""
        row = await self._db.fetch_one("SELECT wa_store_version_v1()", idempotent=True)
        return row[0] if row else None

    async def has_remains(self) -> bool:
        """Whether some table of whatsmeow's is there."""
        row = await self._db.fetch_one(load("login_remains"), idempotent=True)
        return bool(row and row[0])

    async def install(self) -> list[str]:
        """Put the mirror's triggers where they are missing; on which tables they were. So too the triggers of arrivals
        and attempts. To be called in `preparing`."""
        placed = []
        for table in ATTENDED:
            await self._db.fetch("SELECT wa_attend_v1(%s)", (table,), idempotent=True)
        for table in MIRRORED:
            # Each by itself: whoever held two tables at once could meet whatsmeow half-way.
            row = await self._db.fetch_one("SELECT wa_install_v1(%s)", (table,), idempotent=True)
            if row == (True,):
                placed.append(table)
        await self._db.fetch("SELECT wa_install_arrivals_v1()", idempotent=True)
        return placed

    async def fence(self) -> list[str]:
        """As `install`, the triggers that refuse who has lost a session's lease."""
        placed = []
        for table in FENCED:
            row = await self._db.fetch_one("SELECT wa_install_fence_v1(%s)", (table,), idempotent=True)
            if row == (True,):
                placed.append(table)
        return placed

    async def fitness(self, tenant: str, jid: str) -> Fitness:
        """Get the tenant's device ready to be opened. Only for who holds the tenant's lease, while it is closed."""
        row = await self._db.fetch_one("SELECT wa_open_v1(%s, %s)", (tenant, jid), idempotent=True)
        assert row is not None, "a function returns one row"  # noqa: S101
        found: Fitness = row[0]
        return found

    async def drop_damaged(self, jid: str) -> list[str]:
        """Forget the device's conversations that the library cannot load; with whom they were. While it is closed."""
        rows = await self._db.fetch("SELECT wa_drop_damaged_v1(%s)", (jid,))
        return [row[0] for row in rows]

    async def mirror(self, tenant: str) -> tuple[str | None, list[tuple[str, str | None]]]:
        """(auth_creds.data, [(auth_keys.key, auth_keys.value)]); both at one moment."""
        rows = await self._db.fetch(load("login_mirror"), {"tenant": tenant}, idempotent=True)
        return rows[0][1], [(row[0], row[1]) for row in rows[1:]]

    async def restore(self, tenant: str, jid: str, store: dict[str, list[dict[str, Any]]]) -> None:
        """Put these rows into whatsmeow's tables, {table without "whatsmeow_": rows}, and the mirror in step."""
        rows = msgspec.json.encode(store).decode()
        await self._db.fetch("SELECT wa_restore_v1(%s, %s, %s)", (tenant, jid, rows), idempotent=True)

    async def unbound(self) -> list[tuple[str, str]]:
        """(tenant, auth_creds.data) of tenants whose login is here, and of which no session knows."""
        rows = await self._db.fetch(load("logins_unbound"), idempotent=True)
        return [(row[0], row[1]) for row in rows]

    async def bind(self, tenant: str, jid: str, lid: str | None, *, sandbox: bool) -> bool:
        """The tenant's device is this one; False when another tenant has it, or the tenant another. `sandbox`: of a
        WhatsApp on loopback; a session that has the device already, knows better."""
        parameters = {"tenant": tenant, "jid": jid, "lid": lid, "sandbox": sandbox}
        return bool(await self._db.fetch(load("login_bind"), parameters, idempotent=True))

    async def begin_afresh(self, jid: str) -> None:
        """The device's conversations begin anew. While it is closed."""
        await self._db.fetch("SELECT wa_begin_afresh_v1(%s)", (jid,), idempotent=True)

    async def devices(self) -> list[tuple[str, str | None, bool]]:
        """(tenant, jid, whether whatsmeow's tables have it) of every login, by tenant. The jid is None when it is in
        auth_creds alone, and damaged."""
        rows = await self._db.fetch(load("login_devices"), idempotent=True)
        return [(row[0], row[1], row[2]) for row in rows]

    async def differences(self, tenant: str) -> list[tuple[str | None, str]]:
        """[(key, or None for auth_creds; missing, different or too_many)]: where mirror and store do not agree."""
        rows = await self._db.fetch("SELECT key, problem FROM wa_differences_v1(%s)", (tenant,), idempotent=True)
        return [(row[0], row[1]) for row in rows]

    async def untriggered(self) -> list[str]:
        """whatsmeow's tables on which the mirror's triggers are missing or disabled."""
        rows = await self._db.fetch(load("login_untriggered"), {"tables": list(MIRRORED)}, idempotent=True)
        return [row[0] for row in rows]
