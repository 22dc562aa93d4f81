"""`session check` and `session restore`: the logins in the database, which has each of them twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.invocation import invocation_of
from core.cli.output import columns, say, say_json
from core.cli.tenant import AsJson, TenantId  # noqa: TC001 - typer reads the annotations
from core.errors import CommandError

if TYPE_CHECKING:
    from core.sessions.logins import Logins
    from db.database import Database
    from db.login_store import LoginStore

commands = typer.Typer(no_args_is_help=True, help="WhatsApp logins in the database.")

_PROBLEMS = {"missing": "is missing", "different": "differs", "too_many": "should not be there"}
_LOST = {"row": "whatsmeow_device", "problem": "missing"}
"""auth_creds and auth_keys alone have the login. No row of theirs is wrong then: they are what it is restored from."""
_REMAINS = {"row": "whatsmeow_*", "problem": "missing"}
"""Some of whatsmeow's tables are gone."""


@commands.command()
def check(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare auth_creds and auth_keys with whatsmeow's tables; the exit status is 1 when they do not agree.

    What differs is put right by itself when the session is opened next; whatsmeow's tables prevail, and a login that
    they have lost is restored.
    """
    from core.cli.opened import with_database

    found, unmirrored = with_database(invocation_of(context), lambda database: _check(database, tenant))
    if as_json:
        say_json({"logins": found, "unmirrored": unmirrored})
    else:
        _tell(found, unmirrored)
    if unmirrored or any(login["differences"] for login in found):
        raise typer.Exit(1)


async def _check(database: Database, tenant: str | None) -> tuple[list[dict[str, Any]], list[str]]:
    from db.login_store import LoginStore

    store = LoginStore(database)
    found: list[dict[str, Any]] = []
    remains = await store.store_version() is None and await store.has_remains()
    for owner, jid, stands in await store.devices():
        if tenant in (None, owner):
            wrong = [_REMAINS] if remains else await _differences(store, owner) if stands else [_LOST]
            found.append({"tenant": owner, "device": jid, "differences": wrong})
    return found, await store.untriggered()


async def _differences(store: LoginStore, tenant: str) -> list[dict[str, str]]:
    return [{"row": key or "auth_creds", "problem": problem} for key, problem in await store.differences(tenant)]


def _tell(found: list[dict[str, Any]], unmirrored: list[str]) -> None:
    for table in unmirrored:
        say(f"whatsmeow_{table} is not mirrored now; the next session process sees to it")
    columns((login["tenant"], login["device"] or "?", _agreement(login)) for login in found)
    for login in found:
        for wrong in login["differences"]:
            say(f"{login['tenant']}: {wrong['row']} {_PROBLEMS[wrong['problem']]}")
    if not found:
        say("There is no login to compare.")


def _agreement(login: dict[str, Any]) -> str:
    wrong = login["differences"]
    if wrong == [_LOST]:
        return "is in auth_creds and auth_keys alone: restored when it is opened next, or by session restore"
    if wrong == [_REMAINS]:
        from core.sessions.logins import MISSING_TABLES

        return MISSING_TABLES
    return f"{len(wrong)} rows differ" if wrong else "auth_creds and auth_keys agree with whatsmeow's tables"


@commands.command()
def restore(
    context: typer.Context,
    tenant: TenantId,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Also begin all conversations anew: after an old copy of the database.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a login from auth_creds and auth_keys, where whatsmeow's tables have it no more. `serve` does so by itself.

    While nobody has the session open: stop `serve` first.
    """
    from core.cli.opened import with_database

    jid, restored = with_database(invocation_of(context), lambda database: _restore(database, tenant, afresh=afresh))
    if as_json:
        say_json({"tenant": tenant, "device": jid, "restored": restored, "afresh": afresh})
    else:
        done = "was restored" if restored else "is in whatsmeow's tables"
        say(f"The login of {tenant}, {jid}, {done}{'; its conversations begin anew' if afresh else ''}.")


async def _restore(database: Database, tenant: str, *, afresh: bool) -> tuple[str, bool]:
    from core.baileys.places import Damaged
    from core.sessions.mirrored import device_of
    from db.login_store import LoginStore
    from db.session_store import SessionStore

    store, sessions = LoginStore(database), SessionStore(database)
    if any(row.held for row in await sessions.sessions(tenant)):
        raise CommandError(f"the session of {tenant} is open; stop `run.py serve` first")
    creds, _ = await store.mirror(tenant)
    if creds is None:
        raise CommandError(f"auth_creds has no login of {tenant}; pair it: run.py tenant pair {tenant}")
    try:
        jid, lid, sandbox = device_of(creds)
    except Damaged as damaged:
        raise CommandError(f"auth_creds of {tenant} is of no use ({damaged.code}: {damaged})") from None
    logins = _logins(database, store)
    await logins.prepare()
    restored = not await sessions.device_exists(jid)
    if restored and (problem := await logins.restore(tenant, jid)) is not None:
        raise CommandError(problem)
    if not await store.bind(tenant, jid, lid, sandbox=sandbox):
        raise CommandError(f"the session of {tenant} has another device, or another tenant has this one")
    if afresh:
        await store.begin_afresh(jid)
    return jid, restored


def _logins(database: Database, store: LoginStore) -> Logins:
    from core.sessions.logins import Logins
    from core.transport.whatsapp.database import STORE_VERSION, make_tables

    async def make() -> None:
        from core.transport.whatsapp.gate import ConnectGate
        from core.transport.whatsapp.process import prepare_process

        prepare_process(1)
        await make_tables(database.url, ConnectGate())

    return Logins(store, STORE_VERSION, make)
