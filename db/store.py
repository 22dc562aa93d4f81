"""What the rest of the program asks of PostgreSQL: typed calls over the SQL of db/queries/ and db/migrations/.

Every call raises DatabaseUnavailable or StatementTimeout when PostgreSQL is away. Calls that may safely be repeated
repeat themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from core.decisions import Listed
from core.model import Incoming
from core.outbox import Outcome, Usage
from db.outbox_store import OutboxStore
from db.sql import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from core.transport.wire import ReceivedKind
    from db.statement import Row


_AT_A_TIME = 10_000
"""Old counters that one statement deletes."""


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant as `tenant list` shows it."""

    tenant: str
    created_at: datetime
    queued: int


class Store(OutboxStore):
    """Typed calls; stateless but for its database. What the outbox asks stands in its base."""

    # Admission

    async def admit(self, batch: str) -> list[Outcome]:
        """Decide and store a batch (`core.paths.batch.encode`), one Outcome per row, in order. Not repeated
        here: the caller decides what an uncertain end means."""
        return _decided(await self._db.fetch(load("admit"), (batch,)))

    async def preview(self, batch: str) -> list[Outcome]:
        """What `admit` would say; nothing stays."""
        async with self._db.transaction() as tx:
            tx.rollback_on_exit()
            return _decided(await tx.fetch(load("admit"), (batch,)))

    async def replay(self, tenant: str, client_ref: str) -> tuple[str, Outcome] | None:
        """(fingerprint, outcome) of an idempotency key that was used."""
        row = await self._db.fetch_one(load("replay"), (tenant, client_ref), idempotent=True)
        return (row[0], _outcome(("replayed", *row[1:], None))) if row else None

    async def recipient(self, tenant: str, to: str, day: date) -> tuple[int, Listed]:
        """(messages counted on that day, the lists in which the recipient stands)."""
        row = await self._one("recipient", {"tenant": tenant, "to": to, "day": day})
        return row[0], Listed(row[1])

    # Old rows

    async def forget(self, keep_daily_limits: int) -> int:
        """Delete idempotency keys older than 30 days, and counters of times long past: those of daily_limits
        `keep_daily_limits` days after their day. How many of these there were."""
        await self._db.fetch(load("forget"), idempotent=True)
        total = 0
        while True:
            # Not repeated by the database room: a second try would not count what the first has deleted.
            row = await self._db.fetch_one(load("forget_daily_limits"), {"days": keep_daily_limits, "most": _AT_A_TIME})
            total += row[0] if row else 0
            if not row or row[0] < _AT_A_TIME:
                return total

    async def forget_messages(self, days: int, most: int) -> int:
        """Delete up to `most` messages that have had their last word and no news for `days`; how many there were."""
        row = await self._db.fetch_one(load("forget_messages"), (days, most))
        return row[0] if row else 0

    async def forget_incoming(self, days: int, most: int) -> int:
        """Delete up to `most` incoming messages that came `days` ago and that the plugins have seen, and up to as many
        that they never will, as the tenant is gone; how many there were."""
        row = await self._db.fetch_one(load("forget_incoming"), (days, most))
        return row[0] if row else 0

    # Tenants and keys

    async def keys(self) -> dict[str, str]:
        """digest -> tenant, of every key."""
        return dict(await self._db.fetch(load("keys"), idempotent=True))

    async def tenant_of_key(self, digest: str) -> str | None:
        """Whose key has this digest."""
        row = await self._db.fetch_one(load("tenant_of_key"), (digest,), idempotent=True)
        return row[0] if row else None

    async def key_alive(self, tenant: str, digest: str) -> bool:
        """Whether this is the tenant's present key."""
        return bool(await self._db.fetch(load("key_alive"), (tenant, digest), idempotent=True))

    async def tenant_exists(self, tenant: str) -> bool:
        """Whether the tenant has a row in api_keys."""
        return bool(await self._db.fetch(load("tenant_exists"), (tenant,), idempotent=True))

    async def tenants(self) -> list[TenantRow]:
        """Every tenant, by id."""
        return [TenantRow(*row) for row in await self._db.fetch(load("tenants"), idempotent=True)]

    async def add_tenant(self, tenant: str, stored_key: str) -> bool:
        """False when the tenant exists. `stored_key`: as the column api_key shall hold it. What was told of an earlier
        tenant of that id after it was removed, such as how its last message ended, and what was still written to it is
        deleted."""
        async with self._db.transaction(statement_timeout=0) as tx:
            added = await tx.fetch(load("tenant_add"), (tenant, stored_key))
            if added:
                await tx.fetch(load("tenant_forget"), {"tenant": tenant})
        return bool(added)

    async def rotate_key(self, tenant: str, stored_key: str) -> bool:
        """The tenant's key is another one from now on; False when there is no such tenant."""
        return bool(await self._db.fetch(load("tenant_rotate"), (stored_key, tenant)))

    async def remove_tenant(self, tenant: str) -> bool:
        """Delete key, whitelist, login, events, incoming messages and what plugins have kept, and cancel what is
        queued; what was sent, and opt-outs, stay. False when there is no such tenant."""
        async with self._db.transaction(statement_timeout=0) as tx:
            found = await tx.fetch(load("tenant_remove"), {"tenant": tenant})
            if found:
                await tx.fetch(load("tenant_cancel_queue"), (tenant,))
        if found:
            # By itself: whatsmeow's tables and the mirror are locked in this order by whoever has the device open.
            await self._db.fetch(load("tenant_forget_session"), {"tenant": tenant}, idempotent=True)
            async with self._db.transaction(statement_timeout=0) as tx:
                await tx.fetch(load("tenant_forget"), {"tenant": tenant})
        return bool(found)

    # The whitelist

    async def whitelist(self, tenant: str) -> list[str]:
        """Recipient keys, in order."""
        return [row[0] for row in await self._db.fetch(load("whitelist"), (tenant,), idempotent=True)]

    async def whitelist_add(self, tenant: str, to: str) -> bool:
        """False when it stood there already."""
        return bool(await self._db.fetch(load("whitelist_add"), (tenant, to)))

    async def whitelist_remove(self, tenant: str, to: str) -> bool:
        """False when it did not stand there."""
        return bool(await self._db.fetch(load("whitelist_remove"), (tenant, to)))

    # Incoming

    async def add_incoming(self, m: Incoming, kind: ReceivedKind = "text") -> bool:
        """Keep an incoming message before anybody sees it; False when it is there already. A text wakes the gateways,
        which show it to plugins; any other kind is not shown."""
        parameters = {
            "tenant": m.tenant, "id": m.id, "chat": m.chat, "sender": m.sender, "phone": m.phone, "lid": m.lid,
            "push_name": m.push_name, "kind": kind, "content": m.content, "at": m.at, "backlog": m.backlog,
            "reply_to": m.reply_to, "mentions": list(m.mentions),
        }  # fmt: skip
        return bool(await self._db.fetch(load("incoming_add"), parameters))

    async def claim_incoming(self, process: int, in_hand: Sequence[int], most: int) -> list[tuple[int, Incoming]]:
        """(number, message) of up to `most` messages that no living process shows to the plugins, oldest first;
        `in_hand`: the numbers of those that the caller is showing."""
        numbers = "{" + ",".join(map(str, in_hand)) + "}"
        rows = await self._db.fetch(load("incoming_claim"), (process, numbers, most), idempotent=True)
        return [(row[0], _incoming(row)) for row in sorted(rows)]

    async def incoming_done(self, message: Incoming, replies: list[dict[str, Any]]) -> None:
        """The plugins have seen it; `replies` tells what came of it."""
        encoded = msgspec.json.encode(replies).decode()
        await self._db.execute(load("incoming_done"), (encoded, message.tenant, message.id), idempotent=True)

    async def incoming_replies(self, tenant: str, message_id: str) -> list[dict[str, Any]] | None:
        """What came of an incoming message; None while no plugin has seen it."""
        row = await self._db.fetch_one(load("incoming_replies"), (tenant, message_id), idempotent=True)
        return row[0] if row else None

    # Other

    async def notify(self, channel: str, *payloads: str) -> None:
        """Wake the processes that listen to `channel`, once for each payload, or once without any."""
        each = list(payloads or ("",))
        await self._db.fetch("SELECT pg_notify(%s, x) FROM unnest(%s) x", (channel, each), idempotent=True)

    async def live_processes(self) -> list[int]:
        """The numbers of the gateway processes that hold their sign of life."""
        return [row[0] for row in await self._db.fetch(load("live_processes"), idempotent=True)]

    async def plugin_get(self, tenant: str, plugin: str, key: str) -> Any:
        """A plugin's value, or None."""
        row = await self._db.fetch_one(load("plugin_get"), (tenant, plugin, key), idempotent=True)
        return row[0] if row else None

    async def plugin_set(self, tenant: str, plugin: str, key: str, value: Any) -> None:
        """Keep a plugin's value."""
        encoded = msgspec.json.encode(value).decode()
        await self._db.execute(load("plugin_set"), (tenant, plugin, key, encoded), idempotent=True)

    async def plugin_delete(self, tenant: str, plugin: str, key: str) -> None:
        """Forget a plugin's value."""
        await self._db.execute(load("plugin_delete"), (tenant, plugin, key), idempotent=True)

    async def _one(self, query: str, parameters: Any) -> Row:
        row = await self._db.fetch_one(load(query), parameters, idempotent=True)
        assert row is not None, f"{query}.sql answers one row"  # noqa: S101 - an aggregate without GROUP BY
        return row


_outcomes = msgspec.json.Decoder(list[Outcome]).decode


def _decided(rows: list[Row]) -> list[Outcome]:
    """The one value that `admit_v2` gives."""
    return _outcomes(rows[0][0])


def _outcome(row: Row) -> Outcome:
    outcome, message_id, status, expected_at, ahead, *quota, waived, denied = row
    return Outcome(outcome, message_id, status, expected_at, ahead, _usage(tuple(quota)), tuple(waived or ()), denied)


def _usage(row: Row) -> Usage | None:
    return Usage(*row) if row[0] else None


def _incoming(row: Row) -> Incoming:
    _, tenant, message_id, chat, sender, phone, lid, push_name, kind, content, at, backlog, reply_to, mentions = row
    return Incoming(
        tenant=tenant,
        id=message_id,
        chat=chat,
        sender=sender,
        phone=phone,
        lid=lid,
        push_name=push_name,
        kind=kind,
        content=content,
        at=at,
        reply_to=reply_to,
        mentions=tuple(mentions),
        backlog=backlog,
    )
