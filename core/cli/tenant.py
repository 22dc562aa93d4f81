"""`tenant add | list | rotate-key | remove`; `tenant pair` is in core/cli/pairing.py."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.invocation import Invocation, invocation_of
from core.cli.output import columns, note, say, say_json
from core.errors import CommandError, Conflict, NotFound, Refused, Unprocessable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from core.transport.base import SessionStatus
    from db.database import Database
    from db.store import TenantRow

commands = typer.Typer(no_args_is_help=True, help="Customers: one API key and one WhatsApp number each.")

TenantId = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id: 1 to 100 of a-z, 0-9, _ and -.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]


def no_such_tenant(tenant: str) -> Refused:
    """The error for a tenant without a row in api_keys; also when it could not even be made."""
    from core.settings import TENANT_ID

    if not TENANT_ID.fullmatch(tenant):
        return _not_an_id(tenant)
    return NotFound("tenant_not_found", f"there is no tenant {tenant!r}; make it with: run.py tenant add {tenant}")


@commands.command()
def add(context: typer.Context, tenant: TenantId, as_json: AsJson = False) -> None:
    """Make a tenant. Its API key is shown this once and never again."""
    from core.cli.opened import with_store
    from core.settings import TENANT_ID
    from core.tenants import new_key

    if not TENANT_ID.fullmatch(tenant):
        raise _not_an_id(tenant)
    invocation, key = invocation_of(context), new_key()
    stored = _as_stored(invocation, key)
    if not with_store(invocation, lambda store: store.add_tenant(tenant, stored)):
        raise Conflict(
            "tenant_exists", f"the tenant {tenant!r} exists already; for another key: run.py tenant rotate-key {tenant}"
        )
    _show_key(tenant, key, as_json)
    if invocation.settings().tenant(tenant).transport == "whatsapp" and not as_json:
        note(f"Next, while `run.py serve` runs, link its WhatsApp number: run.py tenant pair {tenant}")


@commands.command(name="list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Show all tenants, and how far their WhatsApp sessions are."""
    from core.cli.opened import with_database

    invocation = invocation_of(context)
    settings, (rows, states, alarms) = invocation.settings(), with_database(invocation, _tenants)
    found = []
    for row in rows:
        transport = settings.tenant(row.tenant).transport
        session = states(row.tenant) if transport == "whatsapp" else None
        found.append(
            {
                "tenant": row.tenant,
                "created_at": row.created_at,
                "queued": row.queued,
                "transport": transport,
                "state": session.state if session else None,
                "phone": session.phone if session else None,
                "file": str(settings.files[row.tenant]) if row.tenant in settings.files else None,
            }
        )
    if as_json:
        told_alarms = [{"name": name, "since": since, "detail": detail} for name, since, detail in alarms]
        say_json({"tenants": found, "alarms": told_alarms})
    elif not found:
        say("There are no tenants yet; make one with: run.py tenant add TENANT")
    else:
        told = [
            (str(t["tenant"]), f"{t['created_at']:%Y-%m-%d %H:%M}Z", str(t["transport"]), str(t["state"] or "-"),
             str(t["phone"] or "-"), str(t["queued"]), str(t["file"] or "(defaults)"))
            for t in found
        ]  # fmt: skip
        columns([("TENANT", "CREATED", "TRANSPORT", "SESSION", "PHONE", "QUEUED", "CONFIGURATION"), *told])
    for _, since, detail in () if as_json else alarms:
        say(f"ALARM since {since:%Y-%m-%d %H:%M}Z: {detail}")


async def _tenants(
    database: Database,
) -> tuple[list[TenantRow], Callable[[str], SessionStatus], list[tuple[str, datetime, str]]]:
    """(all tenants, what tells the state of one's session, what concerns all of them)"""
    from core.clock import Clock
    from core.sessions.remote import RemoteSessions
    from db.session_store import SessionStore
    from db.store import Store

    store = SessionStore(database)
    sessions = RemoteSessions(store, Clock(), lambda *_: None)
    await sessions.load()
    return await Store(database).tenants(), sessions.status, await store.alarms()


@commands.command(name="rotate-key")
def rotate_key(context: typer.Context, tenant: TenantId, as_json: AsJson = False) -> None:
    """Replace a tenant's API key; the old one is void at once, in every running gateway."""
    from core.cli.opened import with_store
    from core.tenants import new_key

    invocation, key = invocation_of(context), new_key()
    stored = _as_stored(invocation, key)
    if not with_store(invocation, lambda store: store.rotate_key(tenant, stored)):
        raise no_such_tenant(tenant)
    _show_key(tenant, key, as_json)


@commands.command()
def remove(
    context: typer.Context,
    tenant: TenantId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a tenant's key, whitelist, login, events, what was written to it and what plugins have kept, and cancel
    what is queued. Its own messages and its list of opt-outs stay."""
    from core.cli.opened import with_store

    if not yes:
        _confirm(tenant)
    if not with_store(invocation_of(context), lambda store: store.remove_tenant(tenant)):
        raise no_such_tenant(tenant)
    if as_json:
        say_json({"tenant": tenant, "removed": True})
    else:
        say(f"The tenant {tenant} is gone: its key, whitelist and login. The messages that it sent are kept.")


def _confirm(tenant: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"nobody is here to be asked whether {tenant!r} shall really go: add --yes")
    question = f"Delete the key, the whitelist and the WhatsApp login of {tenant}, and cancel what is queued?"
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was removed")


def _not_an_id(tenant: str) -> Unprocessable:
    why = f"{tenant!r} cannot be a tenant's id: 1 to 100 of a-z, 0-9, _ and -"
    return Unprocessable("tenant_id_not_valid", why, field="tenant")


def _as_stored(invocation: Invocation, key: str) -> str:
    from core.tenants import key_digest

    return key if invocation.settings().keys.store == "plain" else key_digest(key)


def _show_key(tenant: str, key: str, as_json: bool) -> None:
    if as_json:
        say_json({"tenant": tenant, "api_key": key})
        return
    say(f"tenant   {tenant}")
    say(f"api key  {key}")
    note("The key is shown this once: keep it now.")
