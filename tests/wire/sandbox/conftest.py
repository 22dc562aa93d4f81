"""A sandbox per test, and real clients that are ended with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox
from tests.wire.sandbox.client import Client

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def sandbox(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Sandbox]:
    """A started sandbox; afterwards it must have known every stanza and raised nothing."""
    async with Sandbox() as started:
        yield started
    assert started.unhandled == []
    assert started.errors == []


@pytest.fixture
async def new_client(
    loop: asyncio.AbstractEventLoop, sandbox: Sandbox, tmp_path: Path
) -> AsyncIterator[Callable[..., Client]]:
    """Makes clients, not started yet: new_client("a.db") is the same one each time. They are killed in the end."""
    made: list[Client] = []

    def make(database: str = "client.db") -> Client:
        made.append(Client(sandbox, tmp_path, database))
        return made[-1]

    yield make
    for client in made:
        await client.kill()
