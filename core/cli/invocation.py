"""Where a command finds its configuration and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    import typer

    from core.hooks.registry import Plugins
    from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options that hold for every command."""

    config: Path
    data: Path

    def settings(self) -> Settings:
        """The configuration. Raises ConfigError."""
        from core.settings import load_settings

        return load_settings(self.config)

    def settings_and_plugins(self) -> tuple[Settings, Plugins]:
        """The configuration and the plugins, checked against each other. Raises ConfigError."""
        from core.hooks.registry import Plugins

        settings = self.settings()
        plugins = Plugins.load(settings.plugins_dir)
        plugins.check(settings)
        return settings, plugins


def invocation_of(context: typer.Context) -> Invocation:
    """What `run.py` was called with."""
    return cast("Invocation", context.obj)
