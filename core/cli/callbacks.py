"""`callbacks list` and `callbacks retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from core.cli.invocation import invocation_of
from core.cli.output import columns, note, say, say_json
from core.cli.tenant import AsJson, no_such_tenant
from core.errors import CommandError

if TYPE_CHECKING:
    from core.callback_rows import Delivery, DeliveryStatus, EndpointState
    from core.settings import Settings
    from db.callback_store import CallbackStore
    from db.database import Database

commands = typer.Typer(no_args_is_help=True, help="Events that are sent to tenants' endpoints.")

Tenant = Annotated[str | None, typer.Option("--tenant", metavar="ID", help="Only this tenant's.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint", metavar="NAME", help="Only to this endpoint.")]
SHOWN, AT_A_TIME = 100, 10_000


@commands.command("list")
def show(  # noqa: PLR0913, PLR0917 - one parameter for each option
    context: typer.Context,
    tenant: Tenant = None,
    endpoint: Endpoint = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that are still tried.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = SHOWN,
    as_json: AsJson = False,
) -> None:
    """How endpoints fare, and what became of deliveries, the newest event first."""
    from core.cli.opened import with_database

    if dead and pending:
        raise CommandError("--dead and --pending together would be nothing; leave one out")
    status: DeliveryStatus | None = "dead" if dead else "pending" if pending else None

    async def look(database: Database) -> tuple[list[EndpointState], list[Delivery]]:
        await _known(database, tenant)
        store = _store(database)
        found = await store.deliveries(tenant, limit, status=status, endpoint=endpoint)
        return await store.endpoints(tenant), found

    endpoints, found = with_database(invocation_of(context), look)
    endpoints = [one for one in endpoints if endpoint in {None, one.endpoint}]
    if as_json:
        say_json({"endpoints": endpoints, "deliveries": found})
    else:
        _tell(endpoints, found)


def _tell(endpoints: list[EndpointState], found: list[Delivery]) -> None:
    columns([one.tenant, one.endpoint, f"{one.pending} pending", f"{one.dead} dead", _health(one)] for one in endpoints)
    if endpoints and found:
        say()
    columns([one.id, one.tenant, one.endpoint, one.type, _fate(one)] for one in found)
    if not found:
        note("There are no such deliveries.")


def _health(one: EndpointState) -> str:
    if not one.failures:
        return "ok"
    rest = f", next try {one.rests_until:%H:%M:%S} UTC" if one.rests_until else ""
    return f"{one.failures} failures in a row{rest}"


def _fate(one: Delivery) -> str:
    said = " ".join(str(part) for part in (one.last_status, one.last_error) if part is not None)
    return f"{one.status}, {one.tries} tries{': ' if said else ''}{said}"


@commands.command()
def retry(
    context: typer.Context,
    delivery: Annotated[str | None, typer.Argument(metavar="[ID]", help="This one, as `list` shows it.")] = None,
    tenant: Tenant = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Try a delivery again for another day, or all dead ones of a tenant (and an endpoint): `serve` posts them."""
    from core.cli.opened import with_database

    if (delivery is None) == (tenant is None) or (endpoint is not None and tenant is None):
        raise CommandError("name one delivery, or --tenant ID and perhaps --endpoint NAME for all that are dead")

    invocation = invocation_of(context)
    settings = invocation.settings()

    async def again(database: Database) -> int:
        await _known(database, tenant)
        store = _store(database)
        if delivery is not None:
            return await _retry_one(store, delivery, settings)
        return await _retry_dead(store, str(tenant), endpoint, settings)

    count = with_database(invocation, again)
    if as_json:
        say_json({"retried": count})
    else:
        say(f"{count} {'delivery is' if count == 1 else 'deliveries are'} tried again.")


async def _known(database: Database, tenant: str | None) -> None:
    """Raise what a mistyped tenant deserves: of it there is nothing, which would look as if all were well."""
    from db.store import Store

    if tenant is not None and not await Store(database).tenant_exists(tenant):
        raise no_such_tenant(tenant)


def _check_configured(settings: Settings, tenant: str, endpoint: str) -> None:
    """Nobody posts to an endpoint that no YAML names."""
    names = [one.name for one in settings.tenant(tenant).callbacks]
    if endpoint not in names:
        there_are = f"the configuration of {tenant!r} names {', '.join(names) or 'no callbacks'}"
        raise CommandError(f"{endpoint!r} is posted to by nobody: {there_are}")


async def _retry_one(store: CallbackStore, name: str, settings: Settings) -> int:
    try:
        delivery = await store.delivery(str(UUID(name)))
    except ValueError:
        raise CommandError(f"{name!r} is no delivery's id; `run.py callbacks list` shows them") from None
    if delivery is None:
        raise CommandError(f"there is no delivery {name}")
    _check_configured(settings, delivery.tenant, delivery.endpoint)
    if not await store.redeliver([delivery.id]):
        raise CommandError(f"the delivery {name} is on its way already")
    return 1


async def _retry_dead(store: CallbackStore, tenant: str, endpoint: str | None, settings: Settings) -> int:
    """To one endpoint, or to all that the configuration names."""
    if endpoint is not None:
        _check_configured(settings, tenant, endpoint)
    names = [one.name for one in settings.tenant(tenant).callbacks] if endpoint is None else [endpoint]
    return sum([await _retry_endpoint(store, tenant, name) for name in names])


async def _retry_endpoint(store: CallbackStore, tenant: str, endpoint: str) -> int:
    total = 0
    while True:
        ids = await store.dead(tenant, endpoint, AT_A_TIME)
        total += await store.redeliver(ids)
        if len(ids) < AT_A_TIME:
            return total


def _store(database: Database) -> CallbackStore:
    from db.callback_store import CallbackStore

    return CallbackStore(database)
