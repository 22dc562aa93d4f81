"""The rules of the house: who may import whom, and where time and chance come from.

A rule takes a file's path and its syntax tree and yields (line, what is wrong). Imports under `if TYPE_CHECKING:` are
free, but not in plugins, which are promised the face of core and nothing else.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Rule = Callable[[PurePosixPath, ast.Module], Iterator[tuple[int, str]]]

VALUES = (
    "callback_rows",
    "clock",
    "decisions",
    "errors",
    "event_rows",
    "jid",
    "model",
    "outbox",
    "session_rows",
    "whatsmeow_rows",
)
"""The rooms of core that hold values and nothing else; db, which is handed them, may import them."""

FLOORS = {
    **dict.fromkeys(
        (
            *VALUES,
            "baileys",
            "channels",
            "event_types",
            "failpoints",
            "filling",
            "outbound_addresses",
            "version",
            "windows",
            "yaml_files",
        ),
        0,
    ),
    **dict.fromkeys(("callback_settings", "hooks", "settings"), 1),
    **dict.fromkeys(("tenants", "transport"), 2),
    **dict.fromkeys(("paths", "sessions", "capabilities", "services"), 3),
    **dict.fromkeys(("building", "hearing", "web"), 4),
    "app": 5,
    "cli": 6,
}
"""On which floor each room of core lies. A room imports its own floor and those below, never one above."""

# Only core/clock.py may touch these. asyncio.sleep(0) passes time to nobody: it only lets others run.
TIME_AND_CHANCE = (
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep"),
    "asyncio.sleep",
)

BESIDE_BAILEYS = {*sys.stdlib_module_names, "cryptography", "phonenumbers"}

LOADERS = ("importlib.import_module", "import_module", "__import__")
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


@dataclass(frozen=True)
class Import:
    """One name that a file imports: `core.model.Reply` for `from core.model import Reply`."""

    line: int
    target: str
    typing_only: bool

    def within(self, *rooms: str) -> bool:
        return any(self.target == room or self.target.startswith(f"{room}.") for room in rooms)


def imports(path: PurePosixPath, tree: ast.AST, typing_only: bool = False) -> Iterator[Import]:
    """Every import of a file, in functions too, and `import_module("…")` with a literal name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from imports(path, ast.Module(node.body, []), typing_only=True)
            yield from imports(path, ast.Module(node.orelse, []), typing_only)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            for target in imported(path, node):
                yield Import(node.lineno, target, typing_only)
        yield from imports(path, node, typing_only)


def imported(path: PurePosixPath, node: ast.Import | ast.ImportFrom | ast.Call) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = path.parts[: -node.level] if node.level else ()
        module = ".".join((*above, *filter(None, [node.module])))
        return [f"{module}.{alias.name}" for alias in node.names]
    if ast.unparse(node.func) in LOADERS:
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def at_run_time(path: PurePosixPath, tree: ast.Module) -> Iterator[Import]:
    return (found for found in imports(path, tree) if not found.typing_only)


def room(path: PurePosixPath) -> str:
    """The room of core that a file of core belongs to: `paths` for core/paths/sender.py, `jid` for core/jid.py."""
    return path.parts[1].removesuffix(".py")


