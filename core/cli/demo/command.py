"""`demo`: a gateway that tells its story, and stays up to be played with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from core.cli.invocation import invocation_of
from core.cli.output import note, say
from core.errors import CommandError, GapuraError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from core.app import Gateway
    from core.cli.demo.cast import Cast
    from core.cli.stopping import StopSignals
    from core.hooks.registry import Plugins
    from core.settings import Settings
    from db.embedded import EmbeddedPostgres
    from sandbox import Sandbox

log = logging.getLogger(__name__)

T = TypeVar("T")

_LAST_LINES = 30
"""Of the log, told when the demo fails."""


class _Stopped(CommandError):
    """By a signal, before the story was told."""


def demo(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.", min=0, max=65535)] = 0,
) -> None:
    """See it work: a gateway, a WhatsApp on this machine and its phones tell a story, and stay up to be played with.

    Nothing leaves this machine. Without a terminal, or with DEMO_ONCE=1, it ends by itself; the exit status is 0 when
    all went well.
    """
    from core.cli.demo.files import own_folder
    from core.cli.opened import postgres
    from core.cli.stopping import StopSignals
    from core.settings import Settings

    once = os.environ.get("DEMO_ONCE", "") not in {"", "0"} or not sys.stdin.isatty()
    try:
        # Settings without a URL: the demo never touches the database that DATABASE_URL names.
        with (
            StopSignals.caught() as signals,
            own_folder(invocation_of(context).data.absolute()) as data,
            _log_in(data / "demo.log"),
            postgres(Settings(), data) as (url, embedded),
        ):
            settings, plugins = _prepared(data)
            asyncio.run(_run(settings, plugins, url, embedded, port=port, data=data, signals=signals, once=once))
    except Exception as error:
        say(f"demo failed: {error or type(error).__name__}")
        raise typer.Exit(1) from error


@contextlib.contextmanager
def _log_in(file: Path) -> Iterator[None]:
    """What this process and its session processes log goes into `file`: it would interrupt the story. The end of it is
    shown when the story broke."""
    sys.stderr.flush()
    before = os.dup(sys.stderr.fileno())
    with file.open("wb") as kept:
        os.dup2(kept.fileno(), sys.stderr.fileno())
    tell_end = False
    try:
        yield
    except _Stopped:
        raise
    except Exception as error:
        tell_end = True
        if not isinstance(error, GapuraError):
            log.exception("the demo broke", extra={"action": "demo.failed"})
        raise
    finally:
        sys.stderr.flush()
        os.dup2(before, sys.stderr.fileno())
        os.close(before)
        if tell_end:
            last = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
            note("\n".join([f"The end of {file}:", *last]))


def _prepared(data: Path) -> tuple[Settings, Plugins]:
    from core.cli.demo.files import write_files
    from core.clock import Clock
    from core.hooks.registry import Plugins
    from core.settings import load_settings

    settings = load_settings(write_files(data, Clock().now()), environ={})
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
    from core.cli.demo.story import Story
    from core.cli.serve import run_gateway

    stop = signals.event()
    async with _town(settings, plugins, url) as (sandbox, page, gateway):
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        side_tasks = [embedded.supervise()] if embedded else []
        serving = asyncio.create_task(run_gateway(gateway, ("127.0.0.1", port), ready.set_result, stop, *side_tasks))
        try:
            address = await _unless_ended(serving, ready, stop)
            async with _cast(gateway, sandbox, address) as cast:
                story = Story(cast, page, data)
                await _unless_ended(serving, asyncio.ensure_future(story.tell()), stop)
                if not once:
                    story.invite()
                    await serving
        finally:
            stop.set()
            await serving


@contextlib.asynccontextmanager
async def _town(settings: Settings, plugins: Plugins, url: str) -> AsyncIterator[tuple[Sandbox, str, Gateway]]:
    """A WhatsApp on loopback, the address of its page, and a gateway attached to it that does not serve yet."""
    from core.app import Gateway
    from core.cli.serve import attached
    from sandbox import Sandbox
    from sandbox.control import serve_control

    async with (
        Sandbox() as sandbox,
        serve_control(sandbox, 0) as page,
        attached(page) as loopback,
        Gateway.open(settings, plugins, url, loopback) as gateway,
    ):
        yield sandbox, page, gateway


@contextlib.asynccontextmanager
async def _cast(gateway: Gateway, sandbox: Sandbox, address: str) -> AsyncIterator[Cast]:
    import aiohttp

    from core.cli.demo.cast import Cast, Shop
    from core.cli.demo.files import TENANT
    from core.tenants import key_digest, new_key

    key = new_key()
    await gateway.store.add_tenant(TENANT, key_digest(key))
    async with aiohttp.ClientSession() as http:
        yield Cast(Shop(http, address, key, gateway.clock), sandbox)


async def _unless_ended(serving: asyncio.Task[None], wanted: asyncio.Future[T], stop: asyncio.Event) -> T:
    """What `wanted` comes to. Raises what ended the gateway first, _Stopped when it was a signal."""
    both: tuple[asyncio.Future[Any], ...] = (serving, wanted)
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if wanted.done() and not stop.is_set():
        return wanted.result()
    wanted.cancel()
    await asyncio.gather(wanted, return_exceptions=True)  # a story without a gateway ends badly
    await serving
    raise _Stopped("it was stopped")
