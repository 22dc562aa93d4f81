"""How commands speak: answers on stdout, everything else on stderr; with --json one JSON document on stdout."""

from __future__ import annotations

import functools
import math
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec

import typer

from core.errors import (
    CommandError,
    ConfigError,
    DatabaseUnavailable,
    GapuraError,
    PluginFailed,
    Refused,
    StatementRejected,
    StatementTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

P = ParamSpec("P")

BROKEN, FAILED = 2, 1
"""Exit status: the configuration cannot be used; the command was not carried out."""

_LONGEST = 366 * 86_400.0
"""Seconds; who should come back later than that is not told when."""

_CODES: dict[type[GapuraError], str] = {
    ConfigError: "config_error",
    CommandError: "command_failed",
    PluginFailed: "plugin_failed",
    DatabaseUnavailable: "database_unavailable",
    StatementTimeout: "database_timeout",
    StatementRejected: "database_refused",
}


def say(text: str = "") -> None:
    """A line of the answer. CommandError when there is no room for it; who stops reading is BrokenPipeError."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_stdout()
        raise CommandError(f"the answer cannot be written to stdout: {error.strerror}") from error


def drop_stdout() -> None:
    """Nobody can take what is written there: what is left of it must not fail once more at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """A line beside the answer."""
    sys.stderr.write(f"{text}\n")


def say_json(value: Any) -> None:
    """The answer for programs: one document, indented."""
    import msgspec

    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def columns(rows: Iterable[Sequence[str]]) -> None:
    """Lines with aligned columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def say_json_line(value: Any) -> None:
    """One of several answers for programs that read line by line."""
    import msgspec

    say(msgspec.json.encode(value).decode())


def refused_in_one_line(command: Callable[P, None]) -> Callable[P, None]:
    """A command that with --json (`as_json`) answers line by line; its error is a line as well."""

    @functools.wraps(command)
    def answered(*args: P.args, **options: P.kwargs) -> None:
        try:
            command(*args, **options)
        except GapuraError as error:
            if not options.get("as_json"):
                raise
            say_json_line(_refusal(error))
            raise typer.Exit(_status(error)) from error

    return answered


def tell(error: GapuraError, *, as_json: bool) -> int:
    """Say what went wrong, without a traceback; the exit status."""
    if as_json:
        say_json(_refusal(error))
    else:
        note(f"gapura: {_detail(error)}" + (f"{_later(error)} [{error.code}]" if isinstance(error, Refused) else ""))
    return _status(error)


def _later(error: Refused) -> str:
    """When to come back, in hours, minutes and seconds; nothing when the refusal does not say."""
    seconds = error.retry_after
    if seconds is None or not 0 < seconds <= _LONGEST:
        return ""
    return f"; again in {timedelta(seconds=math.ceil(seconds))}"


def _status(error: GapuraError) -> int:
    return BROKEN if isinstance(error, ConfigError) else FAILED


def _refusal(error: GapuraError) -> dict[str, Any]:
    return {"error": {"code": _code(error), "detail": _detail(error), **_extra(error)}}


def _code(error: GapuraError) -> str:
    return error.code if isinstance(error, Refused) else _CODES.get(type(error), "failed")


def _detail(error: GapuraError) -> str:
    if isinstance(error, DatabaseUnavailable | StatementTimeout):
        return f"the database is out of reach: {error}"
    if isinstance(error, PluginFailed) and error.__cause__ is not None:
        return f"{error}: {type(error.__cause__).__name__}: {error.__cause__}"
    return str(error)


def _extra(error: GapuraError) -> dict[str, Any]:
    if isinstance(error, ConfigError):
        return {"file": error.file, "path": error.path}
    if isinstance(error, Refused):
        told = {"field": error.field, "retry_after": error.retry_after, **error.extra}
        return {name: value for name, value in told.items() if value is not None}
    return {}
