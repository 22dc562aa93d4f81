"""Writes a first plugin and its green test: `run.py plugin new NAME`."""

from __future__ import annotations

import keyword
import sys
from string import Template
from typing import TYPE_CHECKING

from core.errors import CommandError
from core.hooks.discovery import BUILT_INS

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = Template('''"""$name: write to people only while somebody is there, and tell them when that is.

Enable it in config/tenants/TENANT.yaml (the list replaces the default one, so name the others too):

    plugins:
      api_key:
      whitelist:
      daily_limit:
      delay:
      opt_out:
      $name: { open: 8, close: 20 }
"""

from dataclasses import dataclass

from core import Deny, hookimpl


@dataclass(frozen=True)
class Options:  # what YAML may set, with defaults; checked when the gateway starts
    open: int = 8
    close: int = 20


@hookimpl
def admit(message, now, options):  # called for every outgoing message; `now` is the tenant's local time
    if message.answers:  # whoever asks is awake
        return None
    if not options.open <= now.hour < options.close:
        return Deny("$name", f"open {options.open}:00 to {options.close}:00")
    return None  # no objection


@hookimpl
def on_message(message, options):  # called for every message that somebody writes
    if "open" in message.content.casefold():
        return message.reply(f"We are open {options.open}:00 to {options.close}:00.")
    return None  # nothing to say
''')

TEST = Template('''"""A hook is a plain function: call it with what it asks for."""

from datetime import datetime
from types import SimpleNamespace

import $name
from core import Incoming

NIGHT = datetime.fromisoformat("2026-01-05T21:30:00+07:00")
NOON = datetime.fromisoformat("2026-01-05T12:00:00+07:00")
OFFER, ANSWER = SimpleNamespace(answers=None), SimpleNamespace(answers="3EB0C431")


def test_denies_at_night() -> None:
    """Half past nine in the evening is too late, but not for an answer."""
    assert $name.admit(OFFER, NIGHT, $name.Options()).code == "$name"
    assert $name.admit(ANSWER, NIGHT, $name.Options()) is None


def test_has_no_objection_by_day() -> None:
    """At noon the message passes."""
    assert $name.admit(OFFER, NOON, $name.Options()) is None


def test_answers() -> None:
    """Who asks for it is told when there is somebody."""
    asks = Incoming(id="1", tenant="shop", chat="628123456789", sender="628123456789", content="Open?", at=NOON)
    assert $name.on_message(asks, $name.Options()).content == "We are open 8:00 to 20:00."
''')


def write_plugin(name: str, directory: Path) -> tuple[Path, Path]:
    """A plugin and its test in `directory`, which is made when missing. Raises CommandError for a name that
    will not do."""
    _check_name(name)
    plugin, test = directory / f"{name}.py", directory / f"test_{name}.py"
    for path in (plugin, test, directory / name):
        if path.exists():
            raise CommandError(f"{path} exists already; choose another name, or remove it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        plugin.write_text(PLUGIN.substitute(name=name), encoding="utf-8")
        test.write_text(TEST.substitute(name=name), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{directory} cannot be written: {error.strerror}") from error
    return plugin, test


def _check_name(name: str) -> None:
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name != name.lower():
        raise CommandError(f"{name!r} cannot be a plugin's name; use small letters, digits and _, such as office_hours")
    if name.startswith(("_", "test_")) or name == "conftest":
        raise CommandError(f"{name!r} would not be loaded: names with _, test_ or conftest in front are passed over")
    if name in {path.rpartition(".")[2] for path in BUILT_INS}:
        raise CommandError(f"{name!r} is a built-in plugin; choose another name")
    if name in sys.stdlib_module_names or name in {"core", "db", "plugins", "sandbox", "tests", "run"}:
        raise CommandError(f"{name!r} is the name of another Python module; choose another name")
