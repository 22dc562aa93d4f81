"""Numbered SQL files bring a database up to this checkout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CommandError
from db.database import DIRECT

if TYPE_CHECKING:
    from db.database import Database, Transaction

FOLDER = Path(__file__).with_name("migrations")
OLDEST_SERVER = 15
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+")
_LOCK = 0x6761_7075_7261  # "gapura"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: NNNN_name.sql."""

    version: int
    name: str
    sql: str


async def migrate(db: Database, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing, each file in one transaction; the names applied by this call, in order.

    Any number of processes may call it at once: each file is applied by one of them, the others wait. CommandError when
    the server is too old or the database newer than this checkout; a file that fails leaves it at the one before.
    """
    files = read_migrations(folder)
    await _check_server(db)
    applied = []
    while (name := await _apply_next(db, files)) is not None:
        applied.append(name)
    return applied


async def pending(db: Database, folder: Path = FOLDER) -> list[str]:
    """The names that `migrate` would apply; changes nothing. CommandError as `migrate`."""
    files = read_migrations(folder)
    await _check_server(db)
    row = await db.fetch_one("SELECT to_regclass('gapura_migrations') IS NOT NULL", idempotent=True)
    if row != (True,):
        return [file.name for file in files]
    rows = await db.fetch("SELECT version FROM gapura_migrations", idempotent=True)
    return [file.name for file in _missing(files, {version for (version,) in rows})]


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """All files in order. CommandError when a name is not NNNN_name.sql or a number is taken twice."""
    files: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.stem)
        if match is None or int(match[1]) in files:
            raise CommandError(f"{path.name}: a migration is named NNNN_name.sql, with a number of its own")
        files[int(match[1])] = Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8"))
    return list(files.values())


async def _apply_next(db: Database, files: list[Migration]) -> str | None:
    """One transaction: under the lock, look again what is missing, and apply the first of it."""
    async with db.transaction(statement_timeout=0) as tx:
        await tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        missing = _missing(files, await _applied(tx))
        if not missing:
            return None
        await tx.execute(missing[0].sql)
        await tx.execute(
            "INSERT INTO gapura_migrations (version, name) VALUES (%s, %s)", (missing[0].version, missing[0].name)
        )  # fmt: skip
        return missing[0].name


async def _applied(tx: Transaction) -> set[int]:
    await tx.execute(
        "CREATE TABLE IF NOT EXISTS gapura_migrations"
        " (version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    return {version for (version,) in await tx.fetch("SELECT version FROM gapura_migrations")}


def _missing(files: list[Migration], applied: set[int]) -> list[Migration]:
    unknown = applied - {file.version for file in files}
    if unknown:
        raise CommandError(
            f"the database is newer than this checkout (it has migration {max(unknown):04}): update the checkout"
        )
    return [file for file in files if file.version not in applied]


async def _check_server(db: Database) -> None:
    row = await db.fetch_one(
        "SELECT current_setting('server_version_num')::int, version(), current_setting(%s, true)",
        (DIRECT,),
        idempotent=True,
    )
    number, text, direct = row or (0, "unknown", None)
    check_server_version(number, text)
    if direct != "on":
        raise CommandError(
            "the database is reached through a pooler that does not pass on the settings of a connection, and logins"
            " would be nobody's: give the address of PostgreSQL itself"
        )


def check_server_version(number: int, text: str) -> None:
    """CommandError when `number` (server_version_num) is older than PostgreSQL 15."""
    if number < OLDEST_SERVER * 10_000:
        raise CommandError(f"PostgreSQL {OLDEST_SERVER} or newer is needed; this server says: {text}")
