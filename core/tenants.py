"""The tenants as this process knows them: digests of keys, settings, compiled hooks.

Invariant: `_callers` is trusted only while the listener hears of changes; otherwise every look-up asks the table.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from core.model import Principal

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.hooks.dispatch import Hooks
    from core.hooks.registry import GatewayFor, Plugins
    from core.settings import Settings, TenantSettings
    from db.store import Store


def key_digest(api_key: str) -> str:
    """`sha256:<hex>` of a presented key. Always computed: whoever presents a stolen digest presents no key."""
    return "sha256:" + hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> str:
    """A fresh API key: sk_ and 43 characters (256 bits)."""
    return "sk_" + secrets.token_urlsafe(32)


class Tenants:
    """Who they are and what holds for them."""

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: Store,
        settings: Settings,
        plugins: Plugins,
        gateway_for: GatewayFor,
        clock: Clock,
        *,
        hears: Callable[[], bool],
    ) -> None:
        """`hears`: whether this process is told of changes to api_keys at present."""
        self._hears = hears
        self._store, self._settings, self._plugins = store, settings, plugins
        self._gateway_for, self._clock = gateway_for, clock
        self._callers: dict[str, Principal] = {}
        self._trusted, self._changes = False, 0
        self._hooks: dict[str, Hooks] = {}
        self.service_hooks = plugins.compile_service(gateway_for, clock, settings)

    async def load(self) -> None:
        """Read all keys, again if they change meanwhile. Raises Unavailable."""
        while True:
            seen, digests = self._changes, await self._store.keys()
            if seen == self._changes:
                self._callers = {digest: _caller(tenant, digest) for digest, tenant in digests.items()}
                self._trusted = True
                return

    def known(self) -> set[str]:
        """Every tenant that has a key, as this process last read them."""
        return {caller.tenant for caller in self._callers.values()}

    def distrust(self) -> None:
        """Keys have changed: ask the table until the next `load` is done."""
        self._trusted = False
        self._changes += 1

    async def find_key(self, api_key: str) -> Principal | None:
        """Whose key this is. Asks the table when the snapshot does not know, or may not be trusted."""
        digest = key_digest(api_key)
        if self._trusted and self._hears() and (caller := self._callers.get(digest)):
            return caller
        tenant = await self._store.tenant_of_key(digest)
        return _caller(tenant, digest) if tenant else None

    async def is_valid(self, tenant: str, key: str | None) -> bool:
        """Whether the tenant exists and `key` (a digest, or None: authenticated otherwise) is its key, by the table
        as it is now: a revoked key ends at once."""
        if key is None:
            return await self._store.tenant_exists(tenant)
        return await self._store.key_alive(tenant, key)

    def settings(self, tenant: str) -> TenantSettings:
        """The tenant's YAML, or the defaults."""
        return self._settings.tenant(tenant)

    def hooks(self, tenant: str) -> Hooks:
        """The tenant's plugins, compiled at first use."""
        hooks = self._hooks.get(tenant)
        if hooks is None:
            settings, file = self._settings.tenant(tenant), self._settings.file_of(tenant)
            hooks = self._plugins.compile_tenant(tenant, settings, file, self._gateway_for, self._clock)
            self._hooks[tenant] = hooks
        return hooks


def _caller(tenant: str, digest: str) -> Principal:
    return Principal(tenant=tenant, name=tenant, key=digest)
