"""An answer that leaves in one piece.

aiohttp prepares a response for whatever may come: streaming, chunks, compression, cookies, signals. An answer of this
gateway is a status, a few headers and bytes that are there; preparing it for more took a twentieth of the time of a
whole request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.abc import AbstractStreamWriter

_SERVER = f"\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"


class Whole(web.StreamResponse):
    """A response whose body is bytes, without cookies. What is not HTTP/1.1 on a connection that stays open is left to
    a response of aiohttp's that says the same."""

    _sent = False
    _other: web.Response | None = None

    def __init__(self, *, body: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        super().__init__(status=status, headers=headers)
        self._bytes = body

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open afterwards; None: not decided yet."""
        if self._sent:
            return True
        return super().keep_alive if self._other is None else self._other.keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and body. ConnectionError when the caller has gone."""
        if self._sent:
            return None
        plain = request.version == HttpVersion11 and request.keep_alive and request.method != "HEAD"
        if not plain or self.keep_alive is False:
            return await self._leave_to_aiohttp(request)
        whole = self._in_one_piece()
        self._sent = True
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller has gone")
        transport.write(whole)
        if transport.get_write_buffer_size():  # answers that nobody reads must not fill the memory
            await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do when all is sent."""
        if self._other is not None:
            await self._other.write_eof(data)

    async def _leave_to_aiohttp(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        other = web.Response(status=self.status, body=self._bytes, headers=self.headers)
        if self.keep_alive is False:
            other.force_close()
        self._other = other
        return await other.prepare(request)

    def _in_one_piece(self) -> bytes:
        lines = ""
        for name, value in self.headers.items():
            line = f"{name}: {value}"
            if "\r" in line or "\n" in line:
                raise ValueError("a header must not contain a line break")
            lines += f"{line}\r\n"
        head = f"HTTP/1.1 {self.status} {self.reason}\r\n{lines}Content-Length: {len(self._bytes)}"
        return f"{head}\r\nDate: {rfc822_formatted_time()}{_SERVER}".encode() + self._bytes
