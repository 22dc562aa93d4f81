"""config/service.yaml and config/tenants/*.yaml become Settings and TenantSettings: frozen and checked.

A tenant's file overrides `defaults` key by key; its `plugins` replaces the whole list. Which plugins and
options are valid is known to `core.hooks.registry`, which checks them after this.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping  # noqa: TC003 - the annotations are read at run time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import phonenumbers

from core.callback_settings import CallbackSettings, Endpoint, check_names
from core.errors import ConfigError
from core.hooks.options import Checked, convert
from core.yaml_files import read_yaml

TENANT_ID = re.compile(r"[a-z0-9_-]{1,100}")
"""What a tenant may be called (with `fullmatch`)."""

_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(?:/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?")

SERVICE_FILE = "service.yaml"
DEFAULT_PLUGINS = ("api_key", "whitelist", "daily_limit", "delay", "opt_out")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "write it as Asia/Jakarta or UTC"
        raise ValueError(f"unknown time zone {name!r}; {hint}") from error


def _check_region(name: str) -> None:
    if name not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"unknown region {name!r}; write a country's two capital letters, such as ID or SG")


def _check_url(url: str) -> None:
    if not url.startswith(("postgres://", "postgresql://")):
        raise ValueError("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE")


def _check_host(host: str) -> None:
    if not host or not host.isprintable() or any(character.isspace() for character in host):
        raise ValueError("expected an address or a host name, such as 127.0.0.1 or 0.0.0.0")


def _check_public_url(url: str) -> None:
    if not _PUBLIC_URL.fullmatch(url):
        raise ValueError("expected http://HOST or https://HOST, perhaps with a port and a path, without a / at its end")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where `serve` listens; port 0 is any free one. `public_url`: how browsers elsewhere reach it."""

    host: Annotated[str, Checked(_check_host)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 3000
    public_url: Annotated[str, Checked(_check_public_url)] | None = None


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """PostgreSQL 15 or newer; None is the embedded one. The URL holds a password and is kept out of the repr."""

    url: Annotated[str, Checked(_check_url)] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeySettings:
    """How API keys are stored."""

    store: Literal["digest", "plain"] = "digest"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How WhatsApp sessions are spread over processes: a process that dies takes `per_process` of them with it, and one
    that is silent for `stuck_after` seconds is killed. `timelock_pause`: seconds until the next message is tried after
    WhatsApp has refused one with code 463; longer after each further refusal. `keep_connections`: seconds for which a
    quiet session keeps its own connections to PostgreSQL."""

    per_process: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    stuck_after: Annotated[float, msgspec.Meta(ge=8, le=600)] = 20.0
    timelock_pause: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 60.0
    keep_connections: Annotated[float, msgspec.Meta(ge=0.3, le=3600)] = 6.0


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What holds for one tenant. `plugins`: name -> options as written, in order; checked by `Plugins.check`."""

    transport: Literal["whatsapp", "dry_run"] = "whatsapp"
    timezone: Annotated[str, Checked(_check_zone)] = "Asia/Jakarta"
    region: Annotated[str, Checked(_check_region)] = "ID"
    answer: Literal["queued", "sent"] = "queued"
    api: Literal["v1", "legacy"] = "v1"
    replies: Literal["exempt", "count"] = "exempt"
    on_unknown: Literal["hold", "resend"] = "hold"
    callbacks: Annotated[tuple[Endpoint, ...], Checked(check_names)] = ()
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {} for name in DEFAULT_PLUGINS})

    @property
    def zone(self) -> ZoneInfo:
        """The time zone whose midnight ends the tenant's day."""
        return ZoneInfo(self.timezone)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. `files`: tenant id -> its file, and SERVICE_FILE, which no tenant is called;
    `keep_daily_limits`: days for which the counters of a past day are kept, `keep_events`: those of events and of
    what became of callbacks, `keep_messages`: those of messages, both ways, since there was last news of them."""

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    keys: KeySettings = KeySettings()
    sessions: SessionSettings = SessionSettings()
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    keep_daily_limits: int = 7
    keep_events: int = 30
    keep_messages: int = 30
    plugins_dir: Path | None = None
    defaults: TenantSettings = field(default_factory=TenantSettings)
    tenants: Mapping[str, TenantSettings] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def has_callbacks(self) -> bool:
        """Whether anybody is to be told of events."""
        return any(settings.callbacks for settings in (self.defaults, *self.tenants.values()))

    def tenant(self, tenant: str) -> TenantSettings:
        """The tenant's settings; the defaults when it has no file."""
        return self.tenants.get(tenant, self.defaults)

    def file_of(self, tenant: str) -> Path:
        """The file that speaks for the tenant: its own, or service.yaml."""
        return self.files.get(tenant) or self.files.get(SERVICE_FILE, Path(SERVICE_FILE))


