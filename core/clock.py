"""The only source of time and chance, so that tests can hold both in hand."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime


class Clock:
    """The real clock. Tests pass a subclass."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump back, for measuring."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        await asyncio.sleep(seconds)

    def uniform(self, low: float, high: float) -> float:
        """A random number between `low` and `high`."""
        return random.uniform(low, high)  # noqa: S311 - jitter, not a secret

    def secret(self) -> bytes:
        """32 random bytes that nobody can guess."""
        return secrets.token_bytes(32)
