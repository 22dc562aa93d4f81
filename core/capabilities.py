"""What a plugin's `gateway` does for it: send, keep data and keep the list of opt-outs, as one tenant."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import Unavailable
from core.hooks.dispatch import TIMEOUT
from core.paths.admission import SendRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.model import Incoming, Priority, StatusChange
    from core.paths.admission import Admission
    from db.opt_out_store import OptOutStore
    from db.store import Store


T = TypeVar("T")

PATIENCE = TIMEOUT * 0.8
"""Seconds that an answer about opt-outs may take."""


class PluginSend:
    """`gateway.send`: the same door as everybody's. The door is asked for late, because plugins are compiled first."""

    def __init__(self, admission: Callable[[], Admission], tenant: str | None, plugin: str) -> None:
        self._admission, self._tenant, self._plugin = admission, tenant, plugin

    async def __call__(
        self, to: str, content: str, *, priority: Priority = "normal", client_ref: str | None = None
    ) -> str:
        """The id of the stored message. Raises Refused."""
        request = SendRequest(
            number=to, message=content, priority=priority, client_ref=client_ref, author=self._plugin
        )  # fmt: skip
        return (await self._admission().send(_known(self._tenant), None, request)).id


class PluginData:
    """`gateway.store`: this plugin's, for this tenant."""

    def __init__(self, store: Store, tenant: str | None, plugin: str) -> None:
        self._store, self._tenant, self._plugin = store, tenant, plugin

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return await self._store.plugin_get(_known(self._tenant), self._plugin, key)

    async def set(self, key: str, value: Any) -> None:
        """Write `value` under `key`."""
        await self._store.plugin_set(_known(self._tenant), self._plugin, key, value)

    async def delete(self, key: str) -> None:
        """Forget `key`."""
        await self._store.plugin_delete(_known(self._tenant), self._plugin, key)


class PluginOptOuts:
    """`gateway.opt_outs`. Whatever tenant a message names, it is this plugin's tenant whose list is kept."""

    def __init__(
        self, store: OptOutStore, tenant: str | None, on_dropped: Callable[[list[StatusChange]], None]
    ) -> None:
        self._store, self._tenant, self._on_dropped = store, tenant, on_dropped

    async def add(self, message: Incoming) -> bool:
        """Whether it is this message that put its sender out."""
        out, dropped = await _soon(self._store.add(_known(self._tenant), message))
        self._on_dropped(dropped)
        return out

    async def remove(self, message: Incoming) -> bool:
        """Whether it is this message that brought its sender back."""
        return await _soon(self._store.remove(_known(self._tenant), message))


async def _soon(answer: Awaitable[T]) -> T:
    """A database that hangs is one that is away, and not a plugin that is too slow: that would be the end of a STOP."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await answer
    except TimeoutError:
        raise Unavailable("PostgreSQL does not answer") from None


def _known(tenant: str | None) -> str:
    if tenant is None:
        raise RuntimeError("gateway.send, .store and .opt_outs belong to a tenant; in this hook none is known")
    return tenant
