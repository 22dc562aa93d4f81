"""Logins from the old gateway, one by one: each becomes rows here, or is refused with the reason."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from core.baileys.moving_in import Login, read_login
from core.baileys.names import CREDS_FILE, key_of_file
from core.baileys.old_gateway import LONGEST_TENANT, marked, mirrored_device, standing, tenant_id
from core.baileys.places import Damaged
from core.cli.moving_report import Report, hint, watched
from core.errors import CommandError, Conflict, StatementRejected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from core.cli.invocation import Invocation
    from core.settings import Settings
    from db.database import Database
    from db.embedded import EmbeddedPostgres
    from db.import_store import ImportStore, Source

T = TypeVar("T")

HABITS = """\
# What callers of the old gateway are used to: an answer when WhatsApp has the message; fields that mean nothing.
answer: sent
api: legacy
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A login where it was found: `written` is its tenant id there. `keys` is called when they are wanted."""

    written: str
    creds: str | bytes | None = field(repr=False)
    keys: Callable[[], Awaitable[Mapping[str, str | bytes | None]]] = field(repr=False)

    @property
    def tenant(self) -> str:
        return tenant_id(self.written)


def with_moving_database(invocation: Invocation, work: Callable[[Database], Awaitable[T]], *, dry_run: bool) -> T:
    """As `with_database`; a dry run makes no database and changes no schema. Raises GapuraError."""
    from core.cli.opened import postgres, with_database
    from db.embedded import EmbeddedPostgres

    if not dry_run:
        return with_database(invocation, work)
    settings = invocation.settings()
    if settings.database.url is None and EmbeddedPostgres(invocation.data).url is None:
        raise CommandError("there is no database yet, and a dry run makes none: run.py db migrate")
    with postgres(settings, invocation.data) as (url, embedded):
        return asyncio.run(_on_present_database(url, embedded, work))


async def _on_present_database(
    url: str, embedded: EmbeddedPostgres | None, work: Callable[[Database], Awaitable[T]]
) -> T:
    from core.cli.opened import supervised
    from db.database import Database
    from db.migrate import pending

    async with supervised(embedded):
        database = await Database.open(url)
        try:
            if await pending(database):
                raise CommandError("the schema is not up to date, and a dry run changes nothing: run.py db migrate")
            return await work(database)
        finally:
            await database.close()


def folders(root: Path) -> list[tuple[str, Path]]:
    """(tenant id as written, its folder) of every login below `root`, or of `root` itself. Raises CommandError."""
    try:
        if (root / CREDS_FILE).exists():
            return [(root.resolve().name, root)]
        return sorted((folder.name, folder) for folder in root.iterdir() if folder.is_dir())
    except OSError as error:
        raise CommandError(f"{root} cannot be read: {error.strerror}") from error


def in_folder(written: str, folder: Path) -> Found:
    """The login of one folder. What cannot be read is missing."""

    async def keys() -> Mapping[str, bytes | None]:
        return _keys(folder)

    return Found(written, _content(folder / CREDS_FILE), keys)


def _keys(folder: Path) -> Mapping[str, bytes | None]:
    try:
        named = [(key_of_file(file.name), file) for file in sorted(folder.iterdir())]
    except OSError:
        return {}
    return {key: _content(file) for key, file in named if key is not None}


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


async def in_rows(source: ImportStore) -> list[Found]:
    """Every login of auth_creds and auth_keys, but for those that mirror a login of whatsmeow's store."""

    def keys_of(tenant: str) -> Callable[[], Awaitable[Mapping[str, str | None]]]:
        return lambda: source.legacy_keys(tenant)

    rows = await source.legacy_tenants()
    return [Found(written, creds, keys_of(written)) for written, creds in rows if standing(creds) != "mirror"]


def clash(written: str, all_written: Sequence[str]) -> tuple[str, str] | None:
    """(code, detail) when this cannot be a tenant here. Of several that become one, only that which is written so can:
    nobody knows whose the others are."""
    tenant = tenant_id(written)
    if len(tenant) > LONGEST_TENANT:
        return "tenant_id_too_long", f"a tenant's id has at most {LONGEST_TENANT} characters"
    others = [repr(one) for one in all_written if one != written and tenant_id(one) == tenant]
    if not others or written == tenant:
        return None
    return "same_tenant", f"{written!r} and {', '.join(others)} are one tenant here"


