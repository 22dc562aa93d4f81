"""The menu: every hook a plugin may implement, one sentence each.

A verb may change the outcome; `on_` is told afterwards. An implementation is a `def` or an `async def` and
takes, by name, any of its hook's own arguments (those before `tenant`) and of these:

    tenant   the tenant's id
    options  this plugin's options for this tenant: an instance of its `Options`
    gateway  what a plugin may do: `core.hooks.gateway.Gateway`
    now      the tenant's local time, an aware datetime

Hooks grow by adding arguments only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from core.decisions import Decision
    from core.hooks.gateway import Gateway
    from core.model import AuthRequest, Incoming, Outgoing, Principal, Reply, SessionChange, StatusChange

PROJECT = "gapura"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def startup(gateway: Gateway, now: datetime) -> None:
    """Called once per process before the first request; raising refuses to start."""


@hookspec
def shutdown(gateway: Gateway, now: datetime) -> None:
    """Called once per process after the last request; a failure is logged."""


@hookspec
def authenticate(request: AuthRequest, gateway: Gateway, now: datetime) -> Principal | None:
    """Say who asks, or None for "not mine"; the first answer holds, and its plugin must be enabled for that tenant."""


@hookspec
def prepare_outgoing(message: Outgoing, tenant: str, options: Any, gateway: Gateway, now: datetime) -> Outgoing | None:
    """Change an outgoing message (`dataclasses.replace`) before it is decided upon, or None to leave it as it is."""


@hookspec
def admit(
    message: Outgoing, tenant: str, options: Any, gateway: Gateway, now: datetime
) -> Decision | Sequence[Decision] | None:
    """Say whether the message may enter: Deny, Quota, Exempt, several of them, or None."""


@hookspec
def pace(  # noqa: PLR0913, PLR0917
    message: Outgoing, previous: Outgoing | None, tenant: str, options: Any, gateway: Gateway, now: datetime
) -> float | None:
    """Say how many seconds to leave between the tenant's previous send and this one; the largest answer holds."""


@hookspec
def on_message(
    message: Incoming, tenant: str, options: Any, gateway: Gateway, now: datetime
) -> Reply | Sequence[Reply] | str | None:
    """See an incoming message, once; return `message.reply(…)`, a str (a reply into the same chat), several, or
    None."""


@hookspec
def on_status(change: StatusChange, tenant: str, options: Any, gateway: Gateway, now: datetime) -> None:
    """See that an outgoing message was queued, sent, delivered, read, failed, expired or cancelled."""


@hookspec
def on_session(change: SessionChange, tenant: str, options: Any, gateway: Gateway, now: datetime) -> None:
    """See that the tenant's WhatsApp session changed its state."""


SERVICE_HOOKS = ("startup", "shutdown", "authenticate")
"""Called for the whole service, where no tenant is known: no `tenant`, no `options`."""

TENANT_HOOKS = ("prepare_outgoing", "admit", "pace", "on_message", "on_status", "on_session")
"""Called for one tenant, for the plugins its configuration enables."""
