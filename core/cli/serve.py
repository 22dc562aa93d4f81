"""`serve`: the gateway, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.invocation import invocation_of
from core.cli.output import say
from core.errors import CommandError, GapuraError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from core.app import Gateway
    from core.cli.stopping import StopSignals
    from core.hooks.registry import Plugins
    from core.sessions.loopback import Loopback
    from core.settings import Settings
    from db.embedded import EmbeddedPostgres

log = logging.getLogger(__name__)


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="service.yaml")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; 0 is any free one.", show_default="service.yaml", min=0, max=65535),
    ] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(
            help="Speak to this WhatsApp on loopback (run.py sandbox) and not to the real one.", metavar="URL"
        ),
    ] = None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Prints `gapura ready http://HOST:PORT` on stdout when it takes requests; logs go to stderr.
    """
    from core.cli.opened import postgres
    from core.cli.stopping import StopSignals

    with StopSignals.caught() as signals:
        invocation = invocation_of(context)
        settings, plugins = invocation.settings_and_plugins()
        where = host or settings.server.host, settings.server.port if port is None else port
        with postgres(settings, invocation.data) as (url, embedded):
            asyncio.run(_serve(settings, plugins, url, sandbox, embedded=embedded, where=where, signals=signals))


async def _serve(  # noqa: PLR0913
    settings: Settings,
    plugins: Plugins,
    url: str,
    sandbox: str | None,
    *,
    embedded: EmbeddedPostgres | None,
    where: tuple[str, int],
    signals: StopSignals,
) -> None:
    from core.app import Gateway

    stop = signals.event()
    async with attached(sandbox) as loopback, Gateway.open(settings, plugins, url, loopback) as gateway:
        await _warn(gateway, plugins)
        side_tasks = [embedded.supervise()] if embedded else []
        await run_gateway(gateway, where, lambda ready: say(f"gapura ready {ready}"), stop, *side_tasks)


@contextlib.asynccontextmanager
async def attached(sandbox: str | None) -> AsyncIterator[Loopback | None]:
    """What session processes need to know of the sandbox at this URL; None: the real WhatsApp. Raises CommandError."""
    from core.sessions.loopback import fetch

    if sandbox is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="gapura-sandbox-") as folder:
        loopback = await fetch(sandbox, Path(folder) / "ca.pem")
        log.warning(
            "sessions speak to the sandbox at %s, not to WhatsApp", sandbox, extra={"action": "sandbox.attached"}
        )
        yield loopback


async def run_gateway(
    gateway: Gateway,
    where: tuple[str, int],
    announce: Callable[[str], None],
    stop: asyncio.Event,
    *side_tasks: Coroutine[Any, Any, Any],
) -> None:
    """Gateway.serve on (host, port), ended by `stop` also before it is ready, with one error in place of a group.

    Raises CommandError when it cannot listen there."""
    ready = asyncio.Event()

    def announced(url: str) -> None:
        ready.set()
        announce(url)

    serving = asyncio.ensure_future(gateway.serve(*where, announced, stop, *side_tasks))
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    except BaseExceptionGroup as group:
        error = _cause(group, where)
        raise error from (error.__cause__ or error.__context__ if error is not group else None)
    finally:
        stopped.cancel()
        serving.cancel()


async def _warn(gateway: Gateway, plugins: Plugins) -> None:
    """What is valid but hardly meant."""
    rows = {row.tenant for row in await gateway.store.tenants()}
    for tenant in sorted(set(gateway.settings.tenants) - rows):
        log.warning(
            "%s is for a tenant that does not exist; make it with: run.py tenant add %s",
            gateway.settings.file_of(tenant), tenant,
            extra={"action": "config.no_such_tenant", "tenant": tenant},
        )  # fmt: skip
    for warning in plugins.warnings(gateway.settings):
        log.warning("%s", warning, extra={"action": "config.warning"})


def _cause(group: BaseExceptionGroup[BaseException], where: tuple[str, int]) -> BaseException:
    """The one error that people can do something about; the group itself when there is none."""
    errors = list(_leaves(group))
    for error in errors:
        if isinstance(error, GapuraError):
            return error
        if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and "bind on address" in str(error)):
            why = str(error.strerror).rpartition("): ")[2]
            return CommandError(f"cannot listen on {where[0]} port {where[1]}: {why}; see --host and --port")
    return group


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
