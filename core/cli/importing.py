"""`import keys | whitelist | auth | sessions`: tenants move in from the old gateway."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from core.baileys.places import Damaged
from core.cli.invocation import Invocation, invocation_of
from core.cli.tenant import AsJson  # noqa: TC001 - typer reads the annotations
from core.errors import CommandError, DatabaseUnavailable, StatementRejected, Unprocessable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from core.baileys.places import Place
    from core.cli.moving import Found
    from core.cli.moving_report import Report
    from db.database import Database
    from db.import_store import ImportStore, Source

T = TypeVar("T")

commands = typer.Typer(
    no_args_is_help=True, help="Move tenants in from the old Node gateway. Stop it first: one login lives in one place."
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and tell everything; change nothing.")]

_WHITELIST = re.compile(r"whitelist_(.*)\.json")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@commands.command()
def keys(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The old gateway's data/api_keys.json.", metavar="FILE")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take over the API keys: each makes its tenant. A key or a tenant that exists stays as it is."""
    from core.baileys.old_gateway import api_keys
    from core.cli.moving import finish, with_moving_database
    from core.cli.moving_report import Report, watched
    from db.import_store import ImportStore

    invocation, report = invocation_of(context), Report(dry_run)
    found = _parsed(file, api_keys)

    async def work(database: Database) -> None:
        adder = _KeyAdder(invocation, ImportStore(database), report)
        for key, place in watched(found, "Keys", as_json=as_json):
            await adder.add(key, place)

    with_moving_database(invocation, work, dry_run=dry_run)
    finish(report, as_json=as_json)


class _KeyAdder:
    """Makes tenants of keys. A key is never told."""

    def __init__(self, invocation: Invocation, store: ImportStore, report: Report) -> None:
        from core.cli.moving import Habits

        self._settings, self._store, self._report = invocation.settings(), store, report
        self._habits = Habits(self._settings, invocation.config)
        self._seen: dict[str, str] = {}

    async def add(self, key: str, place: Place) -> None:
        from core.baileys.old_gateway import LONGEST_TENANT, tenant_id

        written = place.value
        if not isinstance(written, str) or not 0 < len(key) <= 255 or not key.isprintable():
            self._report.add("refused", str(written) if isinstance(written, str) else "?", code="bad_json",
                             path=place.path, detail="not a key and a tenant's id")  # fmt: skip
            return
        tenant = tenant_id(written)
        if len(tenant) > LONGEST_TENANT:
            self._report.add("refused", tenant, code="tenant_id_too_long",
                             detail=f"a tenant's id has at most {LONGEST_TENANT} characters")  # fmt: skip
        elif tenant in self._seen:
            same = f"{self._seen[tenant]!r} and {written!r} are one tenant here, and the first one's key is its key"
            self._report.add("skipped", tenant, code="same_tenant", detail=same)
        else:
            self._seen[tenant] = written
            await self._store_key(tenant, key)

    async def _store_key(self, tenant: str, key: str) -> None:
        from core.tenants import key_digest

        digest = key_digest(key)
        stored = key if self._settings.keys.store == "plain" and not _DIGEST.fullmatch(key) else digest
        if self._report.dry_run:
            standing = await self._store.key_standing(tenant, digest) or "added"
        else:
            standing = await self._store.add_key(tenant, stored, digest)
        if standing == "added":
            self._report.add("done", tenant, detail="its key is good here")
            self._habits.give(tenant, self._report)
        elif standing == "known":
            self._report.add("present", tenant, detail="it has this key already")
        elif standing == "taken":
            self._report.add("skipped", tenant, code="key_taken", detail="another tenant has this key")
        else:
            self._report.add("skipped", tenant, code="tenant_exists", detail="it exists with another key, which stays")


