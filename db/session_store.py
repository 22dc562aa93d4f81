"""What sessions ask of PostgreSQL: leases, states, pairing, commands, receipts. It fails as `db.store` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from core.session_rows import Arrival, Command, FreeConnections, Lease, Pairing, SessionRow, TenantSession
from db.sql import load

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from core.model import SessionState, Status
    from core.session_rows import CommandKind, Device, LinkProblem
    from db.database import Database
    from db.statement import Row


class SessionStore:
    """Typed calls; stateless but for its database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # Who holds a session

    async def lease(self, process: int, tenants: Collection[str], seconds: float) -> list[Lease]:
        """Take or renew; those that are `process`'s now. The others are held by somebody alive."""
        rows = await self._db.fetch(load("lease"), (process, sorted(tenants), seconds), idempotent=True)
        return [Lease(*row) for row in rows]

    async def release(self, process: int, tenants: Collection[str] | None, reason: str | None) -> list[str]:
        """Hold these (None: any) no longer; `reason` says why a session that worked does so no more, None leaves its
        state as it is."""
        whom = None if tenants is None else sorted(tenants)
        return [row[0] for row in await self._db.fetch(load("lease_release"), (process, whom, reason), idempotent=True)]

    async def supervisors(self) -> set[int]:
        """The numbers of the processes whose supervisors live."""
        return {row[0] for row in await self._db.fetch(load("supervisors"), idempotent=True)}

    # What is known of a session

    async def sessions(self, tenant: str | None = None) -> list[SessionRow]:
        """All, or the tenant's, which may be none yet."""
        rows = await self._db.fetch(load("sessions"), {"tenant": tenant}, idempotent=True)
        return [_session(row) for row in rows]

    async def tenants(self) -> list[TenantSession]:
        """Every tenant that has a key, by id."""
        rows = await self._db.fetch(load("session_tenants"), idempotent=True)
        return [TenantSession(*row) for row in rows]

    async def changed(
        self, process: int, tenant: str, state: SessionState, reason: str | None, pairing: Pairing | None = None
    ) -> bool:
        """Write the session's new state; False when `process` does not hold it (any more)."""
        secret = msgspec.json.encode(pairing).decode() if pairing else None
        row = await self._db.fetch_one(
            load("session_changed"), (process, tenant, state, reason, secret), idempotent=True
        )
        return bool(row and row[0])

    async def bind(self, process: int, tenant: str, device: Device) -> bool:
        """The tenant's device is this one from now on; False when `process` does not hold the session."""
        parameters = {"process": process, "tenant": tenant, "jid": device.jid, "lid": device.lid}
        parameters |= {"push_name": device.push_name, "sandbox": device.sandbox}
        return bool(await self._db.fetch(load("session_bind"), parameters, idempotent=True))

    async def link_problem(self, tenant: str, jid: str) -> LinkProblem | None:
        """Why this device should not become the tenant's: its number is another tenant's, or not that of before."""
        row = await self._db.fetch_one("SELECT wa_link_problem_v1(%s, %s)", (tenant, jid), idempotent=True)
        return row[0] if row else None

    async def remove_device(self, jid: str) -> None:
        """Forget a device and all that is its own."""
        await self._db.fetch("SELECT wa_remove_v1(%s)", (jid,), idempotent=True)

    async def unbind(self, process: int, tenant: str) -> bool:
        """The tenant has no device any more; False when `process` does not hold the session."""
        return bool(await self._db.fetch(load("session_unbind"), (tenant, process), idempotent=True))

    async def has_app_state_keys(self, jid: str) -> bool:
        """Whether the phone has handed this device the keys of names, contacts and settings."""
        row = await self._db.fetch_one(load("app_state_keys"), (jid,), idempotent=True)
        return bool(row and row[0])

    async def device_exists(self, jid: str) -> bool:
        """Whether whatsmeow's store has this device. Opening one that it has not, ends the process that tries."""
        row = await self._db.fetch_one(load("device_exists"), (jid,), idempotent=True)
        return bool(row and row[0])

    async def free_connections(self) -> FreeConnections:
        """What is left for everybody."""
        row = await self._db.fetch_one(load("free_connections"), idempotent=True)
        assert row is not None, "an aggregate has one row"  # noqa: S101
        return FreeConnections(*row)

    # Pairing and other calls

    async def ask_to_pair(self, tenant: str, pause: float) -> float | None:
        """None: this attempt counts; else in how many seconds the next one may begin."""
        row = await self._db.fetch_one(load("pairing_ask"), {"tenant": tenant, "pause": pause})
        return row[0] if row else None

    async def call(self, tenant: str, kind: CommandKind, arguments: Mapping[str, Any], within: float) -> int:
        """Leave a command for whoever can carry it out; its number. Nobody takes it after `within` seconds."""
        encoded = msgspec.json.encode(arguments).decode()
        parameters = {"tenant": tenant, "kind": kind, "arguments": encoded, "within": within}
        row = await self._db.fetch_one(load("command_add"), parameters)
        assert row is not None, "an INSERT without a condition returns its row"  # noqa: S101
        return int(row[0])

    async def claim_commands(self, process: int, children: Sequence[int]) -> list[Command]:
        """Those for tenants whose session nobody holds but these children."""
        parameters = {"process": process, "children": list(children)}
        return [Command(*row) for row in await self._db.fetch(load("command_claim"), parameters)]

    async def answer(self, command: int, answer: Mapping[str, Any]) -> None:
        """What came of it: {} or {refused, detail}."""
        parameters = {"id": command, "answer": msgspec.json.encode(answer).decode()}
        await self._db.fetch(load("command_answer"), parameters, idempotent=True)

    async def result(self, command: int) -> dict[str, Any] | None:
        """The answer, once there is one."""
        row = await self._db.fetch_one(load("command_result"), (command,), idempotent=True)
        return row[0] if row else None

    async def add_pair_link(self, digest: str, tenant: str, seconds: float, *, force: bool) -> datetime:
        """Keep the digest of a link's token; until when it is good. `force`: also for another number than before."""
        row = await self._db.fetch_one(load("pair_link_add"), (digest, tenant, force, seconds))
        assert row is not None, "an INSERT without a condition returns its row"  # noqa: S101
        at: datetime = row[0]
        return at

    async def pair_link(self, digest: str) -> tuple[str, bool] | None:
        """(whose pairing page this token opens, `force`); None when it is unknown or its time is over."""
        row = await self._db.fetch_one(load("pair_link_tenant"), (digest,), idempotent=True)
        return (row[0], row[1]) if row else None

    # Messages, as a session process sees them

    async def acked(self, tenant: str, wa_ids: Sequence[str], status: Status, process: int) -> set[str]:
        """Receipts came for these ids of WhatsApp; those of them that are this tenant's messages."""
        parameters = {"tenant": tenant, "wa_ids": list(wa_ids), "status": status, "process": process}
        return {row[0] for row in await self._db.fetch(load("acked"), parameters, idempotent=True)}

    async def asked_again(self, tenant: str, wa_ids: Sequence[str], served: Sequence[str]) -> list[str]:
        """Somebody's phone could not read what left under these ids of WhatsApp: the messages that are queued once more
        for that. `served`: our ids of messages that the library sends again by itself."""
        parameters = {"tenant": tenant, "wa_ids": list(wa_ids), "served": list(served)}
        return [row[0] for row in await self._db.fetch(load("asked_again"), parameters, idempotent=True)]

    async def arrived(self, tenant: str, message_id: str) -> None:
        """Something arrived under this id of which no row is made: it is not lost."""
        await self._db.fetch(load("arrival_done"), (tenant, message_id), idempotent=True)

    async def miss(self, message: Arrival) -> None:
        """Nobody will read this message: unless there is a row of it, it will be among `lost`."""
        parameters = {"tenant": message.tenant, "id": message.id, "chat": message.chat, "sender": message.sender}
        await self._db.fetch(load("arrival_missed"), parameters, idempotent=True)

    async def lost(self) -> list[Arrival]:
        """Messages that arrived and that nobody will write down any more, each of them once: it is told as an event."""
        return [Arrival(*row) for row in await self._db.fetch(load("name_lost"))]

    async def timelocked(self, process: int, tenant: str, refusals: int, seconds: float) -> None:
        """WhatsApp has refused new conversations so many times in a row, and for so long none is tried; whoever leases
        the session next is told. From the process that holds it."""
        parameters = {"process": process, "tenant": tenant, "refusals": refusals, "seconds": seconds}
        await self._db.fetch(load("timelock"), parameters, idempotent=True)

    async def phone_seen(self, process: int, tenant: str) -> None:
        """The tenant's own phone gave a sign of life, to the process that holds the session."""
        await self._db.fetch(load("phone_seen"), (tenant, process), idempotent=True)

    async def phones_missed(self, days: float) -> list[tuple[str, datetime]]:
        """(tenant, when it was last seen) of phones of which nothing was seen for so long; each once until it is seen
        again, and an event tells it."""
        rows = await self._db.fetch(load("phones_missed"), (days,), idempotent=True)
        return [(row[0], row[1]) for row in rows]

    async def raise_alarm(self, name: str, words: str) -> bool:
        """For the whole installation; False when it was raised before."""
        return bool(await self._db.fetch(load("alarm_raise"), (name, words)))

    async def clear_alarm(self, name: str) -> None:
        """It is over."""
        await self._db.fetch("DELETE FROM alarms WHERE name = %s RETURNING name", (name,), idempotent=True)

    async def alarms(self) -> list[tuple[str, datetime, str]]:
        """(name, since when, in words), oldest first."""
        rows = await self._db.fetch("SELECT name, since, detail FROM alarms ORDER BY since, name", idempotent=True)
        return [(row[0], row[1], row[2]) for row in rows]

    async def has_heard_from(self, tenant: str, to: str) -> bool:
        """Whether this recipient has ever written to the tenant, or in this group anybody has."""
        row = await self._db.fetch_one(load("has_heard_from"), (tenant, to), idempotent=True)
        return bool(row and row[0])

    async def quoted(self, tenant: str, wa_id: str) -> tuple[str | None, str] | None:
        """(who wrote it, None being the tenant itself; its text) of a message that is to be quoted."""
        row: Row | None = await self._db.fetch_one(load("quoted"), {"tenant": tenant, "id": wa_id}, idempotent=True)
        return (row[0], row[1]) if row else None


def _session(row: Row) -> SessionRow:
    values: Row = (*row[:-1], msgspec.convert(row[-1], Pairing) if row[-1] else None)
    return SessionRow(*values)
