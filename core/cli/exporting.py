"""`export auth`: a tenant's WhatsApp login as Baileys keeps it, for whoever moves out."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.invocation import invocation_of
from core.cli.output import note, say, say_json
from core.cli.tenant import AsJson, TenantId  # noqa: TC001 - typer reads the annotations
from core.errors import CommandError, Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.baileys.moving_out import Baileys
    from db.database import Database

commands = typer.Typer(no_args_is_help=True, help="Take a tenant's login out.")


@commands.command()
def auth(
    context: typer.Context,
    tenant: TenantId,
    directory: Annotated[Path, typer.Argument(help="A new or empty folder; it is secret.", metavar="DIR")],
    as_json: AsJson = False,
) -> None:
    """Write a WhatsApp login as a folder of Baileys 7. No gateway may have it open, neither now nor later."""
    from core.cli.opened import with_database

    login = with_database(invocation_of(context), lambda database: _login(database, tenant))
    write_folder(directory, login)
    if as_json:
        say_json({"tenant": tenant, "keys": len(login.keys), "lost_message_keys": login.lost, "skipped": login.skipped})
        return
    say(f"The login of {tenant} is in {directory}: its creds and {len(login.keys)} keys.")
    for name in login.skipped:
        note(f"{name} has no form in Baileys: that conversation begins afresh")
    if login.lost:
        note(f"{login.lost} messages that did not come yet cannot be read there; their senders are asked again.")
    note(
        f"One login lives in one place: before `serve` starts again, run.py tenant remove {tenant}"
        " (while `serve` runs, that unlinks the device at WhatsApp, and what was exported is of no use)."
    )


async def _login(database: Database, tenant: str) -> Baileys:
    from core.baileys.moving_in import Extra
    from core.baileys.moving_out import write_login
    from core.clock import Clock
    from db.import_store import ImportStore

    store = ImportStore(database)
    if await store.is_held(tenant):
        raise Conflict("session_held", "a gateway has this tenant's session in hand, and changes it: stop it first")
    found = await store.login(tenant)
    if found is None:
        raise NotFound("not_paired", f"the tenant {tenant!r} has no WhatsApp login")
    rows, extra = found
    aside = Extra(**json.loads(extra)) if extra else Extra()
    return write_login(rows, aside, int(Clock().now().timestamp() * 1000))


def write_folder(directory: Path, login: Baileys) -> None:
    """The folder (0700) and its files (0600), all of them or none. Raises CommandError."""
    from core.baileys.names import CREDS_FILE, file_of_key

    files = {CREDS_FILE: login.creds, **{file_of_key(key): value for key, value in login.keys.items()}}
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            _fill(made, files)
            made.replace(directory)  # over an empty folder, and over nothing else
        except BaseException:
            shutil.rmtree(made)
            raise
    except OSError as error:
        raise CommandError(f"{directory}: {error.strerror}; give a new or empty folder") from error


def _fill(folder: Path, files: Mapping[str, Any]) -> None:
    for name, value in files.items():
        opened = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            json.dump(value, file, separators=(",", ":"))
