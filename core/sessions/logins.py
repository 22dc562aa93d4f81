"""Is there a login to open? Each is in the database twice, in whatsmeow's tables and in auth_creds and auth_keys; what
one has lost, the other gives back."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from core.baileys.places import Damaged
from core.errors import OpenFailed, StatementRejected
from core.sessions.mirrored import device_of, read_mirror

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.model import SessionState
    from db.login_store import LoginStore

log = logging.getLogger(__name__)

MISSING_TABLES = (
    "whatsmeow's tables are not all there, and the library makes them only where there is none: drop those that are"
    " left (whatsmeow_*), and logins are restored from auth_creds and auth_keys"
)
FORGOTTEN = "its row of auth_creds was deleted: pair again"


class Logins:
    """Of one process that opens sessions."""

    def __init__(self, store: LoginStore, version: int, make_tables: Callable[[], Awaitable[None]]) -> None:
        """`make_tables` makes or upgrades whatsmeow's tables, whose version is then `version`."""
        self._store, self._version, self._make_tables = store, version, make_tables
        self._preparing = asyncio.Lock()
        self._prepared = False

    async def prepare(self) -> None:
        """whatsmeow's tables are there, and what it writes to them is mirrored, and refused to who has lost the lease.
        Before anything is opened. Raises OpenFailed (`database`), Unavailable, StatementRejected."""
        async with self._preparing:
            if self._prepared:
                return
            async with self._store.preparing():
                version = await self._store.store_version()
                if version is None or version < self._version:
                    await self._make_tables()
                    version = await self._store.store_version()
                if version is None:
                    remains = await self._store.has_remains()
                    raise OpenFailed("database", MISSING_TABLES if remains else "the library could not make its tables")
                for table in await self._store.install():
                    log.info("whatsmeow_%s is mirrored from now on", table, extra={"action": "login.mirrored"})
                for table in await self._store.fence():
                    log.info("whatsmeow_%s is fenced from now on", table, extra={"action": "login.fenced"})
            self._prepared = True

    async def unfit(self, tenant: str, jid: str) -> tuple[SessionState, str] | None:
        """Why the tenant's login cannot be opened; None: it can, and nothing has to be scanned for it. Only for who
        holds the tenant's lease. `unpaired`: there is none any more. Raises as `prepare`."""
        await self.prepare()
        fitness = await self._store.fitness(tenant, jid)
        if fitness == "lost":
            if (problem := await self.restore(tenant, jid)) is not None:
                return "disconnected", problem
            fitness = await self._store.fitness(tenant, jid)
        if fitness == "fresh":
            log.warning("%s: the database is of another time; its conversations begin anew", tenant,
                        extra={"action": "login.afresh", "tenant": tenant})  # fmt: skip
        if fitness == "forgotten":
            return "unpaired", FORGOTTEN
        if fitness == "absent":
            return "unpaired", f"the login of {jid} is not in the database any more: pair again"
        await self._drop_damaged(tenant, jid)
        return None

    async def _drop_damaged(self, tenant: str, jid: str) -> None:
        """One such conversation would end the process, and with it everybody else's session, at its next message."""
        for who in await self._store.drop_damaged(jid):
            log.warning("%s: the conversation with %s was damaged and begins anew", tenant, who,
                        extra={"action": "login.conversation_damaged", "tenant": tenant})  # fmt: skip

    async def restore(self, tenant: str, jid: str) -> str | None:
        """Make whatsmeow's rows from auth_creds and auth_keys; why that cannot be, or None."""
        try:
            login = read_mirror(*await self._store.mirror(tenant))
        except Damaged as damaged:
            return _useless(f"{damaged.code}: {damaged}")
        if login.jid != jid:
            return _useless(f"it is of {login.jid} and not of {jid}")
        try:
            await self._store.restore(tenant, jid, login.store)
        except StatementRejected as refused:
            return _useless(f"PostgreSQL refuses its rows ({refused.sqlstate})")
        log.warning("%s: its login was restored from auth_creds and auth_keys", tenant,
                    extra={"action": "login.restored", "tenant": tenant})  # fmt: skip
        for name in login.damaged:
            log.warning("%s: %s in auth_keys was damaged and is left out", tenant, name.partition(":")[0],
                        extra={"action": "login.key_damaged", "tenant": tenant})  # fmt: skip
        return None


async def bind_logins(store: LoginStore) -> None:
    """At the start of a gateway: logins that came with their rows alone become the sessions of their tenants."""
    for tenant, creds in await store.unbound():
        try:
            jid, lid, sandbox = device_of(creds)
        except Damaged as damaged:
            log.error("%s: %s", tenant, _useless(f"{damaged.code}: {damaged}"),
                      extra={"action": "login.damaged", "tenant": tenant})  # fmt: skip
            continue
        bound = await store.bind(tenant, jid, lid, sandbox=sandbox)
        words = "was found in the database" if bound else "in auth_creds is of another tenant's device"
        log.warning("%s: the login %s", tenant, words, extra={"action": "login.found", "tenant": tenant})


def _useless(why: str) -> str:
    return f"the login in auth_creds is of no use ({why}); mend the row, or delete it and pair again"
