"""Logins that move in and out: rows of whatsmeow's store, keys and whitelists of the old gateway.

It fails as `db.store` does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.errors import Conflict
from core.whatsmeow_rows import (
    AppStateKeyRow,
    AppStateMacRow,
    AppStateVersionRow,
    DeviceRow,
    IdentityRow,
    LidRow,
    PreKeyRow,
    PrivacyTokenRow,
    Rows,
    SenderKeyRow,
    SessionRow,
)
from db.sql import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from db.database import Database, Transaction

Source = Literal["folder", "rows", "database"]

STORE_VERSION = 15
"""The version of whatsmeow's tables that this writes."""

_MAKING_TABLES = 0x6761_7077_6D65_6F77  # the lock of LoginStore.preparing, in which whatsmeow makes them
_SCHEMA = Path(__file__).with_name("whatsmeow") / f"v{STORE_VERSION}.sql"
_AT_ONCE = 500  # rows in one statement: a session has some kilobytes
_KINDS: dict[str, type] = {
    "pre_keys": PreKeyRow,
    "sessions": SessionRow,
    "identities": IdentityRow,
    "sender_keys": SenderKeyRow,
    "app_state_keys": AppStateKeyRow,
    "app_state_versions": AppStateVersionRow,
    "app_state_macs": AppStateMacRow,
    "privacy_tokens": PrivacyTokenRow,
    "lids": LidRow,
}
"""The fields of Rows after the device, in the order in which their rows may be written."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A login that came. `batch`: under which what it replaced is kept; `replaced`: how many rows that is; `mirrored`:
    auth_creds and auth_keys show it already, the old rows are only in the backup."""

    batch: int
    replaced: int
    mirrored: bool


class ImportStore:
    """Typed calls; stateless but for its database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # The rows of the old gateway, here or in another database

    async def legacy_tenants(self) -> list[tuple[str, str | None]]:
        """(tenant id as written, creds) of every login of auth_creds and auth_keys."""
        return [(row[0], row[1]) for row in await self._db.fetch(load("import_legacy_tenants"), idempotent=True)]

    async def legacy_keys(self, tenant: str) -> dict[str, str | None]:
        """Name -> JSON."""
        return dict(await self._db.fetch(load("import_legacy_keys"), (tenant,), idempotent=True))

    # Moving in

    async def move_in(  # noqa: PLR0913 - what one login consists of
        self,
        tenant: str,
        rows: Rows,
        extra: str,
        *,
        source: Source,
        legacy: str | None = None,
        mark: Callable[[str], str | None] = lambda _: None,
        mirror_of: Callable[[str], str | None] = lambda _: None,
        dry_run: bool = False,
    ) -> Moved | None:
        """Write the login, all of it or nothing; None when the tenant has this device already.

        `legacy`: under which id the old gateway's rows stand here, if under another. Rows of the old gateway are
        copied; where nothing keeps auth_creds in step they stay, and `mark` makes of their creds those that say so.
        `mirror_of`: the jid of the living login that a row of auth_creds is the mirror of, if it is one.
        With `dry_run` everything is done and undone.

        Raises Conflict: `session_held` (a gateway has it open), `number_taken` (by another tenant), `paired_already`
        (to another device), `store_version` (whatsmeow's tables are of a version that this does not know).
        """
        async with self._db.transaction(statement_timeout=0) as tx:
            if dry_run:
                tx.rollback_on_exit()
            await tx.fetch(load("import_lock"))
            await _need_store(tx)
            if not await _is_free(tx, tenant, rows.device, mirror_of):
                return None
            names = dict.fromkeys(filter(None, (tenant, legacy)))
            batch, replaced = await _back_up(tx, list(names), rows.device.jid)
            await tx.fetch(load("import_as_tenant"), (tenant,))
            await tx.execute(load("import_clear"), {"jid": rows.device.jid})
            mirrored = await _settle_legacy(tx, list(names), mark)
            await _write(tx, rows)
            await tx.execute(load("import_bind"), {"tenant": tenant, **_device(rows.device)})
            moved = {"tenant": tenant, "batch": batch, "source": source, "jid": rows.device.jid, "extra": extra}
            await tx.execute(load("import_moved"), moved)
        return Moved(batch, replaced, mirrored)

    # Keys and numbers

    async def add_key(self, tenant: str, stored: str, digest: str) -> Literal["added", "known", "taken", "has_key"]:
        """Make a tenant. `known`: it has this key; `taken`: another tenant has; `has_key`: it has another key."""
        parameters = {"tenant": tenant, "stored": stored, "digest": digest}
        if await self._db.fetch(load("import_key"), parameters):
            return "added"
        return await self.key_standing(tenant, digest) or "has_key"

    async def key_standing(self, tenant: str, digest: str) -> Literal["known", "taken", "has_key"] | None:
        """As `add_key`, without adding; None: it could be added."""
        row = await self._db.fetch_one(load("import_key_known"), {"tenant": tenant, "digest": digest}, idempotent=True)
        owner, has_key = row or (None, False)
        if owner is not None:
            return "known" if owner == tenant else "taken"
        return "has_key" if has_key else None

    async def add_whitelist(self, tenant: str, numbers: Sequence[str], *, dry_run: bool = False) -> set[str]:
        """Those of the numbers that did not stand there."""
        async with self._db.transaction(statement_timeout=0) as tx:
            if dry_run:
                tx.rollback_on_exit()
            parameters = {"tenant": tenant, "numbers": list(numbers)}
            return {row[0] for row in await tx.fetch(load("import_whitelist"), parameters)}

    # Moving out

    async def is_held(self, tenant: str) -> bool:
        """Whether a living gateway has the tenant's session."""
        row = await self._db.fetch_one(load("export_held"), (tenant,), idempotent=True)
        return bool(row and row[0])

    async def login(self, tenant: str) -> tuple[Rows, str | None] | None:
        """(all rows of the tenant's device at one moment, `extra` as it came); None when it has no device."""
        async with self._db.transaction(statement_timeout=0) as tx:
            await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if not (await tx.fetch_one(load("import_store_exists")) or (False,))[0]:
                return None
            found = await tx.fetch_one(load("export_device"), (tenant,))
            if found is None:
                return None
            device = DeviceRow(*found)
            kinds = {kind: await _read(tx, kind, device.jid) for kind in _KINDS}
            extra = await tx.fetch_one(load("export_extra"), {"tenant": tenant, "jid": device.jid})
        return Rows(device, **kinds), extra[0] if extra else None


async def _need_store(tx: Transaction) -> None:
    """whatsmeow's tables, made if they are not there: neonize would make them when it first opens the database."""
    exists = load("import_store_exists")
    if await tx.fetch_one(exists) != (True,):
        await tx.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING_TABLES,))
        if await tx.fetch_one(exists) != (True,):
            await tx.execute(_SCHEMA.read_text(encoding="utf-8"))
    if await tx.fetch_one(load("import_store_fits"), {"version": STORE_VERSION}) != (True,):
        raise Conflict("store_version", f"whatsmeow's tables here are not of version {STORE_VERSION}, or like it")