class Mover:
    """Moves logins into one database. `habits`: writes a tenant's YAML where there is none."""

    def __init__(self, store: ImportStore, report: Report, source: Source, habits: Habits, at: str) -> None:
        self._store, self.report, self._source, self._habits, self._at = store, report, source, habits, at
        self._tried: set[str] = set()

    async def move(self, logins: Iterable[Found], *, as_json: bool) -> None:
        """All of them: one that is refused stops none."""
        logins = list(logins)
        clear = self._without_clashes(logins)
        for found in watched(clear, "Logins", as_json=as_json):
            await self._move_one(found)

    def _without_clashes(self, logins: list[Found]) -> list[Found]:
        names, clear = [found.written for found in logins], []
        for found in logins:
            if refusal := clash(found.written, names):
                self._refuse(found, *refusal)
            else:
                clear.append(found)
        return clear

    async def _move_one(self, found: Found) -> None:
        if isinstance(found.creds, str) and standing(found.creds) == "moved":
            self.report.add("present", found.tenant, detail="these rows were moved in before")
            return
        try:
            login = read_login(found.creds, await found.keys())
        except Damaged as damage:
            problem = damage.problem if found.creds is not None else "there are no creds, or they cannot be read"
            self._refuse(found, damage.code, problem, path=damage.path)
            return
        if login is None:
            self.report.add(
                "skipped", found.tenant, code="never_paired", detail="no phone was ever linked: pair it here"
            )
            return
        for one in login.skipped:
            self.report.add("skipped", found.tenant, one.key, code=one.code, detail=one.detail)
        await self._store_one(found, login)

    async def _store_one(self, found: Found, login: Login) -> None:
        extra = json.dumps({"creds": login.extra.creds, "keys": login.extra.keys})
        legacy = found.written if self._source == "rows" else None
        try:
            moved = await self._store.move_in(
                found.tenant, login.rows, extra, source=self._source, legacy=legacy,
                mark=lambda creds: marked(creds, self._at), mirror_of=mirrored_device, dry_run=self.report.dry_run,
            )  # fmt: skip
        except Conflict as refusal:
            self._refuse(found, refusal.code, refusal.detail)
            return
        except StatementRejected as error:
            self._refuse(found, "database_refused", f"PostgreSQL does not take it: {error}")
            return
        if moved is None:
            self.report.add("present", found.tenant, detail="this login is here already; what is here is newer")
            return
        if self._is_tried(login.rows.device.number):
            self._refuse(found, "number_taken", "a login before this one is of the same number, and would have it")
            return
        told = {
            "jid": login.rows.device.jid,
            "rows": counts(login),
            "batch": None if self.report.dry_run else moved.batch,
        }
        rows = ", ".join(f"{count} {kind}" for kind, count in counts(login).items())
        self.report.add("done", found.tenant, detail=f"{login.rows.device.jid}: {rows}", told=told)
        self._habits.give(found.tenant, self.report)

    def _is_tried(self, number: str) -> bool:
        """Whether a dry run, which leaves no login behind, has told of one of this number that it would move."""
        if not self.report.dry_run or number not in self._tried:
            self._tried.add(number)
            return False
        return True

    def _refuse(self, found: Found, code: str, detail: str, **more: str) -> None:
        self.report.add("refused", found.tenant, code=code, detail=detail, **more)


def counts(login: Login) -> dict[str, int]:
    """How many rows of each kind that people know."""
    rows = login.rows
    return {
        "sessions": len(rows.sessions),
        "sender keys": len(rows.sender_keys),
        "pre-keys": len(rows.pre_keys),
        "identities": len(rows.identities),
        "app state keys": len(rows.app_state_keys),
    }


@dataclass(frozen=True, slots=True)
class Habits:
    """Tenants' YAML files, for those that have none."""

    settings: Settings
    directory: Path

    def give(self, tenant: str, report: Report) -> None:
        """Write the tenant's file, so that its callers need not change. A dry run only tells."""
        if tenant in self.settings.files:
            return
        file = self.directory / "tenants" / f"{tenant}.yaml"
        if not report.dry_run:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with file.open("x", encoding="utf-8") as new:
                    new.write(HABITS)
            except FileExistsError:
                return
        report.add("done", tenant, "configuration", detail=f"{file}: answer: sent, api: legacy")


def finish(report: Report, *, as_json: bool) -> None:
    """Tell all; the exit status is 1 when something was refused."""
    import typer

    report.tell(as_json=as_json)
    if report.counts["done"] and not report.dry_run:
        hint("A gateway that runs already reads new tenants' YAML when it is started again.", as_json=as_json)
    if report.counts["refused"]:
        raise typer.Exit(1)
