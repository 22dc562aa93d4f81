"""An HTTP CONNECT proxy on 127.0.0.1: every tunnel to a WhatsApp host ends at the sandbox's own TLS port."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

_HOSTS = (".whatsapp.com", ".whatsapp.net")
_REFUSAL = b"HTTP/1.1 403 Not a WhatsApp host\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CHUNK = 65_536


class Proxy:
    """`port` and `url` are known after `start`."""

    def __init__(self) -> None:
        self.port = 0
        self._target = 0
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, target: int, port: int = 0, else_any: bool = True) -> None:
        """Listen on `port`, or `else_any` that is free, and lead every tunnel to port `target` of this machine."""
        self._target = target
        try:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        except OSError:
            if not else_any:
                raise
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="sandbox: tunnel")
        self._tunnels.add(task)
        task.add_done_callback(self._tunnels.discard)
        task.add_done_callback(lambda _: writer.close())  # also when it was cancelled before its first step

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if _is_for_whatsapp(await reader.readuntil(b"\r\n\r\n")):
                    await self._tunnel(reader, writer)
                else:
                    writer.write(_REFUSAL)
                    await writer.drain()
        finally:
            await _close(writer)

    async def _tunnel(self, reader: StreamReader, writer: StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pumps: list[asyncio.Task[None]] = []
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pumps = [
                asyncio.ensure_future(_pump(reader, inner_writer)),
                asyncio.ensure_future(_pump(inner_reader, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            inner_writer.close()  # first, as a cancellation may end the waiting below
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _close(inner_writer)


def _is_for_whatsapp(request: bytes) -> bool:
    words = request.split(b"\r\n", 1)[0].decode("latin-1").split()
    return len(words) == 3 and words[0] == "CONNECT" and words[1].rpartition(":")[0].endswith(_HOSTS)


async def _pump(source: StreamReader, sink: StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()


async def _close(writer: StreamWriter) -> None:
    """Let what was written out, but wait for nobody who does not read."""
    writer.close()
    try:
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(writer.wait_closed(), 1)
    except TimeoutError:
        writer.transport.abort()
