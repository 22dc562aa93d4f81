"""One message through a tenant's plugins, with a gateway that only takes notes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from core import jid
from core.decisions import Said, merge
from core.errors import CommandError, PluginFailed
from core.hooks.gateway import Gateway
from core.hooks.options import unknown
from core.model import Incoming, Outgoing
from core.paths.batch import tell

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    import aiohttp

    from core.clock import Clock
    from core.decisions import Decision, Verdict
    from core.hooks.dispatch import Hooks
    from core.hooks.registry import Plugins
    from core.model import Principal, Priority
    from core.settings import Settings, TenantSettings

_LIFETIME = timedelta(hours=24)


@dataclass(slots=True)
class Trial:
    """A plugin among a tenant's others, at one moment. `added`: the tenant's YAML does not name it."""

    name: str
    tenant: str
    settings: TenantSettings
    file: object
    plugins: Plugins
    clock: Clock
    now: datetime
    added: bool
    effects: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    changed_by: list[str] = field(default_factory=list)

    def compiled(self, http: aiohttp.ClientSession) -> Hooks:
        """The tenant's hooks. Raises ConfigError when the plugin has an option without a default."""

        def gateway_for(plugin: str, tenant: str | None) -> Gateway:
            return _gateway(plugin, self.effects, http)

        return self.plugins.compile_tenant(
            self.tenant, self.settings, self.file, gateway_for, self.clock, trace=self._trace
        )

    def _trace(self, plugin: str, hook: str, _: float, outcome: str) -> None:
        if hook == "prepare_outgoing" and outcome == "answered":
            self.changed_by.append(plugin)

    async def safely(self, answer: Awaitable[Any], otherwise: Any) -> Any:
        """`answer`, or `otherwise` when a plugin failed, which is noted."""
        try:
            return await answer
        except PluginFailed as failed:
            self.failures.append(_why(failed))
            return otherwise


def made_trial(  # noqa: PLR0913
    settings: Settings, plugins: Plugins, name: str, *, tenant: str, clock: Clock, now: datetime
) -> Trial:
    """Raises CommandError when there is no such plugin."""
    if name not in plugins.found:
        raise CommandError(unknown("plugin", name, plugins.found))
    own, file = settings.tenant(tenant), settings.file_of(tenant)
    added = name not in own.plugins
    if added:
        own = replace(own, plugins={**own.plugins, name: {}})
    return Trial(name, tenant, own, file, plugins, clock, now, added)


async def tried(trial: Trial, number: str, text: str) -> dict[str, Any]:
    """What `plugin try` shows."""
    import aiohttp

    address = jid.parse(number, trial.settings.region)
    message = Outgoing(
        id="00000000-0000-7000-8000-000000000000",
        tenant=trial.tenant,
        to=address.key,
        phone=address.phone,
        lid=address.lid,
        content=text,
        expires_at=trial.now + _LIFETIME,
    )
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        hooks = trial.compiled(http)
        out = await _going_out(trial, hooks, message)
        replies = await _coming_in(trial, hooks, message)
    return {
        "plugin": trial.name,
        "tenant": trial.tenant,
        "enabled": not trial.added,
        "at": trial.now,
        "to": message.to,
        "text": text,
        "plugins": list(hooks.plugins),
        **out,
        "on_message": replies,
        "effects": trial.effects,
        "failures": trial.failures,
    }


async def _going_out(trial: Trial, hooks: Hooks, message: Outgoing) -> dict[str, Any]:
    prepare = hooks.pipe("prepare_outgoing", "message", message, now=trial.now)
    prepared = await trial.safely(prepare, message)
    decisions = await trial.safely(hooks.collect("admit", message=prepared, now=trial.now), [])
    verdict = merge(Said(plugin, decision) for plugin, decision in decisions)
    gaps, failed = await hooks.collect_settled("pace", message=prepared, previous=None, now=trial.now)
    closed = bool(trial.failures)
    trial.failures += map(_why, failed)
    return {
        "changed_by": trial.changed_by,
        "prepared": prepared.content,
        "admit": [tell(said) for said in verdict.said],
        "pace": dict(gaps),
        "verdict": "503: a plugin failed, so nothing is accepted" if closed else _in_words(verdict),
    }


async def _coming_in(trial: Trial, hooks: Hooks, message: Outgoing) -> list[dict[str, Any]]:
    incoming = Incoming(
        id="TRY",
        tenant=trial.tenant,
        chat=message.to,
        sender=message.to,
        phone=message.phone,
        lid=message.lid,
        push_name="try",
        content=message.content,
        at=trial.now,
    )
    replies, failed = await hooks.collect_settled("on_message", message=incoming, now=trial.now)
    trial.failures += map(_why, failed)
    return [{"plugin": plugin, "to": reply.to, "content": reply.content} for plugin, reply in replies]


def _in_words(verdict: Verdict) -> str:
    if deny := verdict.deny:
        status = 403 if deny.retry_after is None else 429
        return f"refused with {status} {deny.code}: {deny.message}"
    limits = [f"{q.name}: at most {q.limit} per {q.per} and {q.period}{_if_on(q)}" for q in verdict.quotas]
    parts = [f"accepted within {'; '.join(limits)}" if limits else "accepted"]
    parts += [f"waived: {name}" for name in sorted(verdict.waived)]
    parts += [f"waived{_if_on(exempt)}: {', '.join(exempt.names)}" for exempt in verdict.waived_when]
    parts += [f"refused with {deny.code}{_if_on(deny)}" for deny in verdict.denied_when]
    return "; ".join(parts)


def _if_on(decision: Decision) -> str:
    """The lists on which the recipient must be, for the decision to hold; nothing when it holds for everybody."""
    lists = " or ".join(str(member.name).lower() for member in decision.when or ())
    return f" if on {lists}" if lists else ""


def _why(failed: PluginFailed) -> str:
    cause = failed.__cause__
    return f"{failed}: {type(cause).__name__}: {cause}" if cause is not None else str(failed)


@dataclass(frozen=True, slots=True)
class _NotingSend:
    plugin: str
    effects: list[str]

    async def __call__(
        self, to: str, content: str, *, priority: Priority = "normal", client_ref: str | None = None
    ) -> str:
        """Send nothing; an id that no message has."""
        self.effects.append(f"{self.plugin} would send to {to}: {content}")
        return "00000000-0000-7000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class _Memory:
    """gateway.store, empty at first and gone afterwards."""

    values: dict[str, Any] = field(default_factory=dict)

    async def get(self, key: str) -> Any:
        return self.values.get(key)

    async def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)


@dataclass(frozen=True, slots=True)
class _NotingOptOuts:
    plugin: str
    effects: list[str]

    async def add(self, message: Incoming) -> bool:
        """Note it; nobody was out before."""
        self.effects.append(f"{self.plugin} would send {message.sender} no more messages")
        return True

    async def remove(self, message: Incoming) -> bool:
        """Note it; whoever writes was out."""
        self.effects.append(f"{self.plugin} would send {message.sender} messages again")
        return True


async def _nobody(api_key: str) -> Principal | None:
    return None


def _gateway(plugin: str, effects: list[str], http: aiohttp.ClientSession) -> Gateway:
    return Gateway(
        send=_NotingSend(plugin, effects),
        http=http,
        store=_Memory(),
        opt_outs=_NotingOptOuts(plugin, effects),
        log=logging.getLogger(f"plugin.{plugin}"),
        find_key=_nobody,
    )
