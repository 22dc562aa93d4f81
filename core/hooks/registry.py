"""All plugins of one app: found, checked and registered once, then compiled into the hooks of each tenant."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping  # noqa: TC003 - dataclass fields are read at run time
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

import pluggy

from core.errors import ConfigError
from core.hooks import specs
from core.hooks.calls import Call
from core.hooks.discovery import Found, find_plugins
from core.hooks.dispatch import TIMEOUT, Hooks, Trace
from core.hooks.inspection import Implementation, check_plugin, implementations
from core.hooks.options import convert, option_types, unknown
from core.settings import SERVICE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from core.clock import Clock
    from core.hooks.gateway import Gateway
    from core.settings import Settings, TenantSettings

    GatewayFor = Callable[[str, str | None], Gateway]
    """plugin, tenant (None for the service hooks) -> what that plugin may do"""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option as people read it; `default` is None when it must be given."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin as `run.py plugins` shows it."""

    name: str
    origin: str
    hooks: tuple[str, ...]
    options: tuple[OptionInfo, ...]


@dataclass(frozen=True, slots=True)
class Plugins:
    """The plugins of one app, by name, in the order built-ins, plugins_dir, entry points."""

    found: Mapping[str, Found]
    hooks: Mapping[str, tuple[Implementation, ...]]
    plugins_dir: Path | None = None

    @classmethod
    def load(cls, plugins_dir: Path | None, *, entry_points: bool = True) -> Plugins:
        """Find, import and check everything. Raises ConfigError naming the file, the plugin and the hook."""
        manager = pluggy.PluginManager(specs.PROJECT)
        manager.add_hookspecs(specs)
        found: dict[str, Found] = {}
        for one in find_plugins(plugins_dir, with_entry_points=entry_points):
            if other := found.get(one.name):
                raise ConfigError(one.file, "", f"the name {one.name!r} is taken: {other.origin} ({other.file})")
            check_plugin(one, manager)
            _register(one, manager)
            found[one.name] = one
        return cls(found, {name: tuple(implementations(name, manager)) for name in found}, plugins_dir)

    def info(self) -> list[PluginInfo]:
        """What is loaded, from where, with which hooks and options."""
        return [
            PluginInfo(name, one.origin, tuple(dict.fromkeys(i.hook for i in self.hooks[name])), tuple(_options(one)))
            for name, one in self.found.items()
        ]

    def check(self, settings: Settings) -> None:
        """Raise ConfigError at the first plugin name or option, of the defaults or of a tenant's file, that is
        not valid."""
        for file, path, tenant in _configured(settings):
            self._options_of(tenant, file, path)

    def warnings(self, settings: Settings) -> list[str]:
        """What is valid but hardly meant."""
        return [
            f"{file}: {path}: no plugin here authenticates anybody, so every request is answered 401; add api_key"
            for file, path, tenant in _configured(settings)
            if not any(i.hook == "authenticate" for name in tenant.plugins for i in self.hooks.get(name, ()))
        ]

    def compile_tenant(  # noqa: PLR0913
        self,
        tenant: str,
        settings: TenantSettings,
        file: object,
        gateway_for: GatewayFor,
        clock: Clock,
        *,
        timeout: float = TIMEOUT,
        trace: Trace | None = None,
    ) -> Hooks:
        """The tenant's hooks: those of the plugins it enables, in the order of its YAML. Raises ConfigError as
        `check`."""
        calls = []
        for name, options in self._options_of(settings, file, "$.plugins").items():
            fixed = {"tenant": tenant, "options": options, "gateway": gateway_for(name, tenant)}
            calls += self._calls(name, specs.TENANT_HOOKS, fixed)
        return Hooks(
            tuple(settings.plugins), _ordered(calls), clock=clock, zone=settings.zone, timeout=timeout, trace=trace
        )

    def compile_service(
        self,
        gateway_for: GatewayFor,
        clock: Clock,
        settings: Settings | None = None,
        *,
        timeout: float = TIMEOUT,
        trace: Trace | None = None,
    ) -> Hooks:
        """The service's hooks, of the plugins that some configuration enables (of all, without `settings`).
        `now` is UTC."""
        enabled = set(self.found)
        if settings is not None:
            enabled = {name for _, _, tenant in _configured(settings) for name in tenant.plugins}
        names = tuple(name for name in self.found if name in enabled)
        calls = []
        for name in names:
            calls += self._calls(name, specs.SERVICE_HOOKS, {"gateway": gateway_for(name, None)})
        return Hooks(names, _ordered(calls), clock=clock, timeout=timeout, trace=trace)

    def _calls(self, name: str, hooks: Iterable[str], fixed: Mapping[str, Any]) -> list[tuple[int, Call]]:
        return [
            (i.rank, Call(name, i.hook, i.function, i.names, fixed, wrapper=i.wrapper))
            for i in self.hooks[name]
            if i.hook in hooks
        ]

    def _options_of(self, settings: TenantSettings, file: object, path: str) -> dict[str, Any]:
        """Plugin -> its options; None for a plugin without any."""
        options: dict[str, Any] = {}
        for name, raw in settings.plugins.items():
            here = f"{path}.{name}"
            if name not in self.found:
                where = f" (looked in {self.plugins_dir})" if self.plugins_dir else " (there is no plugins_dir)"
                raise ConfigError(file, here, unknown("plugin", name, self.found) + where)
            cls = self.found[name].options
            if isinstance(cls, type):
                options[name] = convert(raw, cls, file=file, path=here)
            elif raw:
                raise ConfigError(file, here, f"the plugin {name!r} has no options")
            else:
                options[name] = None
        return options


def _register(found: Found, manager: pluggy.PluginManager) -> None:
    try:
        manager.register(found.plugin, found.name)
        manager.check_pending()
    except (ValueError, pluggy.PluginValidationError) as error:
        raise ConfigError(found.file, "", f"plugin {found.name!r}: {error}") from error


def _ordered(calls: list[tuple[int, Call]]) -> list[Call]:
    return [call for _, call in sorted(calls, key=lambda ranked: ranked[0])]


def _configured(settings: Settings) -> Iterator[tuple[object, str, TenantSettings]]:
    """Every list of plugins there is: the file and the path it stands at, and the settings that hold it."""
    yield settings.files.get(SERVICE_FILE, SERVICE_FILE), "$.defaults.plugins", settings.defaults
    for tenant, own in settings.tenants.items():
        if own.plugins is not settings.defaults.plugins:
            yield settings.file_of(tenant), "$.plugins", own


def _options(found: Found) -> Iterator[OptionInfo]:
    if not isinstance(found.options, type):
        return
    kinds = option_types(found.options)
    for field in fields(found.options):
        if field.init:
            default = field.default if field.default_factory is MISSING else field.default_factory()
            yield OptionInfo(field.name, _type_name(kinds[field.name]), None if default is MISSING else repr(default))


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Annotated:
        return _type_name(typing.get_args(kind)[0])
    if typing.get_origin(kind) is typing.Literal:
        return " | ".join(map(repr, typing.get_args(kind)))
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")
