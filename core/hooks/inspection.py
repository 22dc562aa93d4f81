"""Looks a plugin over before it is let in: what could fail at the first message fails at the start, with words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping  # noqa: TC003 - dataclass fields are read at run time
from dataclasses import dataclass, is_dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from core.hooks import specs
from core.hooks.options import option_types, unknown

if TYPE_CHECKING:
    import pluggy

    from core.hooks.discovery import Found

HOOKS = (*specs.SERVICE_HOOKS, *specs.TENANT_HOOKS)


@dataclass(frozen=True, slots=True)
class Implementation:
    """One hook of one plugin; `function` takes the arguments `names` by position. `rank`: 0 tryfirst, 1, 2 trylast."""

    hook: str
    function: Callable[..., Any]
    names: tuple[str, ...]
    rank: int
    wrapper: bool


@cache
def hook_arguments(hook: str) -> tuple[str, ...]:
    """The names that an implementation of `hook` may ask for."""
    return tuple(inspect.signature(getattr(specs, hook)).parameters)


def check_plugin(found: Found, manager: pluggy.PluginManager) -> None:
    """Raise ConfigError unless `found` can be registered with `manager`."""
    if inspect.isclass(found.plugin):
        raise _error(found, f"is a class; make an instance of it: `plugin = {found.plugin.__name__}()`")
    marked = dict(_marked(found.plugin, manager))
    for name, options in marked.items():
        _check_implementation(found, name, options)
    _refuse_unmarked(found, set(marked))
    if not any((options.get("specname") or name) in HOOKS for name, options in marked.items()):
        raise _error(found, f"has no hook: mark at least one function with @hookimpl; hooks: {', '.join(HOOKS)}")
    _check_options(found, marked)


def implementations(plugin_name: str, manager: pluggy.PluginManager) -> Iterator[Implementation]:
    """The hooks of a registered plugin."""
    for hook in HOOKS:
        for found in getattr(manager.hook, hook).get_hookimpls():
            if found.plugin_name == plugin_name:
                rank = 0 if found.tryfirst else 2 if found.trylast else 1
                yield Implementation(hook, *_positional(found.function, hook), rank, found.wrapper)


def _marked(plugin: object, manager: pluggy.PluginManager) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in dir(plugin):
        if (options := manager.parse_hookimpl_opts(plugin, name)) is not None:
            yield name, dict(options)


def _check_implementation(found: Found, name: str, options: Mapping[str, Any]) -> None:
    hook, function = options.get("specname") or name, getattr(found.plugin, name)
    if hook not in HOOKS:
        if options.get("optionalhook"):
            return
        raise _error(found, unknown("hook", hook, HOOKS), function)
    if options.get("hookwrapper"):
        raise _error(found, f"hook {hook!r}: hookwrapper=True is pluggy's old style; write wrapper=True", function)
    if inspect.isasyncgenfunction(function) or (options.get("wrapper") and inspect.iscoroutinefunction(function)):
        raise _error(found, f"hook {hook!r}: a wrapper is a `def` with one `yield`, never an `async def`", function)
    if bool(options.get("wrapper")) != inspect.isgeneratorfunction(function):
        raise _error(found, f"hook {hook!r}: a function with `yield` and @hookimpl(wrapper=True) go together", function)
    _check_signature(found, hook, function)


def _check_signature(found: Found, hook: str, function: Callable[..., Any]) -> None:
    valid = ", ".join(hook_arguments(hook))
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise _error(found, f"hook {hook!r}: name the arguments instead of {parameter}; valid: {valid}", function)
        if name not in hook_arguments(hook) and parameter.default is parameter.empty:
            signature = f"{hook}{inspect.signature(function)}"
            raise _error(found, f"hook {hook!r}: {signature} asks for {name!r}; valid arguments: {valid}", function)


def _refuse_unmarked(found: Found, marked: set[str]) -> None:
    """A gate that is written but not marked would stand open without a word."""
    if not isinstance(found.plugin, ModuleType):
        return
    for name in set(HOOKS) - marked:
        function = getattr(found.plugin, name, None)
        if inspect.isfunction(function) and function.__module__ == found.plugin.__name__:
            raise _error(
                found, f"{name!r} is a hook's name but not marked: write @hookimpl above it, or rename it", function
            )


def _check_options(found: Found, marked: Mapping[str, Mapping[str, Any]]) -> None:
    cls = found.options
    if cls is None:
        for name in marked:
            if "options" in inspect.signature(getattr(found.plugin, name)).parameters:
                raise _error(found, f"{name!r} asks for `options`, but there is no dataclass `Options`")
        return
    if not inspect.isclass(cls) or not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise _error(found, "`Options` must be a frozen dataclass: write @dataclass(frozen=True) above it")
    try:
        option_types(cls)
    except (NameError, TypeError) as error:
        raise _error(found, f"the types of `Options` cannot be read: {error}") from error


def _positional(function: Callable[..., Any], hook: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    parameters = list(inspect.signature(function).parameters.values())
    names = tuple(parameter.name for parameter in parameters if parameter.name in hook_arguments(hook))
    leading = tuple(parameter.name for parameter in parameters[: len(names)])
    if leading == names and all(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters[: len(names)]):
        return function, names
    return lambda *values: function(**dict(zip(names, values, strict=True))), names


def _error(found: Found, problem: str, function: Callable[..., Any] | None = None) -> ConfigError:
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    return ConfigError(
        f"{found.file}:{code.co_firstlineno}" if code else found.file, "", f"plugin {found.name!r}: {problem}"
    )
