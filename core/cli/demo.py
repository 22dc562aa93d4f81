"""`demo`: a gateway that tells its story, and stays up to be played with."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from core.cli.invocation import invocation_of
from core.cli.output import say
from core.errors import CommandError, GapuraError

if TYPE_CHECKING:
    from pathlib import Path

    from core.cli.stopping import StopSignals
    from core.hooks.registry import Plugins
    from core.settings import Settings
    from db.embedded import EmbeddedPostgres

log = logging.getLogger(__name__)

T = TypeVar("T")


def demo(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.", min=0, max=65535)] = 0,
) -> None:
    """See it work: a gateway of its own tells its story and stays up; nothing leaves this machine.

    Without a terminal, or with DEMO_ONCE=1, it ends by itself; the exit status is 0 when all went well.
    """
    from core.cli.demo_files import own_folder
    from core.cli.opened import postgres
    from core.cli.stopping import StopSignals
    from core.settings import Settings

    once = os.environ.get("DEMO_ONCE", "") not in {"", "0"} or not sys.stdin.isatty()
    try:
        # Settings without a URL: the demo never touches the database that DATABASE_URL names.
        with (
            StopSignals.caught() as signals,
            own_folder(invocation_of(context).data.absolute()) as data,
            postgres(Settings(), data) as (url, embedded),
        ):
            settings, plugins = _prepared(data)
            asyncio.run(_run(settings, plugins, url, embedded, port=port, data=data, signals=signals, once=once))
    except Exception as error:
        if not isinstance(error, GapuraError):
            log.exception("the demo broke", extra={"action": "demo.failed"})
        say(f"demo failed: {error or type(error).__name__}")
        raise typer.Exit(1) from error


def _prepared(data: Path) -> tuple[Settings, Plugins]:
    from core.cli.demo_files import write_files
    from core.hooks.registry import Plugins
    from core.settings import load_settings

    settings = load_settings(write_files(data), environ={})
    plugins = Plugins.load(settings.plugins_dir, entry_points=False)
    plugins.check(settings)
    return settings, plugins


async def _run(  # noqa: PLR0913
    settings: Settings,
    plugins: Plugins,
    url: str,
    embedded: EmbeddedPostgres | None,
    *,
    port: int,
    data: Path,
    signals: StopSignals,
    once: bool,
) -> None:
    import aiohttp

    from core.app import Gateway
    from core.cli.demo_files import demo_key
    from core.cli.demo_story import Story
    from core.cli.serve import run_gateway

    stop = signals.event()
    async with Gateway.open(settings, plugins, url) as gateway, aiohttp.ClientSession() as http:
        key = await demo_key(gateway.store, data)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        side_tasks = [embedded.supervise()] if embedded else []
        serving = asyncio.create_task(run_gateway(gateway, ("127.0.0.1", port), ready.set_result, stop, *side_tasks))
        try:
            address = await _unless_ended(serving, ready)
            await _unless_ended(serving, asyncio.ensure_future(Story(gateway, http, data, address, key).tell()))
            say("\ndemo ok: sent, repeated, refused, whitelisted, answered, explained")
            if not once:
                say(f"\nIt stays up until Ctrl-C. Its configuration and its bot: {data}/config, {data}/plugins")
                say(f"    URL={address} KEY={key}")
                await serving
        finally:
            stop.set()
            await serving


async def _unless_ended(serving: asyncio.Task[None], wanted: asyncio.Future[T]) -> T:
    """What `wanted` comes to. Raises what ended the gateway first, CommandError when it was a signal."""
    both: tuple[asyncio.Future[Any], ...] = (serving, wanted)
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not wanted.done():
        wanted.cancel()
        await serving
        raise CommandError("it was stopped")
    return wanted.result()
