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
    from aiohttp.abc import AbstractStreamWriter


class Whole(web.Response):
    """A response whose body is bytes, without cookies. What is not HTTP/1.1 on a connection that stays open is left to
    aiohttp."""

    _sent = False

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open afterwards; None: not decided yet."""
        return True if self._sent else super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and body. ConnectionError when the caller has gone."""
        if self._sent:
            return None
        plain = request.version == HttpVersion11 and request.keep_alive and request.method != "HEAD"
        if not plain or self.keep_alive is False or self.prepared:
            return await super().prepare(request)
        whole = self._in_one_piece()
        self._sent = True
        await request.writer.write(whole)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do when all is sent."""
        if not self._sent:
            await super().write_eof(data)

    def _in_one_piece(self) -> bytes:
        body = self.body
        assert isinstance(body, bytes)  # noqa: S101 - that is what this class is for
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {self.status} {self.reason}", *lines, f"Content-Length: {len(body)}"])
        if not head.count("\r") == head.count("\n") == len(lines) + 1:
            raise ValueError("a header must not contain a line break")
        return f"{head}\r\nDate: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode() + body
