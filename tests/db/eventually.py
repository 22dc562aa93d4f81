"""Waiting for what happens in another process, without guessing how long it takes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LONG = 60.0


async def eventually(happened: Callable[[], object]) -> None:
    """Return as soon as `happened()` is true; fail after a minute."""
    end = time.monotonic() + _LONG
    while not happened():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.01)


def eventually_now(happened: Callable[[], object]) -> None:
    """The same where there is no event loop."""
    end = time.monotonic() + _LONG
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
