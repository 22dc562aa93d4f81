"""A wire to PostgreSQL that can be cut, or go dead: the database is out of reach for one machine only."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"


class Wire:
    """A TCP proxy to one server. Use `wire_to`."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._streams: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False

    async def cut(self, seconds: float) -> None:
        """Every connection breaks, and new ones are refused at once, for so long."""
        self._is_cut = True
        for stream in list(self._streams):
            stream.transport.abort()
        await asyncio.sleep(seconds)
        self._is_cut = False

    async def stall(self, seconds: float) -> None:
        """Nothing breaks and nothing passes, for so long; then everything does."""
        self._flows.clear()
        await asyncio.sleep(seconds)
        self._flows.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there_reader, there = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        self._streams |= {writer, there}
        try:
            await asyncio.gather(self._pass(reader, there), self._pass(there_reader, writer))
        finally:
            self._streams -= {writer, there}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                await self._flows.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """A wire to the PostgreSQL of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    wire = Wire(parts.hostname or HOST, parts.port or 5432)
    server = await asyncio.start_server(wire.serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    user = parts.netloc.rpartition("@")[0]
    try:
        yield wire, urlunsplit(parts._replace(netloc=f"{user}@{HOST}:{port}"))
    finally:
        server.close()
        await wire.cut(0)