def only_in(library: str, *homes: str) -> Rule:
    """The rule that a library is imported below `homes` and nowhere else."""

    def rule(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
        if not any(path.is_relative_to(home) for home in homes):
            for found in at_run_time(path, tree):
                if found.within(library):
                    yield found.line, f"{library} may be imported only in {' and '.join(homes)}"

    return rule


def db_only_from_the_top(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.parts[0] == "core" and room(path) not in ("app", "cli"):
        for found in at_run_time(path, tree):
            if found.within("db"):
                yield (
                    found.line,
                    f"{found.target}: of core only app.py and cli/ import db; the others are handed a Store",
                )


def db_knows_only_values(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.parts[0] == "db":
        for found in at_run_time(path, tree):
            allowed = found.within(*(f"core.{name}" for name in VALUES))
            if found.within("core", "plugins", "sandbox") and not allowed:
                yield found.line, f"{found.target}: db imports only core.{{{', '.join(VALUES)}}}"


def plugins_see_the_face(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.parts[0] == "plugins":
        for found in imports(path, tree):
            from_the_face = found.target.removeprefix("core.") in core.__all__
            if not from_the_face and found.target.partition(".")[0] not in sys.stdlib_module_names:
                yield found.line, f"{found.target}: plugins import from the face of core and the standard library"


def downwards(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.parts[0] != "core" or path == PurePosixPath("core/__init__.py"):
        return
    floor = FLOORS.get(room(path))
    if floor is None:
        yield 1, f"core.{room(path)} is a new room: give it a floor in FLOORS"
        return
    for found in at_run_time(path, tree):
        if found.target.startswith("core."):
            other = found.target.split(".")[1]
            if FLOORS.get(other, floor + 1) > floor:
                yield found.line, f"{found.target}: core.{room(path)} may not import a room above it, nor the face"


def values_are_light(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.parts[0] == "core" and room(path) in VALUES:
        for found in at_run_time(path, tree):
            value = found.within(*(f"core.{name}" for name in VALUES))
            if not value and found.target.partition(".")[0] not in (*sys.stdlib_module_names, "phonenumbers"):
                yield found.line, f"{found.target}: rooms of values import each other and the standard library"


def baileys_is_pure(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.is_relative_to("core/baileys"):
        for found in at_run_time(path, tree):
            ours = found.within("core.baileys", *(f"core.{name}" for name in VALUES if name != "clock"))
            if not ours and found.target.partition(".")[0] not in BESIDE_BAILEYS:
                yield found.line, f"{found.target}: core.baileys imports values, the standard library and cryptography"


def run_hands_over(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for found in at_run_time(path, tree):
        if path.name == "run.py" and found.within("core", "db", "plugins", "sandbox"):
            if found.target != "core" and not found.within("core.cli"):
                yield found.line, f"{found.target}: run.py hands over to core.cli and knows nothing else"
        elif path.name != "run.py" and found.within("run"):
            yield found.line, "nothing imports run.py, the program"


def the_sandbox_stands_apart(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for found in at_run_time(path, tree):
        if path.parts[0] == "sandbox" and found.within("core", "db", "plugins"):
            yield found.line, f"{found.target}: sandbox imports nothing of Gapura"


def one_clock(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.parts[0] != "core" or path == PurePosixPath("core/clock.py"):
        return
    for found in at_run_time(path, tree):
        if found.within("random"):
            yield found.line, "random: chance comes from core.clock.Clock"
    names = aliases(tree)
    harmless = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and sleeps_for_nothing(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in harmless:
            first, _, rest = ast.unparse(node).partition(".")
            name = f"{names.get(first, '')}.{rest}".rstrip(".")
            if name in TIME_AND_CHANCE:
                yield node.lineno, f"{name}: time comes from core.clock.Clock"


def aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: {"dt": "datetime"} for `import datetime as dt`."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                found[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def sleeps_for_nothing(call: ast.Call) -> bool:
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def names_that_say_something(path: PurePosixPath, tree: ast.Module) -> Iterator[tuple[int, str]]:
    words = {word for part in path.parts for word in part.removesuffix(".py").lower().split("_")}
    if words & NO_NAMES:
        yield 1, "a file or folder is named after what it does"


RULES: dict[str, Rule] = {
    "db only from the top": db_only_from_the_top,
    "db knows only values": db_knows_only_values,
    "plugins see the face": plugins_see_the_face,
    "neonize at home": only_in("neonize", "core/transport/whatsapp"),
    "aiopg at home": only_in("aiopg", "db"),
    "psycopg2 at home": only_in("psycopg2", "db"),
    "pluggy at home": only_in("pluggy", "core/hooks"),
    "core imports downwards": downwards,
    "values are light": values_are_light,
    "baileys is pure": baileys_is_pure,
    "run hands over": run_hands_over,
    "the sandbox stands apart": the_sandbox_stands_apart,
    "one clock": one_clock,
    "names that say something": names_that_say_something,
}
