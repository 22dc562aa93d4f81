"""What a plugin's `gateway` does for it: send and keep data, as one tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.paths.admission import SendRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model import Priority
    from core.paths.admission import Admission
    from db.store import Store


class PluginSend:
    """`gateway.send`: the same door as everybody's. The door is asked for late, because plugins are compiled first."""

    def __init__(self, admission: Callable[[], Admission], tenant: str | None) -> None:
        self._admission, self._tenant = admission, tenant

    async def __call__(
        self, to: str, content: str, *, priority: Priority = "normal", client_ref: str | None = None
    ) -> str:
        """The id of the stored message. Raises Refused."""
        request = SendRequest(number=to, message=content, priority=priority, client_ref=client_ref)
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


def _known(tenant: str | None) -> str:
    if tenant is None:
        raise RuntimeError("gateway.send and gateway.store belong to a tenant; in this hook none is known")
    return tenant