@dataclass(frozen=True, slots=True)
class _ServiceFile:
    """The keys of service.yaml."""

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    keys: KeySettings = KeySettings()
    sessions: SessionSettings = SessionSettings()
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    keep_daily_limits: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 7
    keep_events: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30
    keep_messages: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30
    plugins_dir: str | None = None
    defaults: TenantSettings = field(default_factory=TenantSettings)


def load_settings(config_dir: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Everything under `config_dir`. DATABASE_URL beats `database.url`. Raises ConfigError naming file and path."""
    if not config_dir.is_dir():
        raise ConfigError(config_dir, "", "no such directory: it should hold service.yaml and tenants/")
    service_file = _yaml_files(config_dir).get("service", config_dir / SERVICE_FILE)
    raw = read_yaml(service_file, environ) if service_file.exists() else {}
    if "defaults" in raw:
        raw["defaults"] = _tenant_keys(raw["defaults"], service_file, "$.defaults")
    service = convert(raw, _ServiceFile, file=service_file)
    _check_keeps(service, service_file, "keep_events" if "keep_events" in raw else "keep_messages")
    tenant_files = _tenant_files(config_dir / "tenants")
    return Settings(
        server=service.server,
        database=_database(service.database, environ),
        keys=service.keys,
        sessions=service.sessions,
        callbacks=service.callbacks,
        keep_daily_limits=service.keep_daily_limits,
        keep_events=service.keep_events,
        keep_messages=service.keep_messages,
        plugins_dir=(config_dir / service.plugins_dir).resolve() if service.plugins_dir else None,
        defaults=service.defaults,
        tenants={name: _read_tenant(file, service.defaults, environ) for name, file in tenant_files.items()},
        files={SERVICE_FILE: service_file, **tenant_files},
    )


def _check_keeps(service: _ServiceFile, file: Path, key: str) -> None:
    """An event tells of a message that is there."""
    if service.keep_events > service.keep_messages:
        told = f"events are kept for {service.keep_events} days and the messages that they tell of for"
        advice = "let keep_messages be as long as keep_events, or longer"
        raise ConfigError(file, f"$.{key}", f"{told} {service.keep_messages}; {advice}")


def _database(settings: DatabaseSettings, environ: Mapping[str, str]) -> DatabaseSettings:
    if not (url := environ.get("DATABASE_URL")):
        return settings
    return convert({"url": url}, DatabaseSettings, file="the environment variable DATABASE_URL")


def _read_tenant(file: Path, defaults: TenantSettings, environ: Mapping[str, str]) -> TenantSettings:
    raw = _tenant_keys(read_yaml(file, environ), file, "$")
    own = convert(raw, TenantSettings, file=file)
    return replace(defaults, **{key: getattr(own, key) for key in raw})


def _tenant_keys(raw: Any, file: Path, path: str) -> Any:
    """`plugins: {delay: }` is `{delay: {}}`; a `plugins:` with nothing below would switch off every check."""
    if not isinstance(raw, dict) or "plugins" not in raw:
        return raw
    if raw["plugins"] is None:
        raise ConfigError(file, f"{path}.plugins", "is empty; write `plugins: {}` if you want no plugin at all")
    if not isinstance(raw["plugins"], dict):
        return raw
    return {**raw, "plugins": {name: {} if item is None else item for name, item in raw["plugins"].items()}}


def _tenant_files(directory: Path) -> dict[str, Path]:
    files = _yaml_files(directory) if directory.is_dir() else {}
    for name, file in files.items():
        if not TENANT_ID.fullmatch(name):
            raise ConfigError(file, "", f"{name!r} cannot be a tenant's id: 1 to 100 of a-z, 0-9, _ and -")
    return files


def _yaml_files(directory: Path) -> dict[str, Path]:
    """Stem -> file, sorted; hidden files are not looked at."""
    files: dict[str, Path] = {}
    for file in sorted(directory.iterdir()):
        if file.suffix.lower() not in {".yaml", ".yml"} or file.name.startswith("."):
            continue
        if other := files.get(file.stem):
            raise ConfigError(file, "", f"there is {other.name} beside it: two files for one name; remove one")
        files[file.stem] = file
    return files