@commands.command()
def whitelist(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The old gateway's data/.", metavar="DIR")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take over the whitelists: DIR/whitelist_TENANT.json."""
    from core.baileys.old_gateway import tenant_id
    from core.cli.moving import clash, finish, with_moving_database
    from core.cli.moving_report import Report, watched
    from db.import_store import ImportStore

    invocation, report = invocation_of(context), Report(dry_run)
    try:
        named = sorted((match[1], file) for file in directory.iterdir() if (match := _WHITELIST.fullmatch(file.name)))
    except OSError as error:
        raise CommandError(f"{directory} cannot be read: {error.strerror}") from error

    async def work(database: Database) -> None:
        store = ImportStore(database)
        for written, file in watched(named, "Whitelists", as_json=as_json):
            if refusal := clash(written, [one for one, _ in named]):
                report.add("refused", tenant_id(written), file.name, code=refusal[0], detail=refusal[1])
            else:
                await _add_whitelist(invocation, store, report, tenant_id(written), file)

    with_moving_database(invocation, work, dry_run=dry_run)
    finish(report, as_json=as_json)


async def _add_whitelist(invocation: Invocation, store: ImportStore, report: Report, tenant: str, file: Path) -> None:
    from core import jid
    from core.baileys import old_gateway

    try:
        entries = _parsed(file, old_gateway.whitelist)
    except CommandError as error:
        report.add("refused", tenant, file.name, code="bad_json", detail=str(error))
        return
    region, numbers = invocation.settings().tenant(tenant).region, {}
    for place, entry in enumerate(entries):
        try:
            numbers[jid.parse(entry, region).key] = place
        except Unprocessable as error:
            report.add("skipped", tenant, f"{file.name}[{place}]", code=error.code, detail=error.detail)
    added = await store.add_whitelist(tenant, list(numbers), dry_run=report.dry_run)
    report.add("done" if added else "present", tenant, file.name,
               detail=f"{len(added)} numbers are new, {len(numbers) - len(added)} stood there")  # fmt: skip


@commands.command()
def auth(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(help="The old gateway's auth_info/, or the folder of one tenant in it.", metavar="DIR")
    ],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take over WhatsApp logins that are kept in folders, without a new scan."""
    from core.cli.moving import folders, in_folder

    found = [in_folder(*one) for one in folders(directory)]

    @asynccontextmanager
    async def logins(_: Database) -> AsyncIterator[list[Found]]:
        yield found

    _move(context, logins, "folder", dry_run=dry_run, as_json=as_json)


@commands.command()
def sessions(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", envvar="GAPURA_IMPORT_FROM", show_envvar=True, show_default="the rows in Gapura's own database",
            help="The old gateway's database; it is only read.", metavar="URL",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take over WhatsApp logins from the old gateway's rows in auth_creds and auth_keys, without a new scan."""
    from core.cli.moving import in_rows
    from db.import_store import ImportStore

    @asynccontextmanager
    async def logins(database: Database) -> AsyncIterator[list[Found]]:
        if source is None:
            yield await in_rows(ImportStore(database))
            return
        async with _other(source) as other:
            yield await _rows_of_other(other)

    _move(context, logins, "rows" if source is None else "database", dry_run=dry_run, as_json=as_json)


@asynccontextmanager
async def _other(url: str) -> AsyncIterator[Database]:
    """The old gateway's database. Raises CommandError, DatabaseUnavailable."""
    from db.database import Database as Other

    try:
        database = await Other.open(url, size=1)
    except (CommandError, DatabaseUnavailable) as error:
        raise type(error)(f"--from: {error}") from error
    try:
        yield database
    finally:
        await database.close()


async def _rows_of_other(database: Database) -> list[Found]:
    from core.cli.moving import in_rows
    from db.import_store import ImportStore

    try:
        return await in_rows(ImportStore(database))
    except StatementRejected as error:
        needed = "auth_creds (tenant_id, data) and auth_keys (tenant_id, key, value)"
        raise CommandError(f"--from: not the old gateway's database, which has {needed}: {error}") from error


def _move(
    context: typer.Context,
    logins: Callable[[Database], AbstractAsyncContextManager[list[Found]]],
    source: Source,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from core.cli.moving import Habits, Mover, finish, with_moving_database
    from core.cli.moving_report import Report
    from core.clock import Clock
    from db.import_store import ImportStore

    invocation, report = invocation_of(context), Report(dry_run)
    habits = Habits(invocation.settings(), invocation.config)

    async def work(database: Database) -> None:
        mover = Mover(ImportStore(database), report, source, habits, Clock().now().isoformat())
        async with logins(database) as found:
            await mover.move(found, as_json=as_json)
        await _tell_keyless(database, report)

    with_moving_database(invocation, work, dry_run=dry_run)
    finish(report, as_json=as_json)


async def _tell_keyless(database: Database, report: Report) -> None:
    """A session is opened when its tenant has a key."""
    from db.store import Store

    store = Store(database)
    for tenant in [line.tenant for line in report.lines if line.outcome == "done" and line.what is None]:
        if not await store.tenant_exists(tenant):
            missing = "it has none, and is not connected before it has: run.py import keys, or tenant add"
            report.add("skipped", tenant, "API key", code="no_key", detail=missing)


def _parsed(file: Path, parse: Callable[[bytes], list[T]]) -> list[T]:
    """What stands in a file. Raises CommandError, which tells where and never what."""
    try:
        return parse(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except Damaged as damage:
        raise CommandError(f"{file}: {damage} [{damage.code}]") from damage
