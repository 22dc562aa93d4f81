"""`sandbox`: a WhatsApp on this machine, with simulated phones, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.output import say
from core.errors import CommandError

if TYPE_CHECKING:
    from core.cli.stopping import StopSignals


def sandbox(
    port: Annotated[
        int,
        typer.Option(
            help="Port of the page and the control API; the next one is the proxy's; 0 is any.", min=0, max=65534
        ),
    ] = 3100,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Directory that keeps accounts and linked devices over a restart.",
            metavar="DIR",
            file_okay=False,
            show_default="nothing is kept",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it is as one line of JSON.")] = False,
) -> None:
    """Run a WhatsApp on this machine, with simulated phones, until SIGTERM or Ctrl-C.

    Prints `sandbox ready http://127.0.0.1:PORT …` on stdout when it is there. Nothing leaves this machine.
    """
    from core.cli.stopping import StopSignals

    with StopSignals.caught() as signals:
        asyncio.run(_run(port, state, as_json=as_json, signals=signals))


async def _run(port: int, state: Path | None, *, as_json: bool, signals: StopSignals) -> None:
    from sandbox import Sandbox, SandboxError
    from sandbox.control import serve_control

    stop, world = signals.event(), Sandbox(state)
    try:
        await world.start(port + 1 if port else 0)
        async with serve_control(world, port) as url:
            say(_where(url, state, as_json=as_json))
            await stop.wait()
    except SandboxError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        if "bind on address" in str(error):
            ports = f"ports {port} and {port + 1} of 127.0.0.1 are"
            raise CommandError(f"{ports} not both free; choose another one with --port") from error
        raise CommandError(f"the sandbox cannot keep its state: {error}; see --state") from error
    finally:
        await world.stop()


def _where(url: str, state: Path | None, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"url": url, "state": str(state) if state else None})
    return f"sandbox ready {url} (phones: open it in a browser; a gateway on it: run.py serve --sandbox {url})"
