"""`check`, `plugins` and `plugin new`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.invocation import invocation_of
from core.cli.output import columns, note, say, say_json, tell
from core.cli.plugin_try import try_
from core.cli.tenant import AsJson  # noqa: TC001 - typer reads the annotations
from core.errors import CommandError, ConfigError

if TYPE_CHECKING:
    from core.hooks.registry import PluginInfo

commands = typer.Typer(no_args_is_help=True, help="Write a plugin, and try it out.")
commands.command(name="try")(try_)


def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Validate configuration and plugins, without any database. The exit status is 1 when `serve` would not start."""
    invocation = invocation_of(context)
    try:
        settings, plugins = invocation.settings_and_plugins()
    except ConfigError as error:
        tell(error, as_json=as_json)
        raise typer.Exit(1) from error
    warnings = plugins.warnings(settings)
    if as_json:
        say_json(
            {"ok": True, "tenants": sorted(settings.tenants), "plugins": list(plugins.found), "warnings": warnings}
        )
        return
    for warning in warnings:
        note(f"warning: {warning}")
    files, found = _count(len(settings.tenants), "tenant file"), _count(len(plugins.found), "plugin")
    say(f"ok: {files}, {found} in {invocation.config}")


def plugins(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what is loaded, from where, with which hooks and options."""
    _, loaded = invocation_of(context).settings_and_plugins()
    found = loaded.info()
    if as_json:
        say_json({"plugins": found})
        return
    rows = [(one.name, _origin(one.origin), ", ".join(one.hooks), _options(one)) for one in found]
    columns([("PLUGIN", "FROM", "HOOKS", "OPTIONS"), *rows])


@commands.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and _: office_hours.")],
) -> None:
    """Write a first plugin and its green test into plugins_dir."""
    from core.hooks.scaffold import write_plugin

    invocation = invocation_of(context)
    directory = invocation.settings().plugins_dir
    if directory is None:
        raise CommandError(f"{invocation.config}/service.yaml names no plugins_dir; write: plugins_dir: ../my_plugins")
    plugin, test = (_near(path) for path in write_plugin(name, directory))
    say(f"wrote   {plugin}\nwrote   {test}\n")
    say(f"test    .venv/bin/python -m pytest {test}")
    say(f'try     .venv/bin/python run.py plugin try {name} --tenant demo --at 21:30 "Are you open?"')
    say("enable  in config/tenants/TENANT.yaml; the list replaces the default one, so name the others too:\n")
    say("\n".join(["    plugins:", *(f"      {one}:" for one in (*invocation.settings().defaults.plugins, name))]))


def _near(path: Path) -> Path:
    """As people would type it from where they are."""
    path = Path(os.path.normpath(path.absolute()))
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _origin(origin: str) -> str:
    return str(_near(Path(origin))) if Path(origin).is_absolute() or os.sep in origin else origin


def _options(plugin: PluginInfo) -> str:
    shown = (f"{o.name}: {o.type}" + (f" = {o.default}" if o.default is not None else "") for o in plugin.options)
    return ", ".join(shown)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
