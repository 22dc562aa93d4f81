"""Plugins written on the spot, loaded and compiled like any other."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from textwrap import dedent
from typing import TYPE_CHECKING, Any, cast

from core.clock import Clock
from core.hooks.gateway import Gateway
from core.hooks.registry import Plugins
from core.model import AuthRequest, Incoming, Outgoing, Principal
from core.settings import TenantSettings

if TYPE_CHECKING:
    from pathlib import Path

    from core.hooks.dispatch import Hooks, Trace

NOON = datetime(2026, 1, 5, 5, 0, tzinfo=UTC)
"""Noon in Jakarta."""


class StoppedClock(Clock):
    """It is always noon in Jakarta; `asked` counts how often somebody looked."""

    asked = 0

    def now(self) -> datetime:
        self.asked += 1
        return NOON


def load(directory: Path, **sources: str) -> Plugins:
    """The plugins of these sources, and the built-in ones."""
    for name, source in sources.items():
        (directory / f"{name}.py").write_text(dedent(source), encoding="utf-8")
    return Plugins.load(directory, entry_points=False)


def compile_hooks(
    plugins: Plugins,
    *names: str,
    tenant: str = "shop",
    timeout: float = 5.0,
    trace: Trace | None = None,
    clock: Clock | None = None,
    **options: dict[str, Any],
) -> Hooks:
    """The hooks of a tenant that enables `names`, with these options."""
    settings = TenantSettings(plugins={name: options.get(name, {}) for name in names})
    clock = clock or StoppedClock()
    return plugins.compile_tenant(tenant, settings, "shop.yaml", gateway_for, clock, timeout=timeout, trace=trace)


@dataclass(frozen=True)
class Keys:
    """Finds the keys it was given."""

    known: dict[str, Principal] = field(default_factory=dict)

    async def __call__(self, api_key: str) -> Principal | None:
        return self.known.get(api_key)


def gateway_for(plugin: str, tenant: str | None, find_key: Any = None) -> Gateway:
    """A gateway that can log and find keys; the rest is not there."""
    missing = cast("Any", None)
    log = logging.getLogger(f"test.{plugin}.{tenant}")
    return Gateway(
        send=missing, http=missing, store=missing, opt_outs=missing, log=log, find_key=find_key or Keys()
    )  # fmt: skip


def outgoing(**changes: Any) -> Outgoing:
    """A message to somebody."""
    base = {"id": "0197", "tenant": "shop", "to": "628123456789", "content": "hello", "expires_at": NOON}
    return Outgoing(**{**base, **changes})


def incoming(**changes: Any) -> Incoming:
    """A message from somebody."""
    base = {"id": "3EB0", "tenant": "shop", "chat": "628123456789", "sender": "628123456789", "content": "ping"}
    return Incoming(**{**base, "at": NOON, **changes})


def request(**headers: str) -> AuthRequest:
    """A request with these headers, whose names are written with _ for -."""
    return AuthRequest(
        method="POST", path="/", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
