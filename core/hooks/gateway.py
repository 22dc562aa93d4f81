"""What a plugin may do: capabilities, not the pool, the key table or another tenant's anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging

    import aiohttp

    from core.model import Incoming, Principal, Priority


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


class OptOuts(Protocol):
    """The tenant's list of those who want no more messages, kept by what they wrote themselves: `Listed.OPT_OUT`."""

    async def add(self, message: Incoming) -> bool:
        """Whoever wrote `message` is out, by number and by LID; the message is kept as the proof. What was queued for
        them under a `Deny(…, when=Listed.OPT_OUT)` is cancelled. True when it is this message that put them out, also
        if the same message is added again after a crash; False when they were out before."""

    async def remove(self, message: Incoming) -> bool:
        """Whoever wrote `message` is back. True when it is this message that brought them back."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Handed to hooks that ask for `gateway`. In the service hooks (startup, shutdown, authenticate) no tenant
    is known, and `send`, `store` and `opt_outs` raise RuntimeError."""

    send: Send
    http: aiohttp.ClientSession
    store: PluginStore
    opt_outs: OptOuts
    log: logging.Logger
    find_key: FindKey