async def _is_free(tx: Transaction, tenant: str, device: DeviceRow, mirror_of: Callable[[str], str | None]) -> bool:
    """False when the tenant has this very device. Raises Conflict."""
    row = await tx.fetch_one(load("import_session"), {"tenant": tenant, "number": device.number})
    jid, creds, held, taken = row or (None, None, False, False)
    own = jid or (mirror_of(creds) if creds else None)
    if own == device.jid:
        return False
    if held:
        raise Conflict("session_held", "a gateway has this tenant's session in hand: stop it first")
    if taken:
        raise Conflict("number_taken", "this number is linked to another tenant already")
    if own is not None:
        raise Conflict("paired_already", "the tenant is linked to another device: log it out first")
    return True


async def _back_up(tx: Transaction, names: list[str], jid: str) -> tuple[int, int]:
    """(batch, number of rows) of all that is replaced."""
    [(batch,)] = await tx.fetch(load("import_batch"))
    replaced = 0
    for name in names:
        parameters = {"batch": batch, "tenant": name, "jid": jid if name == names[0] else None}
        [(count,)] = await tx.fetch(load("import_backup"), parameters)
        replaced += count
    return batch, replaced


async def _settle_legacy(tx: Transaction, names: list[str], mark: Callable[[str], str | None]) -> bool:
    """What becomes of the old gateway's rows; True when the new ones take their place in this transaction."""
    [(mirrored,)] = await tx.fetch(load("import_mirrored"))
    for name in names:
        if mirrored:
            await tx.execute(load("import_legacy_drop"), {"tenant": name})
        elif (row := await tx.fetch_one(load("import_legacy_creds"), (name,))) and row[0] and (marked := mark(row[0])):
            await tx.execute(load("import_legacy_mark"), {"tenant": name, "data": marked})
    return bool(mirrored)


async def _write(tx: Transaction, rows: Rows) -> None:
    """The device first: all others hang on it."""
    jid = rows.device.jid
    await tx.execute(load("import_device"), _device(rows.device))
    for kind, cls in _KINDS.items():
        columns = [field.name for field in fields(cls)]
        for some in _batches(getattr(rows, kind)):
            values = {name: [getattr(row, name) for row in some] for name in columns}
            await tx.execute(load(f"import_{kind}"), {"jid": jid, **values})


async def _read(tx: Transaction, kind: str, jid: str) -> tuple[Any, ...]:
    sql = load(f"export_{kind}")
    found = await tx.fetch(sql, {"jid": jid} if "%(jid)s" in sql else (jid,))
    return tuple(_KINDS[kind](*row) for row in found)


def _device(device: DeviceRow) -> dict[str, Any]:
    return asdict(device)


def _batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(rows), _AT_ONCE):
        yield rows[at : at + _AT_ONCE]
