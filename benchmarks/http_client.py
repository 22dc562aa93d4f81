"""A keep-alive HTTP/1.1 connection that costs so little that the server is what is measured."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_AT_ONCE = 65_536
"""Bytes of one read: more than any answer here has."""


class Connection:
    """One request at a time, on a socket of its own: asyncio's transports would cost as much again as all the rest.
    `on_answer(connection, status)` hears of every whole answer, `on_lost(error)` of a connection that the server
    closed."""

    def __init__(self, on_answer: Callable[[Connection, int], None], on_lost: Callable[[str], None]) -> None:
        self._on_answer, self._on_lost = on_answer, on_lost
        self._socket: socket.socket
        self._received, self._expected = b"", 0
        self.sent_for = 0.0
        """The moment for which the request under way was meant; the caller sets it."""

    async def connect(self, host: str, port: int) -> None:
        """To be called once, and first. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(self._socket, (host, port))
        loop.add_reader(self._socket, self._read)

    def send(self, request: bytes) -> None:
        """Write a whole request; one that is larger than the socket's buffer would not be for a benchmark."""
        try:
            sent = self._socket.send(request)
        except OSError as error:
            self._on_lost(f"the server closed a connection ({error!r})")
        else:
            assert sent == len(request), "the socket took a part only"

    def close(self) -> None:
        """Close it without telling `on_lost`."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_AT_ONCE)
        except OSError as error:
            data, why = b"", repr(error)
        else:
            why = "end of stream"
        if data:
            self.take(data)
        else:
            asyncio.get_running_loop().remove_reader(self._socket)  # its owner closes it, as every other
            self._on_lost(f"the server closed a connection ({why})")

    def take(self, data: bytes) -> None:
        """A piece of an answer; most come whole."""
        self._received = received = self._received + data if self._received else data
        if not self._expected:
            self._expected = size_of_answer(received)
        if not self._expected or len(received) < self._expected:
            return
        if len(received) > self._expected:
            self._on_lost(f"an answer has {len(received) - self._expected} bytes too many")
            return
        self._received, self._expected = b"", 0
        self._on_answer(self, int(received[9:12]))


def size_of_answer(received: bytes) -> int:
    """Bytes of the whole answer whose beginning this is; 0 while its header is incomplete. ValueError when the header
    names no Content-Length."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    found = _LENGTH.search(received, 0, end)
    if found is None:
        raise ValueError(f"an answer without Content-Length: {received[:end]!r}")
    return end + 4 + int(found[1])
