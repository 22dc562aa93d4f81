"""The command line: global options, the commands, and one way to tell what went wrong."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli import (
    callbacks,
    database,
    demo,
    exporting,
    importing,
    logins,
    pairing,
    plugins,
    sandbox,
    send,
    serve,
    session_process,
    tenant,
    worker,
)
from core.cli.arguments import arranged, wants_json
from core.cli.invocation import ROOT, Invocation, LogFormat, LogLevel
from core.cli.output import drop_stdout, tell
from core.errors import GapuraError

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_LONG_LIVED = {"serve", "worker", "session-process", "demo"}


@app.callback()
def gapura(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option(envvar="GAPURA_CONFIG", help="Directory of service.yaml and tenants/.", metavar="DIR")
    ] = ROOT / "config",
    data: Annotated[
        Path, typer.Option(envvar="GAPURA_DATA", help="Directory of the embedded PostgreSQL.", metavar="DIR")
    ] = ROOT / "var",
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            envvar="GAPURA_LOG_LEVEL", help="What to log.", show_default="info for serve and worker, else warning"
        ),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(envvar="GAPURA_LOG_FORMAT", help="How to log, on stderr.")] = "text",
) -> None:
    """**Gapura**: a WhatsApp gateway for many tenants, and a framework for chat bots made of plugins."""
    import core.failpoints  # noqa: F401 - with a wrong GAPURA_FAILPOINT nothing starts
    from core.cli.log_format import set_up_logging

    set_up_logging(log_level or ("info" if context.invoked_subcommand in _LONG_LIVED else "warning"), log_format)
    context.obj = Invocation(config=config, data=data)


app.command()(serve.serve)
app.command()(worker.worker)
app.command(hidden=True)(session_process.session_process)
app.command()(demo.demo)
app.command()(sandbox.sandbox)
tenant.commands.command()(pairing.pair)
app.add_typer(tenant.commands, name="tenant")
app.command()(send.send)
app.command()(send.inject)
app.add_typer(database.commands, name="db")
app.add_typer(logins.commands, name="session")
app.add_typer(callbacks.commands, name="callbacks")
app.add_typer(importing.commands, name="import")
app.add_typer(exporting.commands, name="export")
app.command()(plugins.check)
app.command(name="plugins")(plugins.plugins)
app.add_typer(plugins.commands, name="plugin")


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; the exit status: 0, 1 when it was not carried out, 2 for a wrong command line or
    configuration."""
    try:
        app(arranged(arguments), prog_name="run.py")
    except GapuraError as error:
        return tell(error, as_json=wants_json(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except BrokenPipeError:  # `run.py tenant list | head -1`
        drop_stdout()
    return 0
