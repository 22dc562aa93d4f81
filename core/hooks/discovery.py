"""Finds plugins: the built-in ones, the files and packages of `plugins_dir`, and the entry points of installed
packages.

A plugin is a module with hooks in it, or an object: a module's `plugin = MyPlugin()`, or what an entry point names.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TYPE_CHECKING

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILT_INS = (
    "plugins.api_key",
    "plugins.whitelist",
    "plugins.daily_limit",
    "plugins.delay",
    "plugins.opt_out",
    "plugins.auto_reply",
)

GROUP = "gapura"
"""The entry point group of installed plugins."""

PACKAGE = "gapura_plugins"
"""What is found in plugins_dir is `gapura_plugins.<name>` in sys.modules, and may import its neighbours
relatively; it can neither shadow nor be shadowed by any other module."""


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin before it is checked. `origin` is "built-in", a path or "entry point of DIST"; `file` is for
    messages."""

    name: str
    origin: str
    file: str
    plugin: object
    options: object = None


def find_plugins(plugins_dir: Path | None, *, with_entry_points: bool) -> Iterator[Found]:
    """All plugins there are. Raises ConfigError when one cannot be imported."""
    for path in BUILT_INS:
        module = importlib.import_module(path)
        yield Found(path.rpartition(".")[2], "built-in", str(module.__file__), module, getattr(module, "Options", None))
    if plugins_dir is not None and plugins_dir.is_dir():
        yield from _in_directory(plugins_dir)
    if with_entry_points:
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            yield _from_entry_point(entry)


def _in_directory(directory: Path) -> Iterator[Found]:
    _make_package(directory)
    for path in sorted(directory.iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix != ".py" or not file.is_file() or path.name.startswith(("_", ".", "test_", "conftest.")):
            continue
        name = path.name.removesuffix(".py")
        if not name.isidentifier():
            raise ConfigError(path, "", f"{name!r} cannot be a plugin's name; use letters, digits and _")
        module = _import(name, file, package=path.is_dir())
        plugin = getattr(module, "plugin", module)
        options = getattr(plugin, "Options", None) or getattr(module, "Options", None)
        yield Found(name, str(path), str(file), plugin, options)


def _make_package(directory: Path) -> None:
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(PACKAGE + ".")]:
        del sys.modules[name]
    package = ModuleType(PACKAGE)
    package.__path__ = [str(directory)]
    sys.modules[PACKAGE] = package
    importlib.invalidate_caches()


def _import(name: str, file: Path, *, package: bool) -> ModuleType:
    full_name = f"{PACKAGE}.{name}"
    places = [str(file.parent)] if package else None
    spec = importlib.util.spec_from_file_location(full_name, file, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise ConfigError(file, "", "is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[full_name]
        raise ConfigError(_spot(file, error), "", f"cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _spot(file: Path, error: BaseException) -> str:
    """The file with the last line of it that took part in the error."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)


def _from_entry_point(entry: EntryPoint) -> Found:
    dist = entry.dist.name if entry.dist else "?"
    origin = f"entry point of {dist}"
    try:
        loaded = entry.load()
    except (Exception, SystemExit) as error:
        problem = f"cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(f"{origin} ({entry.name} = {entry.value})", "", problem) from error
    plugin = getattr(loaded, "plugin", loaded) if isinstance(loaded, ModuleType) else loaded
    options = getattr(plugin, "Options", None) or getattr(loaded, "Options", None)
    return Found(entry.name, origin, f"{origin} ({entry.value})", plugin, options)
