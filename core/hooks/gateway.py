"""What a plugin may do: capabilities, not the pool, the key table or another tenant's anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging

    import aiohttp

    from core.model import Principal, Priority


class Send(Protocol):
    """Send a message as this tenant, under the same policy as every other; returns its id. Raises `core.Refused`."""

    async def __call__(
        self, to: str, content: str, *, priority: Priority = "normal", client_ref: str | None = None
    ) -> str: ...


class PluginStore(Protocol):
    """A small durable dictionary that belongs to one plugin of one tenant; values are whatever JSON can say."""

    async def get(self, key: str) -> Any:
        """The value, or None."""

    async def set(self, key: str, value: Any) -> None:
        """Write `value` under `key`."""

    async def delete(self, key: str) -> None:
        """Forget `key`."""


class FindKey(Protocol):
    """Whose API key is this? A Principal, or None. The key is hashed; it is never compared or kept as it is."""

    async def __call__(self, api_key: str) -> Principal | None: ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """Handed to hooks that ask for `gateway`. In the service hooks (startup, shutdown, authenticate) no tenant
    is known, and `send` and `store` raise RuntimeError."""

    send: Send
    http: aiohttp.ClientSession
    store: PluginStore
    log: logging.Logger
    find_key: FindKey
