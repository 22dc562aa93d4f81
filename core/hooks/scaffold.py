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

PLUGIN = Template('''"""$name: accept messages only while somebody is there to read the answers.

Enable it in config/tenants/TENANT.yaml (the list replaces the default one, so name the others too):

    plugins:
      api_key:
      whitelist:
      daily_limit:
      delay:
      $name: { open: 8, close: 20 }
"""

from dataclasses import dataclass

from core import Deny, hookimpl


@dataclass(frozen=True)
class Options:  # what YAML may set, with defaults; checked when the gateway starts
    open: int = 8
    close: int = 20


@hookimpl
def admit(now, options):  # called for every outgoing message; `now` is the tenant's local time
    if not options.open <= now.hour < options.close:
        return Deny("$name", f"open {options.open}:00 to {options.close}:00")
    return None  # no objection
''')

TEST = Template('''"""A hook is a plain function: call it with what it asks for."""

from datetime import datetime

import $name


def test_denies_at_night() -> None:
    """Half past nine in the evening is too late."""
    night = datetime.fromisoformat("2026-01-05T21:30:00+07:00")
    assert $name.admit(night, $name.Options()).code == "$name"


def test_has_no_objection_by_day() -> None:
    """At noon the message passes."""
    noon = datetime.fromisoformat("2026-01-05T12:00:00+07:00")
    assert $name.admit(noon, $name.Options()) is None
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
