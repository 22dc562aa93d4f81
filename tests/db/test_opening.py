"""How a Database begins."""

from __future__ import annotations

import asyncio

import pytest

from core.errors import DatabaseUnavailable
from db.database import Database
from tests.chaos.partition import wire_to


async def test_the_first_connection_has_more_time_than_the_others(database_url: str) -> None:
    """A program that starts bears with a PostgreSQL that says nothing for a while; a caller of one that runs does
    not."""
    async with wire_to(database_url) as (wire, url):
        stalled = asyncio.create_task(wire.stall(2.0))
        await asyncio.sleep(0)
        database = await Database.open(url, connect_timeout=0.1)
        try:
            await stalled
            async with database.transaction() as other:
                await other.fetch("SELECT 1")
                stalled = asyncio.create_task(wire.stall(3600))
                await asyncio.sleep(0)
                with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.1 s"):
                    await database.fetch("SELECT 1")
                stalled.cancel()
                await wire.stall(0)
        finally:
            await database.close()


async def test_whoever_wants_all_its_connections_at_once_has_that_time_for_each(database_url: str) -> None:
    """A session process does: it would end when the second one comes late."""
    async with wire_to(database_url) as (wire, url):
        database = await Database.open(url, size=2, connect_timeout=0.1)
        try:
            stalled = asyncio.create_task(wire.stall(2.0))
            await asyncio.sleep(0)
            await database.fill()
            await stalled
        finally:
            await database.close()
