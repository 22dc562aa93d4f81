"""The house keeps its rules (tests/house_rules.py), and each of them can be broken."""

import ast
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

import core
from tests.house_rules import RULES

ROOT = Path(__file__).parent.parent
FACE = [
    "AuthRequest",
    "Decision",
    "Deny",
    "Exempt",
    "Forbidden",
    "Gateway",
    "Incoming",
    "Listed",
    "Outgoing",
    "OverLimit",
    "Principal",
    "Quota",
    "Refused",
    "Reply",
    "SessionChange",
    "StatusChange",
    "Unauthorized",
    "hookimpl",
]


def house() -> list[PurePosixPath]:
    """Every Python file of the program, relative to the root."""
    folders = [ROOT / name for name in ("core", "plugins", "db", "sandbox")]
    files = [*ROOT.glob("run.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    return [PurePosixPath(file.relative_to(ROOT).as_posix()) for file in sorted(files)]


@cache
def tree_of(path: PurePosixPath) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"))


def broken(rule: str, path: PurePosixPath, tree: ast.Module) -> list[str]:
    return [f"{path}:{line}: {what} [{rule}]" for line, what in RULES[rule](path, tree)]


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps(rule: str) -> None:
    """No file of the program breaks this rule; a failure names file, line and rule."""
    found = [line for path in house() for line in broken(rule, path, tree_of(path))]
    assert not found, "\n" + "\n".join(found)


def test_the_walk_sees_the_house() -> None:
    """The files that the rules are about are really looked at."""
    seen = {str(path) for path in house()}
    assert {"core/__init__.py", "core/hooks/specs.py", "db/__init__.py", "plugins/__init__.py"} <= seen


def test_the_face_is_pinned() -> None:
    """What plugin authors may import changes only together with this list."""
    assert core.__all__ == FACE
    assert all(hasattr(core, name) for name in FACE)


@pytest.mark.parametrize(
    ("rule", "path", "bad", "good"),
    [
        ("db only from the top", "core/paths/sender.py", "from db.store import Store", "from core.jid import parse"),
        ("db only from the top", "core/web/api.py", "def f():\n    import db", "import dbm"),
        (
            "db knows only values",
            "db/store.py",
            "from core.settings import Settings",
            "from core.model import Outgoing",
        ),
        ("db knows only values", "db/store.py", "from core import Deny", "from core.errors import StatementTimeout"),
        ("db knows only values", "db/store.py", "import plugins.delay", "import aiopg"),
        (
            "plugins see the face",
            "plugins/delay.py",
            "from core.decisions import Deny",
            "from core import Deny, hookimpl",
        ),
        ("plugins see the face", "plugins/delay.py", "import core", "import dataclasses, datetime"),
        ("plugins see the face", "plugins/delay.py", "from core import settings", "from collections import abc"),
        ("plugins see the face", "plugins/delay.py", "from core import *", "from core import Quota as Q"),
        ("plugins see the face", "plugins/delay.py", "import aiohttp", "import json"),
        ("plugins see the face", "plugins/delay.py", "from . import whitelist", "import zoneinfo"),
        ("neonize at home", "core/sessions/worker.py", "from neonize.aioze import client", "import neon"),
        ("neonize at home", "db/store.py", "import_module('neonize')", "import_module(name)"),
        ("aiopg at home", "core/app.py", "import aiopg.sa", "import aiohttp"),
        ("psycopg2 at home", "core/cli/db.py", "from psycopg2 import errors", "from db import connection"),
        ("pluggy at home", "core/tenants.py", "import pluggy", "import plug"),
        ("core imports downwards", "core/web/api.py", "from core.cli import main", "from core.paths import admission"),
        (
            "core imports downwards",
            "core/hooks/dispatch.py",
            "from ..paths import sender",
            "from core.model import Reply",
        ),
        ("core imports downwards", "core/jid.py", "from core.hooks import specs", "from core.errors import Refused"),
        ("core imports downwards", "core/paths/sender.py", "from core.web import pages", "from . import receiver"),
        ("core imports downwards", "core/web/api.py", "from core import Deny", "from core import jid"),
        ("core imports downwards", "core/attic.py", "", None),
        ("values are light", "core/model.py", "import aiohttp", "import dataclasses"),
        ("values are light", "core/errors.py", "from core.windows import window", "from core.jid import parse"),
        ("values are light", "core/jid.py", "from yaml import safe_load", "import phonenumbers"),
        (
            "baileys is pure",
            "core/baileys/creds.py",
            "from core.settings import Settings",
            "from core.errors import Refused",
        ),
        ("baileys is pure", "core/baileys/creds.py", "from core.clock import Clock", "import cryptography, json"),
        ("run hands over", "run.py", "from core.app import App", "import core\nfrom core.cli import main"),
        ("run hands over", "core/cli/serve.py", "import run", "import runpy"),
        ("the sandbox stands apart", "sandbox/server.py", "from core.model import Reply", "import asyncio"),
        ("one clock", "core/paths/sender.py", "import random", "import secrets"),
        ("one clock", "core/a.py", "from random import uniform", "from time import strftime"),
        ("one clock", "core/a.py", "import time\ntime.monotonic()", "import time\ntime.strftime('')"),
        ("one clock", "core/a.py", "import time as t\nf = t.time", "time = clock.time\ntime()"),
        ("one clock", "core/a.py", "from time import monotonic as m\nm()", "self.clock.monotonic()"),
        ("one clock", "core/a.py", "from datetime import datetime\ndatetime.now(UTC)", "clock.now()"),
        (
            "one clock",
            "core/a.py",
            "import datetime as dt\ndt.datetime.utcnow()",
            "import datetime\ndatetime.timedelta(1)",
        ),
        ("one clock", "core/a.py", "import asyncio\nasyncio.sleep(1)", "import asyncio\nasyncio.sleep(0)"),
        ("one clock", "core/a.py", "from asyncio import sleep\nsleep(n)", "from asyncio import sleep\nsleep(0)"),
        ("names that say something", "core/utils.py", "", None),
        ("names that say something", "db/pool_helpers.py", "", None),
        ("names that say something", "core/common/jid.py", "", None),
    ],
)
def test_each_rule_can_fail(rule: str, path: str, bad: str, good: str | None) -> None:
    """A made-up file that breaks the rule is reported with its path and the rule, one that keeps it is not."""
    found = broken(rule, PurePosixPath(path), ast.parse(bad))
    assert found
    assert found[0].startswith(f"{path}:{max(1, len(bad.splitlines()))}: ")
    assert found[0].endswith(f"[{rule}]")
    if good is not None:
        assert broken(rule, PurePosixPath(path), ast.parse(good)) == []


@pytest.mark.parametrize(
    ("rule", "path", "line"),
    [
        ("db only from the top", "core/paths/sender.py", "from db.store import Store"),
        ("core imports downwards", "core/hooks/gateway.py", "from core.web import api"),
    ],
)
def test_imports_for_type_checkers_are_free(rule: str, path: str, line: str) -> None:
    """Under `if TYPE_CHECKING:` a room may name what it is handed; in the else branch it may not."""
    guarded = f"if TYPE_CHECKING:\n    {line}\nelse:\n    "
    assert broken(rule, PurePosixPath(path), ast.parse(f"{guarded}pass")) == []
    assert broken(rule, PurePosixPath(path), ast.parse(f"{guarded}{line}")) != []


def test_every_rule_is_tried() -> None:
    """A rule that no made-up file breaks would prove nothing."""
    [tried] = [mark.args[1] for mark in test_each_rule_can_fail.pytestmark if mark.name == "parametrize"]
    assert {case[0] for case in tried} == set(RULES)
