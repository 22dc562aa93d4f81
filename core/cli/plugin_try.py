"""`plugin try`: what plugins say about a message. No database, nothing is sent, nothing is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.invocation import invocation_of
from core.cli.output import note, say, say_json
from core.cli.tenant import AsJson  # noqa: TC001 - typer reads the annotations
from core.errors import CommandError

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from core.cli.trial import Trial
    from core.clock import Clock

SOMEBODY = "+62 812-3456-789"


def try_(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin to try.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the message says.")],
    tenant: Annotated[str, typer.Option(help="Whose settings and plugins hold.", metavar="T")],
    at: Annotated[
        str | None,
        typer.Option(help="When: 21:30 is today in the tenant's time zone, or 2026-01-05T21:30.", metavar="TIME"),
    ] = None,
    to: Annotated[str, typer.Option(help="To (and from) which number.", metavar="NUMBER")] = SOMEBODY,
    as_json: AsJson = False,
) -> None:
    """Show what a plugin and the tenant's others say about TEXT, going out and coming in.

    Nothing is sent or kept, and no database is asked: limits are shown, not counted. The exit status is 1 when a
    plugin failed.
    """
    from core.cli.trial import made_trial, tried
    from core.clock import Clock

    settings, plugins = invocation_of(context).settings_and_plugins()
    clock = Clock()
    zone = settings.tenant(tenant).zone
    trial = made_trial(settings, plugins, name, tenant=tenant, clock=clock, now=moment(at, zone, clock))
    told = asyncio.run(tried(trial, to, text))
    if as_json:
        say_json(told)
    else:
        _show(trial, told)
    if told["failures"]:
        raise typer.Exit(1)


def moment(at: str | None, zone: ZoneInfo, clock: Clock) -> datetime:
    """`21:30` today in `zone`, or a whole date and time (in `zone` unless it says otherwise). Raises CommandError."""
    from datetime import datetime, time

    now = clock.now().astimezone(zone)
    if at is None:
        return now
    try:
        if "T" not in at and "-" not in at:
            return datetime.combine(now.date(), time.fromisoformat(at.zfill(5)), zone)
        given = datetime.fromisoformat(at)
    except ValueError as error:
        raise CommandError(f"--at {at!r} is no time; write it as 21:30 or 2026-01-05T21:30") from error
    return given.astimezone(zone) if given.tzinfo else given.replace(tzinfo=zone)


def _show(trial: Trial, told: dict[str, Any]) -> None:
    if trial.added:
        note(
            f"{trial.name} is not in the plugins of {trial.tenant}:"
            " it is enabled, with its default options, for this try."
        )
    say(f"{trial.tenant}, {trial.now:%a %Y-%m-%d %H:%M %Z}, to {told['to']}: {told['text']}")
    say(f"plugins: {', '.join(told['plugins'])}")
    say("\ngoing out")
    if told["changed_by"]:
        say(f"  prepare_outgoing  {', '.join(told['changed_by'])} made it: {told['prepared']}")
    for said in told["admit"]:
        say(f"  admit             {_said(said)}")
    for plugin, seconds in told["pace"].items():
        say(f"  pace              {plugin}: {seconds:g} s before it goes")
    say(f"  verdict           {told['verdict']}")
    say("\ncoming in, from the same number")
    for reply in told["on_message"]:
        say(f"  on_message        {reply['plugin']} answers {reply['to']}: {reply['content']}")
    if not told["on_message"]:
        say("  on_message        nobody answers")
    for effect in told["effects"]:
        say(f"  effect            {effect}")
    for failure in told["failures"]:
        note(f"  FAILED            {failure}")


def _said(said: dict[str, Any]) -> str:
    when = f", if on: {' or '.join(said['when'])}" if said.get("when") else ""
    match said["decision"]:
        case "deny":
            later = f"; again in {said['retry_after']:g} s" if said["retry_after"] else ""
            return f"{said['plugin']}: Deny {said['code']}: {said['message']}{later}{when}"
        case "quota":
            cost = f", counting {said['cost']}" if said["cost"] != 1 else ""
            return f"{said['plugin']}: Quota {said['limit']} per {said['per']} and {said['period']}{cost}{when}"
    return f"{said['plugin']}: Exempt from {', '.join(said['names'])}{when}"
