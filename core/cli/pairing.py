"""`tenant pair`: link a WhatsApp number from a terminal, through the gateway that runs."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.invocation import invocation_of
from core.cli.output import refused_in_one_line
from core.cli.tenant import AsJson, TenantId, no_such_tenant
from core.errors import CommandError, Conflict, OverLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from typing import Any

    from core.cli.pairing_screen import Screen
    from core.clock import Clock
    from core.sessions.remote import RemoteSessions
    from core.settings import ServerSettings
    from db.database import Database

CONNECTS_WITHIN = 90.0
"""Seconds from the scan to a working session."""

_ANSWERS_WITHIN = 10.0
"""Seconds for the gateway to say that it lives. Where nobody listens, that shows at once."""

_TICK = 0.5
_WORKS = ("connected", "restricted")
_GOES_ON = ("pairing", "connecting", "disconnected")
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - it is looked for, not listened on


@refused_in_one_line
def pair(
    context: typer.Context,
    tenant: TenantId,
    code: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Show a code to type on the phone with this number, too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also link another WhatsApp number than before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Link a WhatsApp number: shows a QR code here and a page's address, and waits until it is connected.

    Needs a running `run.py serve`. The exit status is 0 only when the number is connected. With --json each event is
    one line, and so is the error at the end.
    """
    from core.cli.opened import with_database
    from core.cli.pairing_screen import Drawing, Lines
    from core.cli.stopping import StopSignals
    from core.web.pairing import check_whatsapp, phone_of

    invocation = invocation_of(context)
    settings = invocation.settings()
    check_whatsapp(settings.tenant(tenant).transport)
    number = phone_of(code, settings.tenant(tenant).region) if code is not None else None
    screen = Lines() if as_json else Drawing(by_code=number is not None)
    with StopSignals.caught() as signals:

        async def work(database: Database) -> bool:
            stop = signals.event()
            async with _attempt(database, tenant, settings.server, screen) as attempt:
                return await _until(attempt.run(number, force=force), stop)

        connected = with_database(invocation, work)
    if not connected:
        raise CommandError(f"left before {tenant} was linked; {_again(tenant)}")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One tenant's pairing, followed from here."""

    tenant: str
    sessions: RemoteSessions
    clock: Clock
    screen: Screen
    server: ServerSettings

    async def run(self, number: str | None, *, force: bool = False) -> None:
        """Until it is connected. Raises what RemoteSessions.pair raises, and CommandError when it came to nothing."""
        linked = self.sessions.status(self.tenant).phone
        if linked is not None and (force or number not in (None, linked)):
            raise Conflict("already_paired", f"+{linked} is linked; log out first to link another: POST /api/logout")
        try:
            await self.sessions.pair(self.tenant, number, force=force)
        except OverLimit as refused:
            raise CommandError(f"{refused.detail}: try again in {refused.retry_after or 60:.0f} s") from None
        except Conflict as refused:
            if refused.code == "pairing_ended":
                raise CommandError(f"{refused.detail}; {_again(self.tenant)}") from None
            if refused.code != "already_paired":
                raise
        else:
            await self._tell_link(force=force)
        await self._follow()
        self.screen.connected(self.sessions.status(self.tenant))

    async def _tell_link(self, *, force: bool) -> None:
        from core.web.pairing import page_url

        if (base := await _reachable(self.server)) is not None:
            token, until = await self.sessions.pair_link(self.tenant, force=force)
            self.screen.link(page_url(base, token), until)

    async def _follow(self) -> None:
        before, since = "", self.clock.monotonic()
        while (status := self.sessions.status(self.tenant)).state not in _WORKS:
            if status.state != before:
                before, since = status.state, self.clock.monotonic()
                self.screen.state(status)
            is_late = status.state != "pairing" and self.clock.monotonic() - since > CONNECTS_WITHIN
            if status.state not in _GOES_ON or is_late:
                raise CommandError(f"{status.reason or status.state}; {_again(self.tenant)}")
            if (pairing := self.sessions.pairing(self.tenant)) is not None:
                self.screen.show(pairing, self.clock.now())
            await self.sessions.wait(self.tenant, _TICK)
            self.sessions.heard(self.tenant)  # a process that dies says nothing


@contextlib.asynccontextmanager
async def _attempt(database: Database, tenant: str, server: ServerSettings, screen: Screen) -> AsyncIterator[_Attempt]:
    from core.channels import COMMANDS, SESSIONS
    from core.clock import Clock
    from core.sessions.remote import RemoteSessions
    from db.listen import Listener
    from db.session_store import SessionStore
    from db.store import Store

    store, clock = Store(database), Clock()
    if not await store.tenant_exists(tenant):
        raise no_such_tenant(tenant)
    if not await store.live_processes():
        raise CommandError("no gateway is running: start `run.py serve` in another terminal, and try again")
    sessions = RemoteSessions(SessionStore(database), clock, lambda *_: None)
    channels = {SESSIONS: sessions.heard, COMMANDS: lambda _: sessions.answered()}
    listener = Listener(database.url, channels, on_connected=sessions.load, application_name="gapura-pair")
    listening = asyncio.create_task(listener.run())
    try:
        while not listener.connected:
            await clock.sleep(0.01)
        yield _Attempt(tenant, sessions, clock, screen, server)
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def _until(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether `work` came to its end before `stop`."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
        return working.done()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working, stopping})


async def _reachable(server: ServerSettings) -> str | None:
    """Where a browser finds the gateway; None when nobody answers where it is configured to be."""
    import aiohttp

    if server.public_url is not None:
        return server.public_url
    host = _ANYWHERE.get(server.host, f"[{server.host}]" if ":" in server.host else server.host)
    url = f"http://{host}:{server.port}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWERS_WITHIN)) as http,
            http.get(f"{url}/healthz") as answer,
        ):
            return url if await answer.json(content_type=None) == {"alive": True} else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def _again(tenant: str) -> str:
    return f"to try again: run.py tenant pair {tenant}"
